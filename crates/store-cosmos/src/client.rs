//! HTTP to one Cosmos DB account: signed requests, and patience where the
//! account asks for it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, de::DeserializeOwned};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};
use whisker_remote::{Asked, Remote, Trouble};

use crate::{
    Config, OpenError,
    error::Failure,
    signature::{self, Key},
};

/// What it is called in what people read.
const SERVER: &str = "Cosmos DB";
/// The version of the API that is spoken.
const VERSION: &str = "2018-12-31";
/// Longest that one request may take while the account answers others.
const LONGEST: Duration = Duration::from_secs(60);
/// How often, and how long in all, a request comes back that was asked to:
/// OpenWhisk's own figures.
const RETRIES: usize = 9;
const RETRY_LONGEST: Duration = Duration::from_secs(30);
/// How long it waits where it is not said.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of an answer that are read: a page has 4 MB, a document 2 MB, but for
/// relatives of Cosmos DB's which set no bounds.
const ANSWER_MAX: u64 = 128 << 20;

/// What stands for itself in a path.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An account that can be asked.
pub(crate) struct Client {
    remote: Remote,
    base: String,
    key: Key,
}

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    method: Method,
    /// `dbs`, `colls`, `docs`, `pkranges`.
    kind: &'static str,
    /// The resource, or whose list of resources, as it is signed:
    /// `dbs/NAME/colls/NAME/docs/ID`.
    link: String,
    /// Whether it is about a list.
    list: bool,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Ask {
    /// About one resource.
    pub fn one(method: Method, kind: &'static str, link: String) -> Self {
        Self { method, kind, link, list: false, headers: Vec::new(), body: Bytes::new() }
    }

    /// About the list of resources that another one has.
    pub fn list(method: Method, kind: &'static str, link: String) -> Self {
        Self { list: true, ..Self::one(method, kind, link) }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// Whether asking twice is the same as asking once.
    fn is_safe(&self) -> bool {
        self.method.is_safe() || self.headers.iter().any(|(name, _)| *name == "x-ms-documentdb-isquery")
    }

    fn path(&self) -> String {
        let parts = self.link.split('/').filter(|part| !part.is_empty()).chain(self.list.then_some(self.kind));
        parts.map(|part| format!("/{}", utf8_percent_encode(part, UNRESERVED))).collect()
    }
}

/// What it answered.
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The answer, if it is a good one.
    pub fn good(self) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        struct Told {
            code: Option<String>,
        }
        if self.status.is_success() {
            return Ok(self);
        }
        let code = serde_json::from_slice::<Told>(&self.body).ok().and_then(|told| told.code);
        Err(Failure::Status { status: self.status, code })
    }

    /// A good answer, read.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, Failure> {
        serde_json::from_slice(&self.good()?.body).map_err(Failure::Nonsense)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How long to wait before the same is asked again, if it should be.
    fn come_back_after(&self) -> Option<Duration> {
        let behind = self.status == StatusCode::NOT_FOUND && self.header("x-ms-substatus") == Some("1002");
        match self.status.as_u16() {
            // Throughput is used up, or two wrote at the same moment.
            429 | 449 => {}
            // A replica that has not seen what this process wrote.
            404 if behind => {}
            _ => return None,
        }
        let told = self.header("x-ms-retry-after-ms").and_then(|text| text.parse().ok());
        Some(told.map_or(RETRY_PAUSE, Duration::from_millis))
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
        Ok(Self { remote, base: config.base.clone(), key: config.key.clone() })
    }

    /// Asks, and reads the answer whatever its status; again where the account
    /// says to come back later, up to a bound.
    pub async fn ask(&self, ask: &Ask) -> Result<Answer, Failure> {
        let began = Instant::now();
        for _ in 0..=RETRIES {
            let answer = self.once(ask).await?;
            let Some(pause) = answer.come_back_after() else { return Ok(answer) };
            if began.elapsed() + pause > RETRY_LONGEST {
                break;
            }
            // Nobody's connection is held meanwhile.
            sleep(pause).await;
        }
        Err(Failure::Throttled)
    }

    async fn once(&self, ask: &Ask) -> Result<Answer, Failure> {
        let unaskable = |error| Trouble::Unaskable(SERVER, error);
        let asked = Asked {
            request: self.request(ask).map_err(unaskable)?,
            is_safe: ask.is_safe(),
            answer_max: ANSWER_MAX,
            probe: self.request(&Ask::one(Method::GET, "", String::new())).map_err(unaskable)?,
        };
        let (head, body) = self.remote.ask(&asked).await?.into_parts();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    fn request(&self, ask: &Ask) -> Result<Request<Full<Bytes>>, http::Error> {
        let path = ask.path();
        let date = signature::date(OffsetDateTime::now_utc());
        let mut authorization = HeaderValue::try_from(self.key.authorization(&ask.method, ask.kind, &ask.link, &date))?;
        authorization.set_sensitive(true);
        let mut request = Request::builder()
            .method(&ask.method)
            .uri(format!("{}{}", self.base, if path.is_empty() { "/" } else { &path }))
            .header(header::ACCEPT, "application/json")
            .header(header::AUTHORIZATION, authorization)
            .header("x-ms-date", date)
            .header("x-ms-version", VERSION);
        if !ask.body.is_empty() && !ask.headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        request.body(Full::new(ask.body.clone()))
    }
}
