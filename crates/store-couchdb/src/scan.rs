//! Reading a database in the order of its ids.

use serde_json::Value;
use whisker_store::{Cursor, Error, Portion, Scan};

use crate::database::{Database, Rows};

/// Documents asked for at once: the largest has some megabytes.
const AT_ONCE: u64 = 50;

/// One step. `read` makes an item of an id and its document, or passes it over.
pub(crate) async fn step<T>(
    database: &Database,
    after: Option<&Cursor>,
    portion: Portion,
    mut read: impl FnMut(&str, Value) -> Option<Result<T, Error>>,
) -> Result<Scan<T>, Error> {
    let (mut items, mut bytes) = (Vec::new(), 0_u64);
    let mut after = after.map(|cursor| cursor.0.clone());
    loop {
        let want = (portion.limit.max(1) - items.len() as u64).min(AT_ONCE);
        // One more than wanted tells whether this is the end; another one is
        // the document that the cursor names, if it is still there.
        let rows: Rows<Value, Box<serde_json::value::RawValue>> = database.from(after.as_deref(), want + 2).await?;
        let rows = rows.rows.into_iter().filter(|row| Some(row.id.as_str()) != after.as_deref());
        let mut rows = rows.collect::<Vec<_>>().into_iter().peekable();
        for _ in 0..want {
            let Some(row) = rows.next() else { return Ok(Scan { items, next: None }) };
            let cursor = row.id.clone();
            if let (false, Some(text)) = (row.id.starts_with("_design/"), row.doc) {
                bytes = bytes.saturating_add(text.get().len() as u64);
                let item = match serde_json::from_str(text.get()) {
                    Ok(document) => read(&row.id, document),
                    Err(error) => Some(Err(whisker_documents::corrupt(&row.id, error))),
                };
                items.extend(item);
            }
            after = Some(cursor.into());
            if rows.peek().is_none() {
                return Ok(Scan { items, next: None });
            }
            if !items.is_empty() && (items.len() as u64 >= portion.limit || bytes >= portion.max_bytes) {
                return Ok(Scan { items, next: after.map(Cursor) });
            }
        }
    }
}
