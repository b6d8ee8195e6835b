//! What goes wrong with a Cosmos DB, and how the seam hears of it.

use http::StatusCode;
use whisker_documents::keys::NothingSeals;
use whisker_remote::{TlsError, Trouble};
use whisker_store::Error;

/// Why a Cosmos DB could not be opened. Each text is meant for whoever starts
/// the server.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Users' keys are to be sealed, and nothing seals.
    #[error(transparent)]
    Seals(#[from] NothingSeals),
    /// The database or a container is missing and may not be made.
    #[error("{name} is not there, and cannot be made")]
    Missing {
        /// Which.
        name: String,
        /// Why not.
        #[source]
        source: Failure,
    },
    /// A container whose documents are spread in another way than OpenWhisk's.
    #[error("the container {0} has another partition key than /id, which is OpenWhisk's")]
    PartitionKey(String),
}

/// A request that got no good answer. No text here holds a key or a document.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// None at all.
    #[error(transparent)]
    Trouble(#[from] Trouble),
    /// It asked for patience more often, or for longer, than there is.
    #[error("Cosmos DB goes on asking to come back later: its throughput is used up")]
    Throttled,
    /// An answer that is not what was asked for.
    #[error("Cosmos DB answered {status}{}", .code.as_ref().map(|code| format!(": {code}")).unwrap_or_default())]
    Status {
        /// Its status.
        status: StatusCode,
        /// `code` of its body, such as `Unauthorized`. Its message may quote
        /// the document.
        code: Option<String>,
    },
    /// An answer that is no JSON, or other JSON than it should be.
    #[error("Cosmos DB's answer cannot be read")]
    Nonsense(#[source] serde_json::Error),
}

impl Failure {
    /// The status, if that is what went wrong.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Failure::Status { status, .. } => Some(*status),
            _ => None,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure.status() {
            Some(StatusCode::NOT_FOUND) => Error::Missing,
            // The id is taken, or the ETag is an older one.
            Some(StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED) => Error::Stale,
            _ => match failure {
                Failure::Trouble(Trouble::TooLarge(_, most)) => Error::TooLarge(most),
                other => Error::Unavailable(Box::new(other)),
            },
        }
    }
}
