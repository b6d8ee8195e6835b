//! Everything, in steps: by name, by id, in the order of an index.

use futures::TryStreamExt;
use tokio_postgres::Row;
use whisker_entity::{Activation, ActivationId};
use whisker_store::{Cursor, Error, Portion, Registered, Scan, Stored, record, sealed};

use crate::{
    Postgres, activations, entities,
    error::{corrupt, database},
    id::Id,
    lease::Values,
    subjects::parse,
};

/// A row: its place, its bytes, and what it holds.
struct Found<T> {
    place: String,
    bytes: u64,
    item: Option<Result<T, Error>>,
}

pub(crate) async fn entities(
    store: &Postgres,
    after: Option<&Cursor>,
    portion: Portion,
) -> Result<Scan<Stored>, Error> {
    let after = after.map_or("", |cursor| &cursor.0);
    let sql = "SELECT collection, name, document, revision FROM entities WHERE name > $1 ORDER BY name LIMIT $2";
    step(store, sql, &[&after, &limit(portion)], portion, |row| {
        let bytes = row.try_get::<_, &str>(2).map_or(0, str::len) as u64;
        Ok(Found { place: row.try_get(1).map_err(database)?, bytes, item: Some(entities::stored(row)) })
    })
    .await
}

pub(crate) async fn activations(
    store: &Postgres,
    after: Option<&Cursor>,
    portion: Portion,
) -> Result<Scan<Activation>, Error> {
    let after = after.map(|cursor| cursor.0.parse().map(Id).map_err(|_| Error::Missing)).transpose()?;
    let (behind, from) = after.map_or((">=", Id(ActivationId::from_bytes([0; 16]))), |after| (">", after));
    let sql = format!(
        "SELECT page.id, a.id IS NOT NULL, a.head, a.result, a.logs
        FROM (SELECT id, start FROM activation_ids WHERE id {behind} $1 ORDER BY id LIMIT $2) AS page
        LEFT JOIN activations AS a ON a.start = page.start AND a.id = page.id
        ORDER BY page.id"
    );
    step(store, &sql, &[&from, &limit(portion)], portion, |row| {
        let Id(id) = row.try_get(0).map_err(database)?;
        if !row.try_get::<_, bool>(1).map_err(database)? {
            // Retention has just taken its table.
            return Ok(Found { place: id.to_string(), bytes: 0, item: None });
        }
        let (head, result, logs) = activations::parts(row, 2)?;
        let bytes = head.len() + result.map_or(0, str::len) + logs.len();
        Ok(Found { place: id.to_string(), bytes: bytes as u64, item: Some(record::whole(id, head, result, logs)) })
    })
    .await
}

/// Subjects and limits, which are told apart by the first letter of a place.
/// What follows it is in hex, since names may hold NUL.
pub(crate) async fn subjects(
    store: &Postgres,
    after: Option<&Cursor>,
    portion: Portion,
) -> Result<Scan<Registered>, Error> {
    let after = after.map_or("", |cursor| &cursor.0);
    let sql = "SELECT place, name, document FROM (
            SELECT 'l' || encode(convert_to(namespace, 'UTF8'), 'hex') COLLATE \"C\" AS place,
                convert_to(namespace, 'UTF8') AS name, document FROM limits
            UNION ALL SELECT 's' || encode(name, 'hex') COLLATE \"C\", name, document FROM subjects
        ) AS registered WHERE place > $1 ORDER BY place LIMIT $2";
    step(store, sql, &[&after, &limit(portion)], portion, |row| {
        let place: String = row.try_get(0).map_err(database)?;
        let name = String::from_utf8_lossy(row.try_get(1).map_err(database)?);
        let document: &str = row.try_get(2).map_err(database)?;
        let item = match place.starts_with('l') {
            true => name
                .parse()
                .map_err(|e| corrupt(&name, e))
                .and_then(|namespace| parse(&name, document).map(|own| Registered::Limits(namespace, own))),
            false => sealed::subject(&store.seals, &name, document).map(Registered::Subject),
        };
        Ok(Found { place, bytes: document.len() as u64, item: Some(item) })
    })
    .await
}

async fn step<T>(
    store: &Postgres,
    sql: &str,
    values: Values<'_>,
    portion: Portion,
    read: impl Fn(&Row) -> Result<Found<T>, Error>,
) -> Result<Scan<T>, Error> {
    let step = async {
        let lease = store.lease().await?;
        let mut rows = std::pin::pin!(lease.stream(sql, values).await?);
        let (mut items, mut bytes, mut seen, mut next) = (Vec::new(), 0_u64, 0, None);
        while let Some(row) = rows.try_next().await.map_err(database)? {
            if seen >= portion.limit.max(1) {
                // The one more; the rows are at their end with it.
                continue;
            }
            if bytes > portion.max_bytes {
                // Rows are on their way still: the connection goes with them.
                return Ok(Scan { items, next });
            }
            let found = read(&row)?;
            seen += 1;
            bytes = bytes.saturating_add(found.bytes);
            items.extend(found.item);
            next = Some(Cursor(found.place.into()));
        }
        let ended = rows.rows_affected().is_none_or(|rows| rows <= seen);
        lease.done();
        Ok(Scan { items, next: next.filter(|_| !ended) })
    };
    store.answered(step).await
}

/// One more than asked for, to see whether it goes on.
fn limit(portion: Portion) -> i64 {
    i64::try_from(portion.limit.max(1)).unwrap_or(i64::MAX).saturating_add(1)
}
