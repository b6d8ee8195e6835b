//! The tables, and how those of older versions become those of this one.
//!
//! Migrations only go forward. One that was released never changes: the next
//! one does. `user_version` counts those that were applied, each in a
//! transaction of its own, so that a crash between two leaves a version that
//! is known.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::{OpenError, error::is_damage};

/// What is in `application_id`: "Wskr".
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"Wskr");

/// From nothing to the present.
const MIGRATIONS: &[&str] = &[include_str!("schema/0001.sql")];

/// Brings the file to the present, or says why not.
pub(crate) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    apply(connection, path, MIGRATIONS)
}

fn apply(connection: &mut Connection, path: &Path, migrations: &[&str]) -> Result<(), OpenError> {
    let failed = |source| match is_damage(&source) {
        true => OpenError::Damaged { path: path.into(), source },
        false => OpenError::Database { path: path.into(), source },
    };
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get(0));
    let application: i32 = number("application_id").map_err(failed)?;
    let version: i32 = number("user_version").map_err(failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    let is_new = application == 0 && version == 0 && tables == 0;
    if application != APPLICATION_ID && !is_new {
        return Err(OpenError::Foreign { path: path.into() });
    }
    let known = migrations.len() as u32;
    let applied = match u32::try_from(version) {
        Ok(version) if version <= known => version,
        found => return Err(OpenError::Newer { path: path.into(), found: found.unwrap_or(u32::MAX), known }),
    };
    for (migration, version) in migrations.iter().zip(1..).skip(applied as usize) {
        let mut step = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.commit()
        };
        step().map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const FIRST: &str = "CREATE TABLE one (x); INSERT INTO one VALUES ('kept');";
    const SECOND: &str = "ALTER TABLE one ADD COLUMN y DEFAULT 'new'";

    fn version(connection: &Connection) -> u32 {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    fn run(connection: &mut Connection, migrations: &[&str]) -> Result<(), OpenError> {
        apply(connection, Path::new("store.db"), migrations)
    }

    #[test]
    fn each_migration_is_applied_once_and_keeps_what_is_there() {
        let mut file = Connection::open_in_memory().unwrap();
        run(&mut file, &[FIRST]).unwrap();
        run(&mut file, &[FIRST]).unwrap();
        assert_eq!(version(&file), 1);
        run(&mut file, &[FIRST, SECOND]).unwrap();
        assert_eq!(version(&file), 2);
        let row = file.query_row("SELECT x, y FROM one", [], |row| Ok((row.get(0)?, row.get(1)?)));
        assert_eq!(row, Ok(("kept".to_owned(), "new".to_owned())));
    }

    #[test]
    fn a_migration_that_fails_leaves_the_one_before_it() {
        let mut file = Connection::open_in_memory().unwrap();
        let broken = "CREATE TABLE two (x); CREATE TABLE one (x)";
        assert!(matches!(run(&mut file, &[FIRST, broken]), Err(OpenError::Database { .. })));
        assert_eq!(version(&file), 1);
        assert!(file.prepare("SELECT * FROM two").is_err());
        run(&mut file, &[FIRST, SECOND]).unwrap();
        assert_eq!(version(&file), 2);
    }

    #[test]
    fn a_later_version_is_refused() {
        let mut file = Connection::open_in_memory().unwrap();
        run(&mut file, &[FIRST, SECOND]).unwrap();
        assert!(matches!(run(&mut file, &[FIRST]), Err(OpenError::Newer { found: 2, known: 1, .. })));
    }
}
