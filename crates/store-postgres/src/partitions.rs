//! A table of records for each day on which some started.
//!
//! A day's table is made by the first server that writes a record of it, or of
//! the day before: at midnight it is there. What has no table goes to the one
//! for all others, which is right too, and only slower to forget.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio_postgres::error::SqlState;
use whisker_store::Error;

use crate::{Postgres, error::database};

/// One day in ms.
pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Days after 1970 that get tables, up to the year 2169; a clock that says more
/// is wrong.
const LAST_DAY: i64 = 73_000;
/// Tables at most: lists look into each of them.
const MAX: usize = 400;

/// How a day's table is called.
const PREFIX: &str = "activations_d";

/// The days that this process need not look at again.
#[derive(Default)]
pub(crate) struct Partitions(Mutex<HashSet<i64>>);

impl Partitions {
    fn settled(&self) -> MutexGuard<'_, HashSet<i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A day's table is gone: if more of it comes, it is looked at again.
    pub(crate) fn forget(&self, day: i64) {
        self.settled().remove(&day);
    }
}

/// The day of a time.
pub(crate) fn day_of(start: i64) -> i64 {
    start.div_euclid(DAY_MS)
}

/// The name of a day's table.
pub(crate) fn table(day: i64) -> String {
    format!("{PREFIX}{day}")
}

impl Postgres {
    /// Makes the tables of these times, as far as that can be done at once.
    pub(crate) async fn prepare_days(&self, starts: &[i64]) -> Result<(), Error> {
        let days: HashSet<_> = starts.iter().map(|start| day_of(*start)).collect();
        let mut wanted: Vec<_> = days.iter().copied().chain(days.iter().max().map(|day| day + 1)).collect();
        {
            let settled = self.partitions.settled();
            wanted.retain(|day| (0..=LAST_DAY).contains(day) && !settled.contains(day));
        }
        if wanted.is_empty() {
            return Ok(());
        }
        wanted.sort_unstable();
        wanted.dedup();
        for day in wanted {
            if self.make(day).await? {
                self.partitions.settled().insert(day);
            }
        }
        Ok(())
    }

    /// Makes the table of a day; `false` if that is to be tried again.
    async fn make(&self, day: i64) -> Result<bool, Error> {
        let lease = self.lease().await?;
        let held = lease.query("SELECT to_regclass($1)::text, (SELECT count(*) FROM pg_inherits WHERE inhparent = 'activations'::regclass)", &[&table(day)]).await?;
        let Some(row) = held.first() else { return Ok(false) };
        let there = row.get::<_, Option<String>>(0).is_some();
        if there || row.get::<_, i64>(1) > MAX as i64 {
            lease.done();
            return Ok(true);
        }
        // Readers of all days are in the way of this, for as long as they
        // read, and it of those who come after: so it does not wait long.
        let made = lease
            .batch(&format!(
                "BEGIN; SET LOCAL lock_timeout = '500ms';
                CREATE TABLE {} PARTITION OF activations FOR VALUES FROM ({}) TO ({});
                COMMIT",
                table(day),
                day * DAY_MS,
                (day + 1) * DAY_MS
            ))
            .await;
        let Err(error) = made else {
            lease.done();
            return Ok(true);
        };
        match error.code() {
            // Another server made it a moment ago.
            Some(&(SqlState::DUPLICATE_TABLE | SqlState::UNIQUE_VIOLATION | SqlState::DUPLICATE_OBJECT)) => Ok(true),
            // Records of that day are among the others already.
            Some(&(SqlState::CHECK_VIOLATION | SqlState::INVALID_OBJECT_DEFINITION)) => Ok(true),
            Some(&(SqlState::LOCK_NOT_AVAILABLE | SqlState::T_R_DEADLOCK_DETECTED)) => Ok(false),
            // May not make tables: everything goes to the others then.
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(true),
            _ => Err(database(error)),
        }
    }

    /// The days that have tables, oldest first.
    pub(crate) async fn days(&self) -> Result<Vec<i64>, Error> {
        let lease = self.lease().await?;
        let rows = lease
            .query(
                "SELECT c.relname::text FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
                WHERE i.inhparent = 'activations'::regclass",
                &[],
            )
            .await?;
        lease.done();
        let names = rows.iter().map(|row| row.get::<_, String>(0));
        let mut days: Vec<i64> = names.filter_map(|name| name.strip_prefix(PREFIX)?.parse().ok()).collect();
        days.sort_unstable();
        Ok(days)
    }
}
