//! Activation records.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use serde_json::{Value, json};
use whisker_documents::{
    corrupt,
    cut::cut,
    record::{self, id_of},
};
use whisker_entity::{Activation, ActivationId, EntityName, Millis};
use whisker_store::{ActivationQuery, Activations, Cursor, Error, Page, Portion, Retention, Scan, Summary};

use crate::{
    Cosmos,
    container::escaped,
    query::{NOT_DELETED, Order, Query, Row},
};

/// Records that are written or deleted at once, of one batch.
const AT_ONCE: usize = 16;
/// Ids that one query looks for.
const KNOWN: usize = 200;
/// Records that one step of pruning takes away.
const PRUNE: u64 = 500;

/// What lists show, by the names of OpenWhisk's views.
const SUMMARY: &str = r#"VALUE {"id": r.id, "namespace": r.namespace, "name": r.name, "version": r.version, "annotations": r.annotations, "activationId": r.activationId, "start": r.start, "end": r["end"], "cause": r.cause, "statusCode": r.response.statusCode}"#;

#[async_trait]
impl Activations for Cosmos {
    /// Each by itself. A failure may leave some written, and whoever writes
    /// again completes them.
    async fn put(&self, records: &[Arc<Activation>]) -> Result<(), Error> {
        let mut seen = HashSet::new();
        let records: Vec<_> = records.iter().filter(|record| seen.insert(record.id)).cloned().collect();
        stream::iter(records.into_iter().map(|record| async move { self.write(&record).await }))
            .buffer_unordered(AT_ONCE)
            .try_for_each(|()| async { Ok(()) })
            .await
    }

    async fn get(&self, namespace: &EntityName, id: ActivationId) -> Result<Activation, Error> {
        let id = id_of(namespace, id);
        let found = self.activations.get(&escaped(&id)?).await?.filter(|found| !found.deleted).ok_or(Error::Missing)?;
        record::read(&id, &found.text)
    }

    async fn known(&self, namespace: &EntityName, ids: &[ActivationId]) -> Result<Vec<ActivationId>, Error> {
        let mut known = Vec::new();
        for ids in ids.chunks(KNOWN) {
            let names: Vec<_> = (0..ids.len()).map(|number| format!("@i{number}")).collect();
            let text = format!("SELECT r.id FROM root r WHERE {NOT_DELETED} AND r.id IN ({})", names.join(", "));
            let query = ids.iter().enumerate().try_fold(Query::new(text), |query, (number, id)| {
                Ok::<_, Error>(query.with(&format!("i{number}"), escaped(&id_of(namespace, *id))?))
            })?;
            let all = Page { skip: 0, limit: u64::MAX };
            let (rows, _) = self.activations.select(&query, Order::Little, all, u64::MAX).await?;
            let there: HashSet<_> = rows.into_iter().map(|row| row.id).collect();
            known.extend(ids.iter().filter(|id| there.contains(&id_of(namespace, **id))));
        }
        Ok(known)
    }

    async fn list(&self, query: &ActivationQuery, page: Page) -> Result<Vec<Summary>, Error> {
        let rows = self.listed(query, page).await?;
        let summaries = rows.into_iter().filter_map(|row| {
            let summary = serde_json::from_str(row.text.get()).map_err(|e| corrupt(&row.id, e));
            match summary.and_then(|value| record::summary(&row.id, value)) {
                Ok(summary) => Some(summary),
                // One record that cannot be read does not hide the others.
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "left out of a list");
                    None
                }
            }
        });
        Ok(summaries.collect())
    }

    async fn list_full(&self, query: &ActivationQuery, page: Page, max_bytes: u64) -> Result<Vec<Activation>, Error> {
        let rows = self.listed(query, page).await?;
        let found = stream::iter(rows.into_iter().map(|row| async move {
            let found = self.activations.get(&escaped(&row.id)?).await?;
            Ok::<_, Error>((row.id, found))
        }));
        let mut found = std::pin::pin!(found.buffered(AT_ONCE));
        let (mut records, mut bytes) = (Vec::new(), 0_u64);
        while let Some((id, found)) = found.try_next().await? {
            // It went since it was listed.
            let Some(found) = found.filter(|found| !found.deleted) else { continue };
            let record = match record::read(&id, &found.text) {
                Ok(record) => record,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "left out of a list");
                    continue;
                }
            };
            bytes = bytes.saturating_add(record.bulk_bytes());
            if bytes > max_bytes {
                return Err(Error::TooLarge(max_bytes));
            }
            records.push(record);
        }
        Ok(records)
    }

    async fn count(&self, query: &ActivationQuery) -> Result<u64, Error> {
        let Some(query) = asked("VALUE COUNT(1)", query) else { return Ok(0) };
        Ok(self.activations.count(&query).await?)
    }

    async fn prune(&self, retention: Retention) -> Result<u64, Error> {
        let surplus = if retention.max_count == u64::MAX {
            0
        } else {
            let all = Query::new(format!("SELECT VALUE COUNT(1) FROM root r WHERE {NOT_DELETED}"));
            self.activations.count(&all).await?.saturating_sub(retention.max_count)
        };
        let query = Query::new(format!("SELECT r.id, r.start FROM root r WHERE {NOT_DELETED}"));
        let page = Page { skip: 0, limit: PRUNE };
        let (rows, _) = self.activations.select(&query, Order::Oldest("start"), page, u64::MAX).await?;
        let goes = |(place, row): &(usize, Row)| (*place as u64) < surplus || row.at < retention.not_before;
        let gone = rows.into_iter().enumerate().take_while(goes).map(|(_, row)| async move {
            let deleted = self.activations.delete(&escaped(&row.id)?).await?;
            Ok::<_, Error>(u64::from(deleted))
        });
        stream::iter(gone).buffer_unordered(AT_ONCE).try_fold(0, |sum, one| async move { Ok(sum + one) }).await
    }

    async fn scan(&self, after: Option<&Cursor>, portion: Portion) -> Result<Scan<Activation>, Error> {
        let (rows, next) = self.activations.step(after, portion).await?;
        let items = rows.iter().map(|row| record::read(&row.id, row.text.get().as_bytes()));
        Ok(Scan { items: items.collect(), next })
    }
}

impl Cosmos {
    /// Writes one record, unless it is there; shorter if it is taken no other
    /// way: a record without all of its logs is better than none.
    async fn write(&self, record: &Activation) -> Result<(), Error> {
        let id = id_of(&record.namespace, record.id);
        let key = escaped(&id)?;
        let failure = match self.activations.create(&key, document(&key, record)?).await {
            Ok(_) => return Ok(()),
            Err(failure) => failure,
        };
        match failure.status() {
            Some(StatusCode::CONFLICT) => return Ok(()),
            Some(StatusCode::PAYLOAD_TOO_LARGE) => {}
            _ => return Err(unavailable(failure)),
        }
        let (mut shorter, mut failure) = (record.clone(), failure);
        while cut(&mut shorter) {
            tracing::warn!(activation.id = %record.id, "Cosmos DB takes no document of this size: a record is cut");
            failure = match self.activations.create(&key, document(&key, &shorter)?).await {
                Ok(_) => return Ok(()),
                Err(failure) => failure,
            };
            match failure.status() {
                Some(StatusCode::CONFLICT) => return Ok(()),
                Some(StatusCode::PAYLOAD_TOO_LARGE) => {}
                _ => break,
            }
        }
        Err(unavailable(failure))
    }

    /// Ids of documents, and what lists show of them.
    async fn listed(&self, query: &ActivationQuery, page: Page) -> Result<Vec<Row>, Error> {
        let Some(query) = asked(SUMMARY, query) else { return Ok(Vec::new()) };
        Ok(self.activations.select(&query, Order::Newest("start"), page, u64::MAX).await?.0)
    }
}

/// A failed write of a new document has nothing that it could be missing.
fn unavailable(failure: crate::Failure) -> Error {
    match failure.into() {
        Error::Missing => Error::Unavailable("the container is not there".into()),
        error => error,
    }
}

/// The document of a record, as Cosmos DB keeps it.
fn document(key: &str, record: &Activation) -> Result<String, Error> {
    let text = record::write(record)?;
    // In the place of its name are the id, and what OpenWhisk computes for its
    // queries; its result is not touched.
    let named = format!("{{\"_id\":{}", json!(id_of(&record.namespace, record.id)));
    let rest = text.strip_prefix(&named).ok_or_else(|| corrupt(key, "its document is not as expected"))?;
    let delete_logs = record.annotations.get("kind").and_then(Value::as_str) != Some("sequence");
    let computed = json!({"nspath": record.filter_name().to_string(), "deleteLogs": delete_logs});
    Ok(format!("{{\"id\":{},\"_c\":{computed}{rest}", json!(key)))
}

/// What OpenWhisk's queries ask for. `None` where nothing can be found.
fn asked(what: &str, query: &ActivationQuery) -> Option<Query> {
    let (member, name) = match &query.name {
        None => ("namespace", query.namespace.to_string()),
        Some(name) if name.path.namespace != query.namespace => return None,
        Some(name) => ("_c.nspath", name.to_string()),
    };
    // Numbers are doubles there: what is beyond is rounded.
    const EXACT: Millis = 1 << 53;
    let upto = query.upto.filter(|upto| *upto < EXACT);
    let since = if query.since.is_some() { " AND r.start >= @since" } else { "" };
    let until = if upto.is_some() { " AND r.start <= @upto" } else { "" };
    let text = format!("SELECT {what} FROM root r WHERE {NOT_DELETED} AND r.{member} = @name{since}{until}");
    let mut asked = Query::new(text).with("name", name);
    if let Some(since) = query.since {
        asked = asked.with("since", since);
    }
    if let Some(upto) = upto {
        asked = asked.with("upto", upto);
    }
    Some(asked)
}
