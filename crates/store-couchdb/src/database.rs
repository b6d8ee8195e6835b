//! One database: its documents, its views, in CouchDB's own words.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    OpenError,
    client::{ANSWER_MAX, Ask, Client},
    designs::Design,
    error::Failure,
};

/// What stands for itself in a path or a query.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text, as part of a path or of a query.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// A database of a CouchDB.
#[derive(Clone)]
pub(crate) struct Database {
    client: Arc<Client>,
    name: String,
}

/// What a write of one document answered.
#[derive(Deserialize)]
struct Written {
    rev: String,
}

/// What became of one document of many.
#[derive(Deserialize)]
pub(crate) struct Outcome {
    /// Absent where it was written.
    pub error: Option<String>,
    #[serde(default)]
    pub reason: Option<String>,
}

/// A part of a view, or of all documents.
#[derive(Default)]
pub(crate) struct Query {
    parameters: Vec<(&'static str, String)>,
}

impl Query {
    pub fn with(mut self, name: &'static str, value: impl Serialize) -> Self {
        let value = serde_json::to_string(&value).expect("keys and numbers are JSON");
        self.parameters.push((name, value));
        self
    }

    fn text(&self) -> String {
        let pairs = self.parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        pairs.collect::<Vec<_>>().join("&")
    }
}

/// What a view or a list of documents answers.
#[derive(Deserialize)]
#[serde(bound(deserialize = "V: Deserialize<'de>, D: Deserialize<'de>"))]
pub(crate) struct Rows<V, D = Value> {
    pub rows: Vec<Row<V, D>>,
    /// Of the whole view.
    #[serde(default)]
    pub total_rows: u64,
}

/// One of its rows.
#[derive(Deserialize)]
#[serde(bound(deserialize = "V: Deserialize<'de>, D: Deserialize<'de>"))]
pub(crate) struct Row<V, D = Value> {
    /// Of the document; absent in sums.
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub key: Value,
    pub value: Option<V>,
    #[serde(default)]
    pub doc: Option<D>,
}

impl Database {
    pub fn new(client: Arc<Client>, name: &str) -> Self {
        Self { client, name: encoded(name) }
    }

    fn target(&self, id: &str) -> String {
        format!("/{}/{}", self.name, encoded(id))
    }

    /// A document's text; `None` where it is not.
    pub async fn get(&self, id: &str) -> Result<Option<Bytes>, Failure> {
        self.fetch(self.target(id)).await
    }

    /// An attachment's bytes; `None` where it is not.
    pub async fn attachment(&self, id: &str, name: &str) -> Result<Option<Bytes>, Failure> {
        self.fetch(format!("{}/{}", self.target(id), encoded(name))).await
    }

    async fn fetch(&self, target: String) -> Result<Option<Bytes>, Failure> {
        let answer = self.client.ask(Ask::new(Method::GET, target)).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(answer.good()?.body))
    }

    /// Whether there is a document.
    pub async fn has(&self, id: &str) -> Result<bool, Failure> {
        let answer = self.client.ask(Ask::new(Method::HEAD, self.target(id))).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        answer.good().map(|_| true)
    }

    /// Writes a document, which names the revision that it replaces; its new one.
    pub async fn put(&self, id: &str, document: impl Into<Bytes>) -> Result<String, Failure> {
        let ask = Ask::new(Method::PUT, self.target(id)).with(document);
        Ok(self.client.ask(ask).await?.read::<Written>()?.rev)
    }

    /// Deletes a document.
    pub async fn delete(&self, id: &str, revision: &str) -> Result<(), Failure> {
        // In the query, since a proxy or a relative of CouchDB's may not look
        // at If-Match.
        let target = format!("{}?rev={}", self.target(id), encoded(revision));
        self.client.ask(Ask::new(Method::DELETE, target)).await?.good().map(|_| ())
    }

    /// Writes many documents, each by itself; what became of each. Asked twice, the
    /// second time has conflicts, which to whoever writes in bulk is no failure.
    pub async fn bulk(&self, documents: impl Into<Bytes>) -> Result<Vec<Outcome>, Failure> {
        let ask = Ask::new(Method::POST, format!("/{}/_bulk_docs", self.name)).repeatable().with(documents);
        self.client.ask(ask).await?.read()
    }

    /// Rows of a view, named `design/view`.
    pub async fn view<V: DeserializeOwned, D: DeserializeOwned>(
        &self,
        view: &str,
        query: Query,
    ) -> Result<Rows<V, D>, Failure> {
        let (design, view) = view.split_once('/').expect("views are named so");
        let target = format!("/{}/_design/{}/_view/{}?{}", self.name, encoded(design), encoded(view), query.text());
        self.client.ask(Ask::new(Method::GET, target)).await?.read()
    }

    /// Documents by their ids, in the order asked.
    pub async fn documents<V: DeserializeOwned, D: DeserializeOwned>(
        &self,
        ids: &[String],
        whole: bool,
        answer_max: u64,
    ) -> Result<Rows<V, D>, Failure> {
        let target = format!("/{}/_all_docs?include_docs={whole}", self.name);
        let keys = serde_json::to_vec(&serde_json::json!({"keys": ids})).map_err(Failure::Nonsense)?;
        let ask = Ask { answer_max, ..Ask::new(Method::POST, target).with(keys) };
        self.client.ask(ask).await?.read()
    }

    /// Documents in the order of their ids, from this id on.
    pub async fn from<D: DeserializeOwned>(&self, id: Option<&str>, limit: u64) -> Result<Rows<Value, D>, Failure> {
        let query = Query::default().with("include_docs", true).with("limit", limit);
        let query = id.map_or(Query { parameters: vec![] }, |id| Query::default().with("startkey", id)).and(query);
        let target = format!("/{}/_all_docs?{}", self.name, query.text());
        let ask = Ask { answer_max: ANSWER_MAX, ..Ask::new(Method::GET, target) };
        self.client.ask(ask).await?.read()
    }

    /// The feed of its changes from now on, a line each.
    pub async fn changes(&self, heartbeat_ms: u64) -> Result<hyper::body::Incoming, Failure> {
        let target = format!("/{}/_changes?feed=continuous&since=now&heartbeat={heartbeat_ms}", self.name);
        self.client.listen(&target).await
    }

    /// Makes what is missing of the database and its design documents; the
    /// database itself only where that `makes` it. What is there stays as it is.
    pub async fn ensure(&self, designs: &[Design], makes: bool) -> Result<(), OpenError> {
        let base = || format!("/{}", self.name);
        let failed = |source| OpenError::Database { name: self.name.clone(), source };
        let there = self.client.ask(Ask::new(Method::GET, base())).await.map_err(failed)?;
        if there.status == StatusCode::NOT_FOUND {
            if !makes {
                return Err(OpenError::Missing(self.name.clone()));
            }
            let unmade = |source| OpenError::Unmade { name: self.name.clone(), source };
            let made = self.client.ask(Ask::new(Method::PUT, base())).await.map_err(unmade)?;
            // Another server may have been quicker.
            if made.status != StatusCode::PRECONDITION_FAILED {
                made.good().map_err(unmade)?;
            }
        } else {
            there.good().map_err(failed)?;
        }
        for design in designs {
            let target = format!("/{}/_design/{}", self.name, encoded(design.name));
            let there = self.client.ask(Ask::new(Method::GET, target.clone())).await.map_err(failed)?;
            if there.status != StatusCode::NOT_FOUND {
                there.good().map_err(failed)?;
                continue;
            }
            let made = self.client.ask(Ask::new(Method::PUT, target).with(design.document().to_string())).await;
            let made = made.map_err(failed)?;
            if made.status != StatusCode::CONFLICT {
                made.good().map_err(failed)?;
                tracing::info!(database = self.name, design = design.name, "a design document was made");
            }
        }
        Ok(())
    }
}

impl Query {
    fn and(mut self, other: Query) -> Self {
        self.parameters.extend(other.parameters);
        self
    }
}
