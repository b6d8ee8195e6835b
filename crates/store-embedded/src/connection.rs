//! How connections are set up.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

use crate::Durability;

/// How long a connection waits for a lock of SQLite's. Nobody else should hold
/// one for longer than an instant, save a person with a `sqlite3` shell.
pub(crate) const BUSY: Duration = Duration::from_secs(2);

/// Bytes that the log file may keep once it was copied back.
const LOG_LIMIT_BYTES: i64 = 64 * 1024 * 1024;

/// The connection that writes; the first to be opened. `None` where the file
/// system cannot have a write-ahead log. With `wiping`, what is deleted or
/// replaced is overwritten too: it may be a secret that is encrypted from now on.
pub(crate) fn writer(path: &Path, durability: Durability, wiping: bool) -> rusqlite::Result<Option<Connection>> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let synchronous = match durability {
        Durability::Process => "NORMAL",
        Durability::Power => "FULL",
    };
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Ok(None);
    }
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", LOG_LIMIT_BYTES)?;
    connection.pragma_update(None, "cache_size", -8 * 1024)?;
    connection.pragma_update(None, "secure_delete", wiping)?;
    Ok(Some(connection))
}

/// The connection that copies the log back.
pub(crate) fn checkpointer(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", LOG_LIMIT_BYTES)?;
    Ok(connection)
}

/// A connection that reads.
pub(crate) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    // Opened for writing all the same: a reader of a WAL file takes part in
    // its shared memory, and recovers it if need be.
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn open(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    // No mutex: a connection is used by one thread at a time, as Rust's types see to.
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}
