//! The tables, and how those of older versions become those of this one.
//!
//! Migrations only go forward. One that was released never changes: the next
//! one does. Each is applied in a transaction of its own, together with a row
//! that says so. Servers that start at once take turns at a lock.

use tokio_postgres::Client;

use crate::{OpenError, error::Cause};

/// From nothing to the present.
const MIGRATIONS: &[&str] = &[include_str!("schema/0001.sql")];

/// The lock at which migrating servers meet: "Wskr", and what it is for.
const LOCK: i64 = i64::from_be_bytes(*b"Wskr-mig");

/// Brings the database to the present, or says why not.
pub(crate) async fn migrate(client: &mut Client) -> Result<(), OpenError> {
    apply(client, MIGRATIONS).await
}

async fn apply(client: &mut Client, migrations: &[&str]) -> Result<(), OpenError> {
    let failed = |cause| OpenError::Migration(Cause::from(cause));
    // The lock goes with the transaction, and so also with a server that dies.
    // Most starts find everything done and need no more than this.
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    client.batch_execute("SET client_min_messages = warning").await.map_err(failed)?;
    loop {
        let transaction = client.transaction().await.map_err(failed)?;
        transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await.map_err(failed)?;
        transaction
            .batch_execute("CREATE TABLE IF NOT EXISTS migrations (version integer PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now())")
            .await
            .map_err(failed)?;
        let row =
            transaction.query_one("SELECT coalesce(max(version), 0) FROM migrations", &[]).await.map_err(failed)?;
        let applied = u32::try_from(row.get::<_, i32>(0)).unwrap_or_default();
        if applied > known {
            return Err(OpenError::Newer { found: applied, known });
        }
        let Some(migration) = migrations.get(applied as usize) else {
            return transaction.commit().await.map_err(failed);
        };
        transaction.batch_execute(migration).await.map_err(failed)?;
        let version = i32::try_from(applied + 1).unwrap_or(i32::MAX);
        transaction.execute("INSERT INTO migrations (version) VALUES ($1)", &[&version]).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        tracing::info!(version, "the tables of the store were brought to a newer version");
    }
}
