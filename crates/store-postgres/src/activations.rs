//! Records: written in batches, listed by time.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use futures::TryStreamExt;
use tokio_postgres::Row;
use whisker_entity::{Activation, ActivationId, EntityName, Millis};
use whisker_store::{ActivationQuery, Activations, Cursor, Error, Page, Portion, Retention, Scan, Summary, record};

use crate::{
    Postgres,
    entities::bounds,
    error::{Cause, database},
    id::Id,
    scan,
};

/// What a batch does. Ids come in order, so that two batches with the same
/// ones wait for each other and do not lock each other out.
const PUT: &str = "
    WITH fresh AS (
        INSERT INTO activation_ids (id, start)
        SELECT * FROM unnest($1::uuid[], $2::bigint[])
        ON CONFLICT (id) DO NOTHING RETURNING id
    ), kept AS (
        INSERT INTO activations (id, start, namespace, action, head, result, logs)
        SELECT r.* FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
            AS r (id, start, namespace, action, head, result, logs)
        JOIN fresh ON fresh.id = r.id
        RETURNING start
    )
    INSERT INTO tallies (day, records) SELECT start / 86400000, count(*) FROM kept GROUP BY 1";

#[async_trait]
impl Activations for Postgres {
    async fn put(&self, records: &[Arc<Activation>]) -> Result<(), Error> {
        if records.is_empty() {
            return Ok(());
        }
        let columns = Columns::of(records)?;
        let put = async {
            self.prepare_days(&columns.starts).await?;
            let lease = self.lease().await?;
            lease.execute(PUT, &columns.values()).await?;
            lease.done();
            Ok(())
        };
        self.answered(put).await
    }

    async fn get(&self, namespace: &EntityName, id: ActivationId) -> Result<Activation, Error> {
        let get = async {
            let lease = self.lease().await?;
            let row = lease
                .find(
                    "SELECT a.head, a.result, a.logs FROM activation_ids AS i
                    JOIN activations AS a ON a.start = i.start AND a.id = i.id
                    WHERE i.id = $1 AND a.namespace = $2",
                    &[&Id(id), &namespace.as_str()],
                )
                .await?;
            lease.done();
            row.ok_or(Error::Missing)
        };
        let row = self.answered(get).await?;
        let (head, result, logs) = parts(&row, 0)?;
        record::whole(id, head, result, logs)
    }

    async fn known(&self, _namespace: &EntityName, ids: &[ActivationId]) -> Result<Vec<ActivationId>, Error> {
        let asked: Vec<_> = ids.iter().copied().map(Id).collect();
        let known = async {
            let lease = self.lease().await?;
            let rows = lease.query("SELECT id FROM activation_ids WHERE id = ANY ($1)", &[&asked]).await?;
            lease.done();
            rows.iter()
                .map(|row| Ok(row.try_get::<_, Id>(0).map_err(database)?.0))
                .collect::<Result<HashSet<_>, Error>>()
        };
        let known = self.answered(known).await?;
        Ok(ids.iter().copied().filter(|id| known.contains(id)).collect())
    }

    async fn list(&self, query: &ActivationQuery, page: Page) -> Result<Vec<Summary>, Error> {
        let read = |row: &Row| {
            let id: Id = row.try_get(0).map_err(database)?;
            record::summary(id.0, row.try_get(1).map_err(database)?)
        };
        self.list_as("id, head", query, page, read).await
    }

    async fn list_full(&self, query: &ActivationQuery, page: Page, max_bytes: u64) -> Result<Vec<Activation>, Error> {
        let mut room = max_bytes;
        let read = move |row: &Row| {
            let id: Id = row.try_get(0).map_err(database)?;
            let (head, result, logs) = parts(row, 1)?;
            let bytes = (result.map_or(0, str::len) + logs.len()) as u64;
            room = room.checked_sub(bytes).ok_or(Error::TooLarge(max_bytes))?;
            record::whole(id.0, head, result, logs)
        };
        self.list_as("id, head, result, logs", query, page, read).await
    }

    async fn count(&self, query: &ActivationQuery) -> Result<u64, Error> {
        let Some(range) = Range::of(query) else { return Ok(0) };
        let sql = format!("SELECT count(*) FROM activations {}", range.condition());
        let count = async {
            let lease = self.lease().await?;
            let row = lease.find(&sql, &[&range.series, &range.since, &range.upto]).await?;
            lease.done();
            Ok(row.map_or(0, |row| row.get::<_, i64>(0)))
        };
        self.answered(count).await.map(|count| count.max(0) as u64)
    }

    async fn prune(&self, retention: Retention) -> Result<u64, Error> {
        self.forget(retention).await
    }

    async fn scan(&self, after: Option<&Cursor>, portion: Portion) -> Result<Scan<Activation>, Error> {
        scan::activations(self, after, portion).await
    }
}

impl Postgres {
    async fn list_as<T>(
        &self,
        columns: &'static str,
        query: &ActivationQuery,
        page: Page,
        mut read: impl FnMut(&Row) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let (Some(range), (skip, limit)) = (Range::of(query), bounds(page)) else { return Ok(Vec::new()) };
        let condition = range.condition();
        let sql =
            format!("SELECT {columns} FROM activations {condition} ORDER BY start DESC, id DESC LIMIT $4 OFFSET $5");
        let list = async {
            let lease = self.lease().await?;
            let rows = lease.stream(&sql, &[&range.series, &range.since, &range.upto, &limit, &skip]).await?;
            let mut rows = std::pin::pin!(rows);
            let mut list = Vec::new();
            while let Some(row) = rows.try_next().await.map_err(database)? {
                list.push(read(&row)?);
            }
            lease.done();
            Ok(list)
        };
        self.answered(list).await
    }
}

/// A query, as the tables know it.
struct Range {
    series: String,
    /// Which of a row's names is meant.
    column: &'static str,
    since: i64,
    upto: i64,
}

impl Range {
    /// `None` where nothing can be found.
    fn of(query: &ActivationQuery) -> Option<Self> {
        let (series, column) = match &query.name {
            Some(name) if name.path.namespace != query.namespace => return None,
            Some(name) => (name.to_string(), "action"),
            None => (query.namespace.to_string(), "namespace"),
        };
        let (since, upto) = (stored(query.since.unwrap_or(0)), stored(query.upto.unwrap_or(Millis::MAX)));
        Some(Self { series, column, since, upto })
    }

    fn condition(&self) -> String {
        format!("WHERE {} = $1 AND start BETWEEN $2 AND $3", self.column)
    }
}

/// A batch as the database takes it.
struct Columns {
    ids: Vec<Id>,
    starts: Vec<i64>,
    namespaces: Vec<String>,
    actions: Vec<String>,
    heads: Vec<String>,
    results: Vec<Option<String>>,
    logs: Vec<String>,
}

impl Columns {
    /// Of each id only the first record.
    fn of(records: &[Arc<Activation>]) -> Result<Self, Error> {
        let mut seen = HashSet::new();
        let mut records: Vec<_> = records.iter().filter(|record| seen.insert(record.id)).collect();
        records.sort_unstable_by_key(|record| record.id);
        Ok(Self {
            ids: records.iter().map(|record| Id(record.id)).collect(),
            starts: records.iter().map(|record| stored(record.start)).collect(),
            namespaces: records.iter().map(|record| record.namespace.to_string()).collect(),
            actions: records.iter().map(|record| record.filter_name().to_string()).collect(),
            heads: records.iter().map(|record| record::head(record)).collect::<Result<_, _>>()?,
            results: records.iter().map(|r| r.response.result.as_deref().map(|text| text.get().to_owned())).collect(),
            logs: records.iter().map(|record| record::logs(record)).collect::<Result<_, _>>()?,
        })
    }

    fn values(&self) -> [&(dyn tokio_postgres::types::ToSql + Sync); 7] {
        [&self.ids, &self.starts, &self.namespaces, &self.actions, &self.heads, &self.results, &self.logs]
    }
}

/// Head, result and logs, from a row that has them one after the other.
pub(crate) fn parts(row: &Row, first: usize) -> Result<(&str, Option<&str>, &str), Error> {
    let read = || Ok((row.try_get(first)?, row.try_get(first + 1)?, row.try_get(first + 2)?));
    read().map_err(|error: tokio_postgres::Error| Error::Corrupt("activation".into(), Cause::from(error).into()))
}

/// A time as it is stored. Those after the year 292,278,994 are one.
pub(crate) fn stored(time: Millis) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}
