//! What goes wrong with a file, and how the seam hears of it.

use std::{io, path::PathBuf};

use rusqlite::ErrorCode;
use whisker_store::Error;

/// Why a store could not be opened. Each text is meant for whoever starts
/// the server.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or a file in it cannot be used.
    #[error("cannot use {path}")]
    Path {
        /// Which one.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another server has it.
    #[error("{path} is in use by another server{}", .pid.as_ref().map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The other's process id, if it is known.
        pid: Option<u32>,
    },
    /// Written by a later version of this program.
    #[error(
        "{path} was written by a newer version: its schema is {found}, the latest known here is {known}. \
         Start that version, or choose another data directory"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema it has.
        found: u32,
        /// The latest schema that this program knows.
        known: u32,
    },
    /// Without what a write-ahead log needs, as network file systems are.
    #[error("{path} is on a file system without shared memory maps; choose a data directory on a local disk")]
    FileSystem {
        /// The file.
        path: PathBuf,
    },
    /// A database of something else.
    #[error("{path} is a database, but not one of Whisker's")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Damaged, or no database at all.
    #[error("{path} is damaged, or no database; restore it from a backup, or choose another data directory")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// Anything else that SQLite says.
    #[error("cannot open {path}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
}

/// Whether the file is broken, or a row holds what it never should.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    match error {
        FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..) => true,
        other => matches!(other.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)),
    }
}

/// A failure of SQLite, as the seam knows failures.
pub(crate) fn database(error: rusqlite::Error) -> Error {
    match error {
        rusqlite::Error::QueryReturnedNoRows => Error::Missing,
        damage if is_damage(&damage) => Error::Corrupt("database".into(), damage.into()),
        other => Error::Unavailable(other.into()),
    }
}

/// A document that is there and cannot be read.
pub(crate) fn corrupt(what: impl ToString, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Corrupt(what.to_string(), Box::new(error))
}
