//! Code, once for all actions that share it.
//!
//! Code may have 48 MB and more. Written as one row in one transaction that
//! would keep every other writer waiting for a third of a second, so it is cut
//! into pieces: those of large code are *staged* first, each in a change of
//! its own, and the change that stores the action writes only what is missing.
//! Until an action uses it, code is not there for anyone. What was staged for
//! an action that never came is noted in `staged`, and taken away when the
//! upload is refused, when its caller goes away, or, after a crash, when the
//! file is opened.

use std::sync::Arc;

use rusqlite::{Connection, params};
use whisker_entity::CodeHash;
use whisker_store::Error;

use crate::{
    Embedded,
    error::{corrupt, database},
    writer::Writer,
};

/// Bytes of a piece: some 5 ms of the writer's time.
const PIECE: usize = 1024 * 1024;

/// Code that is uploaded.
#[derive(Clone)]
pub(crate) struct Upload {
    pub(crate) hash: CodeHash,
    pub(crate) text: Arc<str>,
}

impl Upload {
    /// Whether it is to be staged.
    pub(crate) fn is_large(&self) -> bool {
        self.text.len() > PIECE
    }

    /// Takes back what is staged from here on, should the caller go away.
    pub(crate) fn staging<'a>(&'a self, writer: &'a Writer) -> Staging<'a> {
        Staging { upload: self, writer }
    }

    /// Writes the pieces, one after the other, so that others come between.
    pub(crate) async fn stage(&self, writer: &Writer) -> Result<(), Error> {
        for number in 0..self.text.len().div_ceil(PIECE) {
            let upload = self.clone();
            let stage = move |connection: &Connection| {
                let note = "INSERT INTO staged (hash) VALUES (?) ON CONFLICT DO NOTHING";
                connection.prepare_cached(note)?.execute([upload.hash.to_bytes()])?;
                upload.write_piece(connection, number)
            };
            writer.write(PIECE, move |changes| stage(&changes.connection).map_err(database)).await?;
        }
        Ok(())
    }

    /// Takes back what was staged, unless an action uses it.
    pub(crate) async fn unstage(&self, writer: &Writer) -> Result<(), Error> {
        let hash = self.hash.to_bytes();
        writer.write(0, move |changes| collect(&changes.connection, hash).map_err(database)).await
    }

    /// Writes what is missing, in the change that stores the action.
    pub(crate) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        // Empty code has one piece too.
        for number in 0..self.text.len().div_ceil(PIECE).max(1) {
            self.write_piece(connection, number)?;
        }
        if self.is_large() {
            connection.prepare_cached("DELETE FROM staged WHERE hash = ?")?.execute([self.hash.to_bytes()])?;
        }
        Ok(())
    }

    fn write_piece(&self, connection: &Connection, number: usize) -> rusqlite::Result<()> {
        let (hash, row) = (self.hash.to_bytes(), number as i64);
        let mut select = connection.prepare_cached("SELECT 1 FROM code WHERE hash = ? AND number = ?")?;
        if select.exists(params![hash, row])? {
            return Ok(());
        }
        let text = self.text.as_bytes();
        let piece = &text[number * PIECE..text.len().min((number + 1) * PIECE)];
        let mut insert = connection.prepare_cached("INSERT INTO code (hash, number, piece) VALUES (?, ?, ?)")?;
        insert.execute(params![hash, row, piece]).map(drop)
    }
}

/// An upload under way. Each has other code, and a client that breaks off again
/// and again must not fill the disk with it.
pub(crate) struct Staging<'a> {
    upload: &'a Upload,
    writer: &'a Writer,
}

impl Staging<'_> {
    /// It was stored, or taken back.
    pub(crate) fn ended(self) {
        std::mem::forget(self);
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        let hash = self.upload.hash.to_bytes();
        self.writer.post(move |changes| collect(&changes.connection, hash).map_err(database));
    }
}

impl Embedded {
    /// Refuses what would fill the disk. Pieces are committed, and to take
    /// them back needs room too: a single transaction that fails frees what it
    /// took, but an upload in pieces could lock itself in.
    pub(crate) fn has_room_for(&self, upload: &Upload) -> Result<(), Error> {
        let disk = rustix::fs::statvfs(self.data_dir()).map_err(|e| Error::Unavailable(e.into()))?;
        // Once in the log, once in the database, and as much for others.
        let needed = 4 * upload.text.len() as u64;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < needed {
            return Err(Error::Unavailable("the disk has too little room for this code".into()));
        }
        Ok(())
    }
}

/// Whether an action uses it.
pub(crate) fn is_used(connection: &Connection, hash: [u8; 32]) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM entities WHERE code = ?")?.exists([hash])
}

/// The text. [`Error::Missing`] if no action uses it.
pub(crate) fn read(connection: &Connection, hash: CodeHash) -> Result<Arc<str>, Error> {
    let read = || {
        // One statement, so that nobody deletes between two pieces.
        let mut select = connection.prepare_cached(
            "SELECT piece FROM code WHERE hash = ?1 AND EXISTS (SELECT 1 FROM entities WHERE code = ?1) ORDER BY number",
        )?;
        let mut rows = select.query([hash.to_bytes()])?;
        let mut text: Option<Vec<u8>> = None;
        while let Some(row) = rows.next()? {
            text.get_or_insert_default().extend_from_slice(row.get_ref(0)?.as_blob()?);
        }
        Ok(text)
    };
    let text = read().map_err(database)?.ok_or(Error::Missing)?;
    String::from_utf8(text).map(Arc::from).map_err(|e| corrupt(hash, e))
}

/// Forgets code that nobody uses any more.
pub(crate) fn collect(connection: &Connection, hash: [u8; 32]) -> rusqlite::Result<()> {
    if is_used(connection, hash)? {
        return Ok(());
    }
    connection.prepare_cached("DELETE FROM code WHERE hash = ?")?.execute([hash])?;
    connection.prepare_cached("DELETE FROM staged WHERE hash = ?")?.execute([hash])?;
    Ok(())
}

/// Forgets what a former life staged and did not finish.
pub(crate) fn sweep(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "BEGIN IMMEDIATE;
        DELETE FROM code WHERE hash IN (SELECT hash FROM staged WHERE hash NOT IN
            (SELECT code FROM entities WHERE code IS NOT NULL));
        DELETE FROM staged;
        COMMIT",
    )
}
