//! Activation records.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use http::StatusCode;
use serde_json::{Value, json, value::RawValue};
use whisker_documents::{
    corrupt,
    cut::cut,
    record::{self, id_of},
    shape,
};
use whisker_entity::{Activation, ActivationId, EntityName, Millis};
use whisker_store::{ActivationQuery, Activations, Cursor, Error, Page, Portion, Retention, Scan, Summary};

use crate::{
    CouchDb,
    database::{Query, Rows},
    designs,
    entities::{check_id, paged},
    error::Failure,
    scan,
};

/// Records of one request, at most, as in OpenWhisk's batches.
const BATCH: usize = 500;
/// Bytes of one request after which no further record is added.
const BATCH_BYTES: usize = 4 << 20;
/// Whole records asked for at once: the largest has some megabytes.
const WHOLE_AT_ONCE: usize = 16;
/// Records that one step of pruning takes away.
const PRUNE: u64 = 500;

#[async_trait]
impl Activations for CouchDb {
    /// Each by itself: CouchDB knows nothing that joins writes. A failure may
    /// leave some written, and whoever writes again completes them.
    async fn put(&self, records: &[Arc<Activation>]) -> Result<(), Error> {
        let mut seen = HashSet::new();
        let records: Vec<_> = records.iter().filter(|record| seen.insert(record.id)).collect();
        let mut rest = records.as_slice();
        while !rest.is_empty() {
            let (mut documents, mut bytes) = (Vec::new(), 0);
            for record in rest.iter().take(BATCH) {
                check_id(record.namespace.as_str())?;
                let document = record::write(record)?;
                bytes += document.len();
                documents.push(document);
                if bytes >= BATCH_BYTES {
                    break;
                }
            }
            let (batch, more) = rest.split_at(documents.len());
            match self.write(&documents).await {
                // One of them is longer than CouchDB takes (max_document_size).
                Err(Failure::Status { status: StatusCode::PAYLOAD_TOO_LARGE, .. }) => {
                    for record in batch {
                        self.write_cut(record).await?;
                    }
                }
                other => other?,
            }
            rest = more;
        }
        Ok(())
    }

    async fn get(&self, namespace: &EntityName, id: ActivationId) -> Result<Activation, Error> {
        let id = id_of(namespace, id);
        let document = self.activations.get(&id).await?.ok_or(Error::Missing)?;
        record::read(&id, &document)
    }

    async fn known(&self, namespace: &EntityName, ids: &[ActivationId]) -> Result<Vec<ActivationId>, Error> {
        let mut known = Vec::new();
        for ids in ids.chunks(BATCH) {
            let keys: Vec<_> = ids.iter().map(|id| id_of(namespace, *id)).collect();
            let rows: Rows<Value> = self.activations.documents(&keys, false, u64::MAX).await?;
            let is_there = |value: &Option<Value>| value.as_ref().is_some_and(|value| value["deleted"] != true);
            // In the order asked; a key without a document has a row too.
            known.extend(ids.iter().zip(rows.rows).filter(|(_, row)| is_there(&row.value)).map(|(id, _)| *id));
        }
        Ok(known)
    }

    async fn list(&self, query: &ActivationQuery, page: Page) -> Result<Vec<Summary>, Error> {
        let rows = self.listed(query, page).await?;
        let summaries = rows.into_iter().filter_map(|(id, value)| match record::summary(&id, value) {
            Ok(summary) => Some(summary),
            // One record that cannot be read does not hide the others.
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "left out of a list");
                None
            }
        });
        Ok(summaries.collect())
    }

    async fn list_full(&self, query: &ActivationQuery, page: Page, max_bytes: u64) -> Result<Vec<Activation>, Error> {
        let ids: Vec<_> = self.listed(query, page).await?.into_iter().map(|(id, _)| id).collect();
        let (mut records, mut bytes) = (Vec::new(), 0_u64);
        for ids in ids.chunks(WHOLE_AT_ONCE) {
            let rows: Rows<Value, Box<RawValue>> =
                self.activations.documents(ids, true, crate::client::ANSWER_MAX).await?;
            for row in rows.rows {
                let Some(document) = row.doc else { continue };
                let record = match record::read(&row.id, document.get().as_bytes()) {
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
        }
        Ok(records)
    }

    async fn count(&self, query: &ActivationQuery) -> Result<u64, Error> {
        let Some(range) = Range::of(query) else { return Ok(0) };
        let asked = Query::default().with("startkey", &range.first).with("endkey", &range.last).with("reduce", true);
        let rows: Rows<u64> = self.activations.view(range.view, asked).await?;
        Ok(rows.rows.first().and_then(|row| row.value).unwrap_or(0))
    }

    async fn prune(&self, retention: Retention) -> Result<u64, Error> {
        let rows: Rows<(String, String)> =
            self.activations.view(designs::BY_DATE, Query::default().with("limit", PRUNE)).await?;
        let surplus = rows.total_rows.saturating_sub(retention.max_count);
        let goes = |place: usize, start: &Value| {
            (place as u64) < surplus || shape::millis(start).is_some_and(|start| start < retention.not_before)
        };
        let gone: Vec<_> = rows
            .rows
            .into_iter()
            .enumerate()
            .take_while(|(place, row)| goes(*place, &row.key))
            .filter_map(|(_, row)| row.value)
            .map(|(id, revision)| json!({"_id": id, "_rev": revision, "_deleted": true}))
            .collect();
        if gone.is_empty() {
            return Ok(0);
        }
        let outcomes = self.activations.bulk(json!({"docs": gone}).to_string()).await?;
        Ok(outcomes.iter().filter(|outcome| outcome.error.is_none()).count() as u64)
    }

    async fn scan(&self, after: Option<&Cursor>, portion: Portion) -> Result<Scan<Activation>, Error> {
        scan::step(&self.activations, after, portion, |id, document| {
            let text = serde_json::to_vec(&document).map_err(|e| corrupt(id, e));
            Some(text.and_then(|text| record::read(id, &text)))
        })
        .await
    }
}

impl CouchDb {
    /// Writes documents; those that are there stay as they are.
    async fn write(&self, documents: &[String]) -> Result<(), Failure> {
        let body = format!("{{\"docs\":[{}]}}", documents.join(","));
        for outcome in self.activations.bulk(body).await? {
            match outcome.error.as_deref() {
                None | Some("conflict") => {}
                Some(error) => {
                    let reason = Some(format!("{error} ({})", outcome.reason.unwrap_or_default()));
                    return Err(Failure::Status { status: StatusCode::INTERNAL_SERVER_ERROR, reason });
                }
            }
        }
        Ok(())
    }

    /// Writes one record, shorter if CouchDB takes it no other way: a record
    /// without all of its logs is better than none.
    async fn write_cut(&self, record: &Activation) -> Result<(), Error> {
        let mut record = record.clone();
        loop {
            match self.write(&[record::write(&record)?]).await {
                Err(Failure::Status { status: StatusCode::PAYLOAD_TOO_LARGE, reason }) => {
                    if !cut(&mut record) {
                        return Err(Failure::Status { status: StatusCode::PAYLOAD_TOO_LARGE, reason }.into());
                    }
                    tracing::warn!(activation.id = %record.id, "CouchDB takes no document of this size: a record is cut");
                }
                other => return Ok(other?),
            }
        }
    }

    /// Ids of documents, and what the view says of them.
    async fn listed(&self, query: &ActivationQuery, page: Page) -> Result<Vec<(String, Value)>, Error> {
        let (Some(range), Some(paged)) = (Range::of(query), paged(page)) else { return Ok(Vec::new()) };
        let asked = paged
            .with("startkey", &range.last)
            .with("endkey", &range.first)
            .with("descending", true)
            .with("reduce", false);
        let rows: Rows<Value> = self.activations.view(range.view, asked).await?;
        Ok(rows.rows.into_iter().filter_map(|row| Some((row.id, row.value?))).collect())
    }
}

/// A part of one of the views.
struct Range {
    view: &'static str,
    first: Value,
    last: Value,
}

impl Range {
    /// `None` where nothing is in it.
    fn of(query: &ActivationQuery) -> Option<Self> {
        let (view, key) = match &query.name {
            None => (designs::ACTIVATIONS, query.namespace.to_string()),
            Some(name) if name.path.namespace != query.namespace => return None,
            Some(name) => (designs::ACTIVATIONS_BY_NAME, name.to_string()),
        };
        if matches!((query.since, query.upto), (Some(since), Some(upto)) if since > upto) {
            return None;
        }
        // Keys come from JavaScript, which rounds what is beyond.
        const EXACT: Millis = 1 << 53;
        let first = query.since.map_or(json!([key]), |since| json!([key, since]));
        let upto = query.upto.filter(|upto| *upto < EXACT);
        let last = upto.map_or(json!([key, {}]), |upto| json!([key, upto]));
        Some(Self { view, first, last })
    }
}
