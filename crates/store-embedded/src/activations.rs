//! Records: written in batches, listed by time, forgotten by age and number.

use std::{sync::Arc, thread};

use async_trait::async_trait;
use rusqlite::{Connection, Row, params, types::ValueRef};
use whisker_entity::{Activation, ActivationId, EntityName, Millis};
use whisker_store::{ActivationQuery, Activations, Cursor, Error, Page, Portion, Retention, Scan, Summary, record};

use crate::{
    Embedded,
    entities::bounds,
    error::database,
    readers::QUICK_BYTES,
    scan,
    series::{self, ALL},
    writer::Changes,
};

/// Records that one step of pruning takes away at most: about 1 ms of the
/// writer's time, several where their pages must come from the disk.
const PRUNE_ROWS: i64 = 250;

/// Bytes of results and logs after which a step ends: large records take
/// longer, since each page that they free is touched.
const PRUNE_BYTES: i64 = 4 * 1024 * 1024;

/// Ids that are looked up on the caller's thread.
const QUICK_IDS: usize = 8;

/// Records that are made ready, or written, before others have their turn on
/// the processor: about 50 µs. Warm calls go on beside a batch of hundreds.
const AT_ONCE: usize = 8;

#[async_trait]
impl Activations for Embedded {
    async fn put(&self, records: &[Arc<Activation>]) -> Result<(), Error> {
        if records.is_empty() {
            return Ok(());
        }
        let mut rows = Vec::with_capacity(records.len());
        for some in records.chunks(AT_ONCE) {
            for record in some {
                rows.push(New::of(record)?);
            }
            tokio::task::yield_now().await;
        }
        let bytes = rows.iter().map(New::bytes).sum();
        let put = move |changes: &mut Changes| {
            rows.chunks(AT_ONCE).try_for_each(|some| {
                thread::yield_now();
                some.iter().try_for_each(|row| row.put(changes)).map_err(database)
            })
        };
        self.writer().write(bytes, put).await
    }

    async fn get(&self, namespace: &EntityName, id: ActivationId) -> Result<Activation, Error> {
        if let Some(record) = self.readers().quick(|connection| get(connection, namespace, id, QUICK_BYTES))? {
            return Ok(record);
        }
        let namespace = namespace.clone();
        let whole = self.readers().long(move |connection| get(connection, &namespace, id, i64::MAX)).await?;
        whole.ok_or(Error::Missing)
    }

    async fn known(&self, _namespace: &EntityName, ids: &[ActivationId]) -> Result<Vec<ActivationId>, Error> {
        if ids.len() <= QUICK_IDS {
            return self.readers().quick(|connection| known(connection, ids).map_err(database));
        }
        let ids = ids.to_vec();
        self.readers().long(move |connection| known(connection, &ids).map_err(database)).await
    }

    async fn list(&self, query: &ActivationQuery, page: Page) -> Result<Vec<Summary>, Error> {
        let read = |row: &Row<'_>| record::summary(id(row, 0)?, text(row, 1)?);
        self.list_as("id, head", query, page, read).await
    }

    async fn list_full(&self, query: &ActivationQuery, page: Page, max_bytes: u64) -> Result<Vec<Activation>, Error> {
        let mut room = max_bytes;
        let read = move |row: &Row<'_>| {
            let (result, logs) = (optional_text(row, 2)?, text(row, 3)?);
            let bytes = result.map_or(0, str::len) + logs.len();
            room = room.checked_sub(bytes as u64).ok_or(Error::TooLarge(max_bytes))?;
            record::whole(id(row, 0)?, text(row, 1)?, result, logs)
        };
        self.list_as("id, head, result, logs", query, page, read).await
    }

    async fn count(&self, query: &ActivationQuery) -> Result<u64, Error> {
        let Some(range) = Range::of(query) else { return Ok(0) };
        if query.since.is_none() && query.upto.is_none() {
            return self.readers().quick(|connection| series::length(connection, &range.series).map_err(database));
        }
        let count = move |connection: &Connection| {
            let sql = format!("SELECT count(*) FROM activations {}", range.condition());
            let mut select = connection.prepare_cached(&sql)?;
            select.query_row(params![range.series, range.since, range.upto], |row| row.get::<_, i64>(0))
        };
        self.readers().long(move |connection| count(connection).map(|n| n.max(0) as u64).map_err(database)).await
    }

    async fn prune(&self, retention: Retention) -> Result<u64, Error> {
        self.writer().write(0, move |changes| prune(changes, retention).map_err(database)).await
    }

    async fn scan(&self, after: Option<&Cursor>, portion: Portion) -> Result<Scan<Activation>, Error> {
        let after = after.map(|cursor| cursor.0.clone());
        self.readers().long(move |connection| scan::activations(connection, after.as_deref(), portion)).await
    }
}

impl Embedded {
    async fn list_as<T: Send + 'static>(
        &self,
        columns: &'static str,
        query: &ActivationQuery,
        page: Page,
        mut read: impl FnMut(&Row<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<Vec<T>, Error> {
        let (Some(range), (skip, limit)) = (Range::of(query), bounds(page)) else { return Ok(Vec::new()) };
        let list = move |connection: &Connection| {
            let condition = range.condition();
            let sql = format!(
                "SELECT {columns} FROM activations {condition} ORDER BY start DESC, id DESC LIMIT ?4 OFFSET ?5"
            );
            let mut select = connection.prepare_cached(&sql).map_err(database)?;
            let bounds = params![range.series, range.since, range.upto, limit, skip];
            let mut rows = select.query(bounds).map_err(database)?;
            let mut list = Vec::new();
            while let Some(row) = rows.next().map_err(database)? {
                list.push(read(row)?);
            }
            Ok(list)
        };
        self.readers().long(list).await
    }
}

/// A query, as the tables know it.
struct Range {
    series: String,
    /// Which of a row's series is meant.
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
        // In one statement: between two, the number could go to another series.
        format!("WHERE {} = (SELECT id FROM series WHERE name = ?1) AND start BETWEEN ?2 AND ?3", self.column)
    }
}

/// A record, made ready for the writer.
struct New {
    record: Arc<Activation>,
    action: String,
    head: String,
    logs: String,
}

impl New {
    fn of(record: &Arc<Activation>) -> Result<Self, Error> {
        let action = record.filter_name().to_string();
        Ok(Self { action, head: record::head(record)?, logs: record::logs(record)?, record: record.clone() })
    }

    fn result(&self) -> Option<&str> {
        self.record.response.result.as_deref().map(|result| result.get())
    }

    fn bytes(&self) -> usize {
        self.head.len() + self.logs.len() + self.result().map_or(0, str::len)
    }

    fn put(&self, changes: &mut Changes) -> rusqlite::Result<()> {
        let Changes { connection, series, .. } = changes;
        let namespace = series.number(connection, self.record.namespace.as_str())?;
        let action = series.number(connection, &self.action)?;
        let all = series.number(connection, ALL)?;
        let mut insert = connection.prepare_cached(
            "INSERT INTO activations (id, start, namespace, action, head, result, logs)
            VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        )?;
        let (id, start) = (self.record.id.to_bytes(), stored(self.record.start));
        let row = params![id, start, namespace, action, self.head, self.result(), self.logs];
        if insert.execute(row)? > 0 {
            [namespace, action, all].into_iter().for_each(|number| series.grow(number, 1));
        }
        Ok(())
    }
}

/// `None` if the record is larger than that.
fn get(
    connection: &Connection,
    namespace: &EntityName,
    id: ActivationId,
    largest: i64,
) -> Result<Option<Activation>, Error> {
    let mut select = connection
        .prepare_cached(
            "SELECT iif(octet_length(head) + ifnull(octet_length(result), 0) + octet_length(logs) <= ?3, head, NULL),
                iif(octet_length(result) <= ?3, result, NULL), iif(octet_length(logs) <= ?3, logs, NULL)
            FROM activations WHERE id = ?1 AND namespace = (SELECT id FROM series WHERE name = ?2)",
        )
        .map_err(database)?;
    let mut rows = select.query(params![id.to_bytes(), namespace.as_str(), largest]).map_err(database)?;
    let row = rows.next().map_err(database)?.ok_or(Error::Missing)?;
    match optional_text(row, 0)? {
        Some(head) => record::whole(id, head, optional_text(row, 1)?, text(row, 2)?).map(Some),
        None => Ok(None),
    }
}

fn known(connection: &Connection, ids: &[ActivationId]) -> rusqlite::Result<Vec<ActivationId>> {
    let mut select = connection.prepare_cached("SELECT 1 FROM activations WHERE id = ?")?;
    let mut known = Vec::new();
    for id in ids {
        if select.exists([id.to_bytes()])? {
            known.push(*id);
        }
    }
    Ok(known)
}

/// One step: the oldest records, as far as they are too old or too many.
fn prune(changes: &mut Changes, retention: Retention) -> rusqlite::Result<u64> {
    struct Old {
        row: i64,
        namespace: i64,
        action: i64,
    }
    let Changes { connection, series, .. } = changes;
    let surplus = series.length_of_all(connection)?.saturating_sub(retention.max_count);
    let mut select = connection.prepare_cached(
        "SELECT row, namespace, action, start, ifnull(octet_length(result), 0) + octet_length(logs)
        FROM activations INDEXED BY activations_by_age ORDER BY start, id LIMIT ?",
    )?;
    let mut rows = select.query([PRUNE_ROWS])?;
    let (mut old, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()?
        && bytes < PRUNE_BYTES
        && ((old.len() as u64) < surplus || row.get::<_, i64>(3)? < stored(retention.not_before))
    {
        old.push(Old { row: row.get(0)?, namespace: row.get(1)?, action: row.get(2)? });
        bytes += row.get::<_, i64>(4)?;
    }
    drop(rows);
    if old.is_empty() {
        return Ok(0);
    }
    let all = series.number(connection, ALL)?;
    let mut delete = connection.prepare_cached("DELETE FROM activations WHERE row = ?")?;
    for old in &old {
        delete.execute([old.row])?;
        [old.namespace, old.action, all].into_iter().for_each(|number| series.grow(number, -1));
    }
    Ok(old.len() as u64)
}

/// A time as it is stored. Those after the year 292,278,994 are one.
fn stored(time: Millis) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

pub(crate) fn id(row: &Row<'_>, column: usize) -> Result<ActivationId, Error> {
    row.get(column).map(ActivationId::from_bytes).map_err(database)
}

pub(crate) fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, Error> {
    row.get_ref(column).and_then(|value| Ok(value.as_str()?)).map_err(database)
}

pub(crate) fn optional_text<'r>(row: &'r Row<'_>, column: usize) -> Result<Option<&'r str>, Error> {
    match row.get_ref(column).map_err(database)? {
        ValueRef::Null => Ok(None),
        _ => text(row, column).map(Some),
    }
}
