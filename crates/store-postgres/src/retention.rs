//! Forgetting old records: by the table where whole days go, else by the row.

use whisker_store::{Error, Retention};

use crate::{
    Postgres,
    activations::stored,
    error::database,
    partitions::{DAY_MS, table},
};

/// Records that one step takes away at most where it goes by rows.
const ROWS: i64 = 1_000;
/// Of a day with fewer records the rows go one by one: to drop a table all
/// readers have to be waited for, which so few rows are not worth.
const FEW: i64 = 10_000;
/// Ids of dropped records that one statement takes away.
const IDS: i64 = 20_000;
/// Rows of the tallies beyond which they are summed up.
const TALLIES: i64 = 1_000;

/// The lock of those who forget: "Wskr", and what it is for. Two of them at
/// once would count the same records twice.
const LOCK: i64 = i64::from_be_bytes(*b"Wskr-ret");

const BY_ROWS: &str = "
    WITH old AS (
        SELECT id, start FROM (SELECT id, start, row_number() OVER (ORDER BY start, id) AS place
            FROM (SELECT id, start FROM activations ORDER BY start, id LIMIT $3) AS first) AS ranked
        WHERE start < $1 OR place <= $2
    ), gone AS (
        DELETE FROM activations AS a USING old WHERE a.start = old.start AND a.id = old.id RETURNING a.id, a.start
    ), ids AS (
        DELETE FROM activation_ids AS i USING gone WHERE i.id = gone.id
    ), tally AS (
        INSERT INTO tallies (day, records) SELECT start / 86400000, -count(*) FROM gone GROUP BY 1
    )
    SELECT count(*) FROM gone";

impl Postgres {
    /// One step of forgetting. None while another server is at it.
    pub(crate) async fn forget(&self, retention: Retention) -> Result<u64, Error> {
        let not_before = stored(retention.not_before);
        let days = self.answered(self.days()).await?;
        let lease = self.answered(self.begin()).await?;
        let step = async {
            let mine = lease.find("SELECT pg_try_advisory_xact_lock($1)", &[&LOCK]).await?;
            if !mine.is_some_and(|row| row.get(0)) {
                return Ok(Step::Rows(0));
            }
            let row = lease.find("SELECT coalesce(sum(records), 0)::bigint, count(*) FROM tallies", &[]).await?;
            let (all, tallies) = row.map_or((0, 0), |row| (row.get::<_, i64>(0), row.get::<_, i64>(1)));
            let surplus = all.saturating_sub(i64::try_from(retention.max_count).unwrap_or(i64::MAX)).max(0);
            if tallies > TALLIES {
                lease
                    .execute(
                        "WITH gone AS (DELETE FROM tallies RETURNING day, records)
                        INSERT INTO tallies SELECT day, sum(records) FROM gone GROUP BY day HAVING sum(records) <> 0",
                        &[],
                    )
                    .await?;
            }
            if let Some(&day) = days.first() {
                let (begin, end) = (day * DAY_MS, (day + 1) * DAY_MS);
                let row = lease
                    .find(
                        "SELECT coalesce((SELECT sum(records) FROM tallies WHERE day = $1), 0)::bigint,
                        EXISTS (SELECT FROM activations_other WHERE start < $2)",
                        &[&day, &begin],
                    )
                    .await?;
                let (records, older) = row.map_or((0, true), |row| (row.get::<_, i64>(0), row.get(1)));
                let goes = end <= not_before || surplus > 0 && records <= surplus;
                if goes && !older && (records > FEW || records <= 0) {
                    // A row that no tally knows of would go with the table; it
                    // is as old as the rest.
                    lease.execute("DELETE FROM tallies WHERE day = $1", &[&day]).await?;
                    let drop = format!("SET LOCAL lock_timeout = '1s'; DROP TABLE IF EXISTS {}", table(day));
                    lease.batch(&drop).await.map_err(database)?;
                    return Ok(Step::Day(day, records.max(0)));
                }
            }
            let row = lease.find(BY_ROWS, &[&not_before, &surplus, &ROWS]).await?;
            Ok(Step::Rows(row.map_or(0, |row| row.get::<_, i64>(0))))
        };
        let step = self.answered(step).await;
        match self.answered(lease.end(step)).await? {
            Step::Rows(gone) => Ok(gone.max(0) as u64),
            Step::Day(day, gone) => {
                self.partitions.forget(day);
                self.sweep().await?;
                // An empty table is no step: whoever asks goes on until 0.
                if gone > 0 { Ok(gone as u64) } else { Box::pin(self.forget(retention)).await }
            }
        }
    }

    /// Takes away the ids of records that went with their table, a bounded
    /// number at a time. What a crash leaves the next day's sweep takes.
    async fn sweep(&self) -> Result<(), Error> {
        loop {
            let step = async {
                let lease = self.begin().await?;
                // Blocks of times are all the index there is by them.
                lease.batch("SET LOCAL enable_bitmapscan = on").await.map_err(database)?;
                let gone = lease
                    .execute(
                        "DELETE FROM activation_ids WHERE ctid = ANY (ARRAY(
                            SELECT ctid FROM activation_ids
                            WHERE start < coalesce((SELECT min(start) FROM activations), 9223372036854775807)
                            LIMIT $1))",
                        &[&IDS],
                    )
                    .await;
                lease.end(gone).await
            };
            if self.answered(step).await? < IDS as u64 {
                return Ok(());
            }
        }
    }
}

enum Step {
    /// So many rows went.
    Rows(i64),
    /// A day's table went, with so many.
    Day(i64, i64),
}
