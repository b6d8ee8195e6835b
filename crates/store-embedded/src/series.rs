//! What records are counted by.
//!
//! A series is all records, those of one namespace, or those of one action.
//! Rows name series by number, which keeps indexes short; the writer keeps the
//! numbers of those that it met lately, and adds up what a group changes in
//! their lengths, so that a group of a hundred records of one action changes
//! three rows of this table and not three hundred.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

/// Names kept at most; then all are forgotten, which costs a lookup each.
const KEPT: usize = 20_000;

/// The series of all records.
pub(crate) const ALL: &str = "";

#[derive(Default)]
pub(crate) struct Series {
    known: HashMap<String, i64>,
    /// By how much lengths change in this transaction.
    grown: HashMap<i64, i64>,
}

impl Series {
    /// The number of a series, which is made if it is not there.
    pub(crate) fn number(&mut self, connection: &Connection, name: &str) -> rusqlite::Result<i64> {
        if let Some(number) = self.known.get(name) {
            return Ok(*number);
        }
        let mut select = connection.prepare_cached("SELECT id FROM series WHERE name = ?")?;
        let number = match select.query_row([name], |row| row.get(0)).optional()? {
            Some(number) => number,
            None => connection.prepare_cached("INSERT INTO series (name, length) VALUES (?, 0)")?.insert([name])?,
        };
        if self.known.len() >= KEPT {
            self.known.clear();
        }
        self.known.insert(name.into(), number);
        Ok(number)
    }

    /// One more, or one less.
    pub(crate) fn grow(&mut self, number: i64, by: i64) {
        *self.grown.entry(number).or_default() += by;
    }

    /// How many records there are, with what this transaction changed.
    pub(crate) fn length_of_all(&mut self, connection: &Connection) -> rusqlite::Result<u64> {
        let number = self.number(connection, ALL)?;
        let grown = self.grown.get(&number).copied().unwrap_or(0);
        Ok(length(connection, ALL)?.saturating_add_signed(grown))
    }

    /// Writes lengths, before the commit. Series that became empty go.
    pub(crate) fn flush(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut shrunk = false;
        for (number, by) in self.grown.drain() {
            let mut update = connection.prepare_cached("UPDATE series SET length = length + ? WHERE id = ?")?;
            update.execute(params![by, number])?;
            if by < 0 {
                let mut delete = connection.prepare_cached("DELETE FROM series WHERE id = ? AND length <= 0")?;
                shrunk |= delete.execute([number])? > 0;
            }
        }
        if shrunk {
            self.known.clear();
        }
        Ok(())
    }

    /// After a rollback: numbers may have gone with it.
    pub(crate) fn forget(&mut self) {
        self.known.clear();
        self.grown.clear();
    }
}

/// How many records a series has.
pub(crate) fn length(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    let mut select = connection.prepare_cached("SELECT length FROM series WHERE name = ?")?;
    let length = select.query_row([name], |row| row.get::<_, i64>(0)).optional()?;
    Ok(length.map_or(0, |length| length.max(0) as u64))
}
