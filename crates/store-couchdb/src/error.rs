//! What goes wrong with a CouchDB, and how the seam hears of it.

use http::StatusCode;
use whisker_documents::keys::NothingSeals;
use whisker_remote::{TlsError, Trouble};
use whisker_store::Error;

/// Why a CouchDB could not be opened. Each text is meant for whoever starts
/// the server.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Users' keys are to be sealed, and nothing seals.
    #[error(transparent)]
    Seals(#[from] NothingSeals),
    /// A database is there, and what has to be read or made of it cannot be.
    #[error("the database {name} cannot be used")]
    Database {
        /// Which.
        name: String,
        /// Why not.
        #[source]
        source: Failure,
    },
    /// A database is missing and may not be made.
    #[error("the database {name} is not there, and cannot be made")]
    Unmade {
        /// Which.
        name: String,
        /// Why not.
        #[source]
        source: Failure,
    },
    /// A database is missing, and is not to be made.
    #[error("there is no database {0}")]
    Missing(String),
}

/// A request that got no good answer. No text here holds a credential or a
/// document.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// None at all.
    #[error(transparent)]
    Trouble(#[from] Trouble),
    /// An answer that is not what was asked for.
    #[error("CouchDB answered {status}{}", .reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Status {
        /// Its status.
        status: StatusCode,
        /// `error` and `reason` of its body.
        reason: Option<String>,
    },
    /// An answer that is no JSON, or other JSON than it should be.
    #[error("CouchDB's answer cannot be read")]
    Nonsense(#[source] serde_json::Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Status { status: StatusCode::NOT_FOUND, .. } => Error::Missing,
            Failure::Status { status: StatusCode::CONFLICT, .. } => Error::Stale,
            Failure::Trouble(Trouble::TooLarge(_, most)) => Error::TooLarge(most),
            other => Error::Unavailable(Box::new(other)),
        }
    }
}
