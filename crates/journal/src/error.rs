//! What can go wrong with a journal, sorted by what a caller can do about it.

use std::io;
use std::path::PathBuf;

use whisker_secrets::Unsealable;

use crate::append::Token;

/// Why a journal could not be opened, or could not take or give an entry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The limit on live entries is reached. It passes once some are released.
    #[error("the journal is full: {live_bytes} bytes are live and {limit_bytes} are allowed")]
    Full {
        /// Bytes that are live now, with frames.
        live_bytes: u64,
        /// The limit that was set.
        limit_bytes: u64,
    },
    /// The disk has no room, or the quota is used up. It passes once there is
    /// room; the entry has left no trace.
    #[error("the disk under the journal is full")]
    DiskFull(#[source] io::Error),
    /// The entry is over [`MAX_ENTRY_BYTES`](crate::MAX_ENTRY_BYTES).
    #[error("an entry of {bytes} bytes is over the limit of {limit_bytes}")]
    TooLarge {
        /// Size of the entry.
        bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// The entry was released, or never existed.
    #[error("the journal has no live entry {0}")]
    Missing(Token),
    /// Another process, or another journal in this one, has the folder open.
    #[error("the journal folder {} is in use by another process", .folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// A file is damaged where a torn write cannot explain it.
    #[error(
        "the journal file {} is damaged at byte {offset}: {what}; \
         open it with salvage to keep what is intact",
        .file.display()
    )]
    Corrupt {
        /// The damaged or missing file.
        file: PathBuf,
        /// Where the damage begins, in bytes.
        offset: u64,
        /// What was found there.
        what: &'static str,
    },
    /// It holds entries that are sealed, and they cannot be opened.
    #[error("the entries of the journal {} cannot be read", .folder.display())]
    Unsealable {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: Unsealable,
    },
    /// The journal was closed while the append waited.
    #[error("the journal is closed")]
    Closed,
    /// Any other failure of the file system.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// What was tried: a verb that goes before the path.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Whether room is what is missing, so that the same append may succeed
    /// later: the caller answers that the service is unavailable for now.
    pub fn is_full(&self) -> bool {
        matches!(self, Error::Full { .. } | Error::DiskFull(_))
    }

    /// The error of an append that met `source` while writing below `path`.
    pub(crate) fn write(source: io::Error, path: PathBuf) -> Error {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::DiskFull(source),
            _ => Error::Io { doing: "write to", path, source },
        }
    }

    /// For use with `map_err`.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { doing, path, source }
    }
}

/// One failure for each of many waiters: the system's number is what counts.
pub(crate) fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
