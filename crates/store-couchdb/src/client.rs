//! HTTP to one CouchDB: what it is asked, as whom, and what it answered.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use serde::{Deserialize, de::DeserializeOwned};
use whisker_remote::{Asked, Remote, Trouble};

use crate::{Config, OpenError, error::Failure};

/// What it is called in what people read.
const SERVER: &str = "CouchDB";
/// Longest that one request may take while the server answers others: a view
/// may have to be computed.
const LONGEST: Duration = Duration::from_secs(120);
/// Bytes of an answer that are read, where the caller sets no other bound.
pub(crate) const ANSWER_MAX: u64 = 512 << 20;

/// A CouchDB that can be asked.
pub(crate) struct Client {
    remote: Remote,
    base: String,
    authorization: Option<HeaderValue>,
}

/// What is asked.
pub(crate) struct Ask {
    pub method: Method,
    /// Begins with a slash, percent-encoded, query included.
    pub target: String,
    /// JSON, if it is not empty.
    pub body: Bytes,
    /// Most bytes of an answer.
    pub answer_max: u64,
    /// Whether asking twice is the same as asking once.
    pub is_safe: bool,
}

impl Ask {
    pub fn new(method: Method, target: String) -> Self {
        let is_safe = method.is_safe();
        Self { method, target, body: Bytes::new(), answer_max: ANSWER_MAX, is_safe }
    }

    /// Asking twice is the same as asking once, whatever the method says.
    pub fn repeatable(self) -> Self {
        Self { is_safe: true, ..self }
    }

    pub fn with(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }
}

/// What it answered.
pub(crate) struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

impl Answer {
    /// The answer, if it is a good one.
    pub fn good(self) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        struct Told {
            error: String,
            reason: Option<String>,
        }
        if self.status.is_success() {
            return Ok(self);
        }
        let told = serde_json::from_slice::<Told>(&self.body).ok();
        let reason = told.map(|told| format!("{} ({})", told.error, told.reason.unwrap_or_default()));
        Err(Failure::Status { status: self.status, reason })
    }

    /// A good answer, read.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, Failure> {
        serde_json::from_slice(&self.good()?.body).map_err(Failure::Nonsense)
    }
}

impl Client {
    pub fn new(config: &Config) -> Result<Self, OpenError> {
        let remote = Remote::new(&whisker_remote::Config {
            server: SERVER,
            base: &config.base,
            ca: config.ca.as_deref(),
            patience: config.patience,
            longest: LONGEST,
            connections: config.connections,
        })?;
        let authorization = config.credentials.as_ref().map(|(user, password)| {
            let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
            let mut value = HeaderValue::try_from(text).expect("base64 is printable");
            value.set_sensitive(true);
            value
        });
        Ok(Self { remote, base: config.base.clone(), authorization })
    }

    /// Asks, and reads the answer whatever its status.
    pub async fn ask(&self, ask: Ask) -> Result<Answer, Failure> {
        let asked = Asked {
            is_safe: ask.is_safe,
            request: self.request(&ask.method, &ask.target, ask.body)?,
            answer_max: ask.answer_max,
            probe: self.request(&Method::GET, "/", Bytes::new())?,
        };
        let (head, body) = self.remote.ask(&asked).await?.into_parts();
        Ok(Answer { status: head.status, body })
    }

    /// Asks for an answer that does not end, such as a feed of changes.
    pub async fn listen(&self, target: &str) -> Result<hyper::body::Incoming, Failure> {
        let response = self.remote.listen(self.request(&Method::GET, target, Bytes::new())?).await?;
        match response.status() {
            StatusCode::OK => Ok(response.into_body()),
            status => Err(Failure::Status { status, reason: None }),
        }
    }

    fn request(&self, method: &Method, target: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Trouble> {
        let mut request = Request::builder().method(method).uri(format!("{}{target}", self.base));
        request = request.header(header::ACCEPT, "application/json, */*;q=0.1");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request.body(Full::new(body)).map_err(|error| Trouble::Unaskable(SERVER, error))
    }
}
