//! What goes wrong with a database, and how the seam hears of it.

use std::fmt;

use tokio_postgres::error::SqlState;
use whisker_store::Error;

use crate::InvalidUrl;

/// Why a store could not be opened. Each text is meant for whoever starts
/// the server.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The settings cannot be used.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// Certificates cannot be read or used.
    #[error("TLS to the database cannot be set up")]
    Tls(#[source] Cause),
    /// Nobody answers there, or refuses.
    #[error("cannot connect to {place}")]
    Connect {
        /// Host, port and database.
        place: String,
        /// Why not.
        #[source]
        source: Cause,
    },
    /// Written by a later version of this program.
    #[error(
        "the database was written by a newer version: its tables are of version {found}, the latest known here is \
         {known}. Start that version, or choose another database"
    )]
    Newer {
        /// The version that its tables have.
        found: u32,
        /// The latest version that this program knows.
        known: u32,
    },
    /// The tables could not be made or brought forward.
    #[error("the tables of the store cannot be set up")]
    Migration(#[source] Cause),
}

/// What the database or the way to it says. Its text names the reason, since
/// the driver's own ("db error") does not; never a value, which might be
/// somebody's secret: of what the database says only the message is told, and
/// not the details, which quote rows.
pub struct Cause(Box<dyn std::error::Error + Send + Sync>);

impl Cause {
    fn database(&self) -> Option<&tokio_postgres::error::DbError> {
        self.0.downcast_ref::<tokio_postgres::Error>()?.as_db_error()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.database() {
            Some(error) => write!(f, "{} ({})", error.message(), error.code().code()),
            None => self.0.fmt(f),
        }
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if self.database().is_some() { None } else { self.0.source() }
    }
}

impl From<tokio_postgres::Error> for Cause {
    fn from(error: tokio_postgres::Error) -> Self {
        Self(error.into())
    }
}

impl Cause {
    /// Anything else.
    pub(crate) fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

/// A failure of the database, as the seam knows failures.
pub(crate) fn database(error: tokio_postgres::Error) -> Error {
    match error.code() {
        Some(&(SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED)) => {
            Error::Corrupt("database".into(), Cause::from(error).into())
        }
        _ => unavailable(Cause::from(error)),
    }
}

/// The database cannot be used now.
pub(crate) fn unavailable(cause: Cause) -> Error {
    Error::Unavailable(cause.into())
}

/// A document that is there and cannot be read.
pub(crate) fn corrupt(what: impl ToString, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Corrupt(what.to_string(), Box::new(error))
}
