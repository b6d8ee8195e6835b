//! Everything, in steps: by name, by id, in the order of an index.

use rusqlite::{Connection, Params, Row, params};
use whisker_entity::{Activation, ActivationId};
use whisker_secrets::Seals;
use whisker_store::{Cursor, Error, Portion, Registered, Scan, Stored, record, sealed};

use crate::{
    activations::{id, optional_text, text},
    entities::{document, shown},
    error::{corrupt, database},
    subjects::parse,
};

/// A row: its place, its bytes, and what it holds.
struct Found<T> {
    place: String,
    bytes: u64,
    item: Result<T, Error>,
}

pub(crate) fn entities(connection: &Connection, after: Option<&str>, portion: Portion) -> Result<Scan<Stored>, Error> {
    let sql = "SELECT collection, name, document, revision FROM entities WHERE name > ifnull(?1, '')
        ORDER BY name LIMIT ?2";
    step(connection, sql, params![after, limit(portion)], portion, |row| {
        let place: String = row.get(1).map_err(database)?;
        let bytes = text(row, 2).map_or(0, str::len) as u64;
        let revision = shown(row.get(3).map_err(database)?);
        Ok(Found { place, bytes, item: document(row).map(|document| Stored { document, revision }) })
    })
}

pub(crate) fn activations(
    connection: &Connection,
    after: Option<&str>,
    portion: Portion,
) -> Result<Scan<Activation>, Error> {
    let after = after.map(|text| text.parse().map(ActivationId::to_bytes).map_err(|_| Error::Missing)).transpose()?;
    let sql = "SELECT id, head, result, logs FROM activations WHERE id > ifnull(?1, x'') ORDER BY id LIMIT ?2";
    step(connection, sql, params![after, limit(portion)], portion, |row| {
        let id = id(row, 0)?;
        let read = || Ok((text(row, 1)?, optional_text(row, 2)?, text(row, 3)?));
        let (bytes, item) = match read() {
            Ok((head, result, logs)) => {
                let bytes = head.len() + result.map_or(0, str::len) + logs.len();
                (bytes as u64, record::whole(id, head, result, logs))
            }
            Err(Error::Corrupt(_, cause)) => (0, Err(Error::Corrupt(id.to_string(), cause))),
            Err(failure) => return Err(failure),
        };
        Ok(Found { place: id.to_string(), bytes, item })
    })
}

/// Subjects and limits, which are told apart by the first letter of a place.
pub(crate) fn subjects(
    connection: &Connection,
    seals: &Seals,
    after: Option<&str>,
    portion: Portion,
) -> Result<Scan<Registered>, Error> {
    let sql = "SELECT place, name, document FROM (
            SELECT 'l' || namespace AS place, namespace AS name, document FROM limits
            UNION ALL SELECT 's' || name, name, document FROM subjects
        ) WHERE place > ifnull(?1, '') ORDER BY place LIMIT ?2";
    step(connection, sql, params![after, limit(portion)], portion, |row| {
        let place: String = row.get(0).map_err(database)?;
        let (name, document) = (text(row, 1)?, text(row, 2)?);
        let item = match place.starts_with('l') {
            true => name
                .parse()
                .map_err(|e| corrupt(name, e))
                .and_then(|namespace| parse(name, document).map(|own| Registered::Limits(namespace, own))),
            false => sealed::subject(seals, name, document).map(Registered::Subject),
        };
        Ok(Found { bytes: document.len() as u64, place, item })
    })
}

fn step<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    portion: Portion,
    read: impl Fn(&Row<'_>) -> Result<Found<T>, Error>,
) -> Result<Scan<T>, Error> {
    let mut select = connection.prepare_cached(sql).map_err(database)?;
    let mut rows = select.query(values).map_err(database)?;
    let (mut items, mut bytes, mut next) = (Vec::new(), 0_u64, None);
    while let Some(row) = rows.next().map_err(database)? {
        if items.len() as u64 >= portion.limit.max(1) || bytes > portion.max_bytes {
            return Ok(Scan { items, next });
        }
        let found = read(row)?;
        bytes = bytes.saturating_add(found.bytes);
        items.push(found.item);
        next = Some(Cursor(found.place.into()));
    }
    Ok(Scan { items, next: None })
}

/// One more than asked for, to see whether it goes on.
fn limit(portion: Portion) -> i64 {
    i64::try_from(portion.limit.max(1)).unwrap_or(i64::MAX).saturating_add(1)
}
