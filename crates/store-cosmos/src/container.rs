//! One container: its documents, in Cosmos DB's own words.
//!
//! The partition key is `/id`, as OpenWhisk has it, so every document is a
//! partition of its own and every query one across partitions. The service
//! refuses to merge those; `query.rs` does.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use whisker_documents::corrupt;
use whisker_store::Error;

use crate::{
    OpenError,
    client::{Answer, Ask, Client},
    error::Failure,
};

/// A container of a database.
pub(crate) struct Container {
    client: Arc<Client>,
    /// `dbs/NAME/colls/NAME`.
    link: String,
    /// Ids of its ranges of partition keys, where they are known.
    ranges: Mutex<Option<Arc<[String]>>>,
    session: Session,
}

/// A document as it was read.
pub(crate) struct Found {
    pub text: Bytes,
    pub etag: String,
    /// Whether it only says that it was deleted, as OpenWhisk's soft deletes.
    pub deleted: bool,
}

/// The members that Cosmos DB adds, and OpenWhisk's mark of a deletion.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "_etag")]
    etag: String,
    #[serde(rename = "_deleted", default)]
    deleted: bool,
}

impl Container {
    pub fn new(client: Arc<Client>, database: &str, name: &str) -> Self {
        let link = format!("dbs/{database}/colls/{name}");
        Self { client, link, ranges: Mutex::new(None), session: Session::default() }
    }

    /// Asks, and reads what this process wrote itself: an account's usual
    /// consistency promises that to whoever shows the tokens that it gave.
    async fn ask(&self, mut ask: Ask) -> Result<Answer, Failure> {
        if let Some(tokens) = self.session.tokens() {
            ask = ask.header("x-ms-session-token", tokens);
        }
        let answer = self.client.ask(&ask).await?;
        if let Some(token) = answer.header("x-ms-session-token") {
            self.session.note(token);
        }
        Ok(answer)
    }

    fn document(&self, method: Method, id: &str) -> Ask {
        Ask::one(method, "docs", format!("{}/docs/{id}", self.link)).header(PARTITION, partition(id))
    }

    /// A document by its id, as Cosmos DB knows it; `None` where it is not.
    pub async fn get(&self, id: &str) -> Result<Option<Found>, Failure> {
        let answer = self.ask(self.document(Method::GET, id)).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let text = answer.good()?.body;
        let Head { etag, deleted } = serde_json::from_slice(&text).map_err(Failure::Nonsense)?;
        Ok(Some(Found { text, etag, deleted }))
    }

    /// Writes a document that is not there yet; its ETag. A conflict if it is.
    pub async fn create(&self, id: &str, document: impl Into<Bytes>) -> Result<String, Failure> {
        let ask = Ask::list(Method::POST, "docs", self.link.clone()).header(PARTITION, partition(id));
        self.written(ask.body(document)).await
    }

    /// Replaces a document that is in this state; its new ETag.
    pub async fn replace(&self, id: &str, etag: &str, document: impl Into<Bytes>) -> Result<String, Failure> {
        let ask = self.document(Method::PUT, id).header("if-match", etag);
        self.written(ask.body(document)).await
    }

    async fn written(&self, ask: Ask) -> Result<String, Failure> {
        Ok(self.ask(ask).await?.read::<Head>()?.etag)
    }

    /// Deletes a document, whatever its state; whether it was there.
    pub async fn delete(&self, id: &str) -> Result<bool, Failure> {
        let answer = self.ask(self.document(Method::DELETE, id)).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        answer.good().map(|_| true)
    }

    /// Writes a document in the place of nothing, or of what was deleted; its
    /// ETag.
    pub async fn put_new(&self, id: &str, document: String) -> Result<String, Failure> {
        let conflict = match self.create(id, document.clone()).await {
            Err(failure) if failure.status() == Some(StatusCode::CONFLICT) => failure,
            other => return other,
        };
        match self.get(id).await? {
            Some(Found { etag, deleted: true, .. }) => match self.replace(id, &etag, document).await {
                // Its time was over, and it is gone at this moment.
                Err(failure) if failure.status() == Some(StatusCode::NOT_FOUND) => Err(conflict),
                other => other,
            },
            _ => Err(conflict),
        }
    }

    /// A page of a query's answer over one range, and where it goes on.
    pub async fn page(
        &self,
        range: &str,
        body: Bytes,
        items: u64,
        continuation: Option<&str>,
    ) -> Result<(Bytes, Option<String>), Failure> {
        let mut ask = Ask::list(Method::POST, "docs", self.link.clone())
            .header("content-type", "application/query+json")
            .header("x-ms-documentdb-isquery", "True")
            .header("x-ms-documentdb-query-enablecrosspartition", "True")
            .header("x-ms-documentdb-partitionkeyrangeid", range)
            .header("x-ms-max-item-count", items.to_string())
            .body(body);
        if let Some(continuation) = continuation {
            ask = ask.header("x-ms-continuation", continuation);
        }
        let answer = self.ask(ask).await?.good()?;
        let next = answer.header("x-ms-continuation").filter(|next| !next.is_empty()).map(str::to_owned);
        Ok((answer.body, next))
    }

    /// What was written in one range behind `since`, and where to go on; with
    /// none, from now on.
    pub async fn changed(&self, range: &str, since: Option<&str>) -> Result<(Vec<String>, Option<String>), Failure> {
        #[derive(Deserialize)]
        struct Changed {
            #[serde(rename = "Documents", default)]
            documents: Vec<Id>,
        }
        #[derive(Deserialize)]
        struct Id {
            id: String,
        }
        let ask = Ask::list(Method::GET, "docs", self.link.clone())
            .header("a-im", "Incremental feed")
            .header("if-none-match", since.unwrap_or("*"))
            .header("x-ms-documentdb-partitionkeyrangeid", range)
            .header("x-ms-max-item-count", "1000");
        let answer = self.ask(ask).await?;
        let next = answer.header("etag").map(str::to_owned);
        if answer.status == StatusCode::NOT_MODIFIED {
            return Ok((Vec::new(), next));
        }
        let changed: Changed = answer.read()?;
        Ok((changed.documents.into_iter().map(|document| unescaped(&document.id)).collect(), next))
    }

    /// Ids of the ranges of partition keys; they change when one is split.
    pub async fn ranges(&self) -> Result<Arc<[String]>, Failure> {
        #[derive(Deserialize)]
        struct Ranges {
            #[serde(rename = "PartitionKeyRanges")]
            ranges: Vec<Range>,
        }
        #[derive(Deserialize)]
        struct Range {
            #[serde(deserialize_with = "text")]
            id: String,
            #[serde(default)]
            parents: Option<Vec<String>>,
        }
        // Relatives of Cosmos DB's give numbers.
        fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
            Ok(match Value::deserialize(deserializer)? {
                Value::String(text) => text,
                other => other.to_string(),
            })
        }
        if let Some(ranges) = self.ranges.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(ranges);
        }
        let read: Ranges = self.ask(Ask::list(Method::GET, "pkranges", self.link.clone())).await?.read()?;
        // While a split goes on, a range is listed with those that follow it.
        let parents: Vec<_> = read.ranges.iter().filter_map(|range| range.parents.clone()).flatten().collect();
        let ranges = read.ranges.into_iter().map(|range| range.id).filter(|id| !parents.contains(id));
        let ranges: Arc<[String]> = ranges.collect();
        *self.ranges.lock().unwrap_or_else(PoisonError::into_inner) = Some(ranges.clone());
        Ok(ranges)
    }

    /// Has them read again.
    pub fn forget_ranges(&self) {
        *self.ranges.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Makes the container, indexed at these paths, if it is not there. What is
    /// there stays as it is.
    pub async fn ensure(&self, paths: &[&str]) -> Result<(), OpenError> {
        #[derive(Deserialize)]
        struct There {
            #[serde(rename = "partitionKey")]
            partition_key: Option<PartitionKey>,
        }
        #[derive(Deserialize)]
        struct PartitionKey {
            paths: Vec<String>,
        }
        let failed = |source| OpenError::Missing { name: self.link.clone(), source };
        let there = self.client.ask(&Ask::one(Method::GET, "colls", self.link.clone())).await.map_err(failed)?;
        if there.status != StatusCode::NOT_FOUND {
            let there: There = there.read().map_err(failed)?;
            let same = there.partition_key.is_none_or(|key| key.paths == ["/id"]);
            return if same { Ok(()) } else { Err(OpenError::PartitionKey(self.link.clone())) };
        }
        let (database, name) = self.link.split_once("/colls/").expect("links are made so");
        let indexed: Vec<_> = paths.iter().map(|path| json!({"path": path})).collect();
        let container = json!({
            "id": name,
            // The second version takes partition keys of more than 101 bytes.
            "partitionKey": {"paths": ["/id"], "kind": "Hash", "version": 2},
            "indexingPolicy": {
                "indexingMode": "consistent",
                "automatic": true,
                "includedPaths": indexed,
                "excludedPaths": [{"path": "/*"}],
            },
            // Documents may say when they end, and those that do not never do.
            "defaultTtl": -1,
        });
        let ask = Ask::list(Method::POST, "colls", database.to_owned()).body(container.to_string());
        made(&self.client, &ask).await.map_err(failed)
    }
}

/// Makes a database if it is not there.
pub(crate) async fn ensure_database(client: &Client, name: &str) -> Result<(), OpenError> {
    let link = format!("dbs/{name}");
    let failed = |source| OpenError::Missing { name: link.clone(), source };
    let there = client.ask(&Ask::one(Method::GET, "dbs", link.clone())).await.map_err(failed)?;
    if there.status != StatusCode::NOT_FOUND {
        return there.good().map(|_| ()).map_err(failed);
    }
    let ask = Ask::list(Method::POST, "dbs", String::new()).body(json!({"id": name}).to_string());
    made(client, &ask).await.map_err(failed)
}

/// Another server may have been quicker.
async fn made(client: &Client, ask: &Ask) -> Result<(), Failure> {
    let made = client.ask(ask).await?;
    if made.status == StatusCode::CONFLICT { Ok(()) } else { made.good().map(|_| ()) }
}

const PARTITION: &str = "x-ms-documentdb-partitionkey";

/// The partition of a document, as a header can say it: JSON in ASCII.
fn partition(id: &str) -> String {
    let mut text = String::new();
    for c in json!([id]).to_string().chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            let mut units = [0; 2];
            text.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    text
}

#[derive(Debug, thiserror::Error)]
#[error("Cosmos DB takes no id of more than 1023 bytes, nor one with any of / \\ ? # |")]
struct Reserved;

/// An id as Cosmos DB takes it: OpenWhisk writes `|` for each slash.
pub(crate) fn escaped(id: &str) -> Result<String, Error> {
    let good = !id.contains(['|', '\\', '?', '#']) && id.len() <= 1_023;
    if good { Ok(id.replace('/', "|")) } else { Err(corrupt(id, Reserved)) }
}

/// The id as everybody else knows it.
pub(crate) fn unescaped(id: &str) -> String {
    id.replace('|', "/")
}

/// A document as OpenWhisk's code sees it: with its name and revision, and
/// without the members that are Cosmos DB's, or made for its queries.
pub(crate) fn seen(document: Map<String, Value>, with_revision: bool) -> Map<String, Value> {
    let mut seen = Map::new();
    let mut revision = None;
    for (name, value) in document {
        match name.as_str() {
            "id" => {
                seen.insert("_id".into(), json!(unescaped(value.as_str().unwrap_or_default())));
            }
            "_etag" => revision = Some(value),
            // OpenWhisk gives it to what it deletes, and takes it from the rest.
            "ttl" => {}
            name if name.starts_with('_') => {}
            _ => {
                seen.insert(name, value);
            }
        }
    }
    if let (true, Some(revision)) = (with_revision, revision) {
        seen.insert("_rev".into(), revision);
    }
    seen
}

/// Tokens of what was written and read here, by range.
#[derive(Default)]
struct Session(Mutex<BTreeMap<String, String>>);

impl Session {
    /// All of them, as a request shows them.
    fn tokens(&self) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = known.iter().map(|(range, token)| format!("{range}:{token}"));
        Some(tokens.collect::<Vec<_>>().join(",")).filter(|tokens| !tokens.is_empty())
    }

    /// Notes those of an answer: `RANGE:TOKEN`, with commas between. Answers
    /// overtake each other, so of two the later one by its own numbers stays.
    fn note(&self, tokens: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (range, token) in tokens.split(',').filter_map(|one| one.split_once(':')) {
            if known.get(range).is_none_or(|old| numbers(old) < numbers(token)) {
                known.insert(range.to_owned(), token.to_owned());
            }
        }
    }
}

/// A token's version and number: `VERSION#NUMBER[#REGION=…]`, once the number alone.
fn numbers(token: &str) -> (i64, u64) {
    let mut parts = token.split('#').map(str::parse::<i64>);
    match (parts.next(), parts.next()) {
        (Some(Ok(version)), Some(Ok(number))) => (version, number.unsigned_abs()),
        (Some(Ok(number)), _) => (0, number.unsigned_abs()),
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn ids_are_escaped_as_by_openwhisk() {
        assert_eq!(escaped("ns/pkg/a b").unwrap(), "ns|pkg|a b");
        assert_eq!(unescaped("ns|pkg|a b"), "ns/pkg/a b");
        assert!(matches!(escaped("a|b"), Err(Error::Corrupt(..))));
        assert!(escaped("what?").is_err());
        assert_eq!(partition("ünï\u{1F980}\""), r#"["\u00fcn\u00ef\ud83e\udd80\""]"#);
    }

    #[test]
    fn of_session_tokens_the_latest_stays() {
        let session = Session::default();
        assert_eq!(session.tokens(), None);
        session.note("0:-1#12,1:-1#9");
        session.note("0:-1#11#3=7");
        session.note("1:-1#10");
        assert_eq!(session.tokens().unwrap(), "0:-1#12,1:-1#10");
        session.note("0:1#2");
        assert_eq!(session.tokens().unwrap(), "0:1#2,1:-1#10", "another version after a failover");
    }
}
