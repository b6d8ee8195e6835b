//! HTTP to one Cosmos DB account: signed requests over bounded connections, a
//! difference between slow and away, and patience where the account asks for it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, de::DeserializeOwned};
use time::OffsetDateTime;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use crate::{
    Config, OpenError,
    error::Failure,
    signature::{self, Key},
    tls,
};

/// The version of the API that is spoken.
const VERSION: &str = "2018-12-31";
/// Longest that one request may take while the account answers others.
const LONGEST: Duration = Duration::from_secs(60);
/// Longest wait for a connection; then the request is refused.
const QUEUE: Duration = Duration::from_secs(10);
/// How long nobody asks again after nothing answered: those who come meanwhile
/// are refused at once.
const REST: Duration = Duration::from_millis(250);
/// Idle connections are closed after this.
const IDLE: Duration = Duration::from_secs(30);
/// How often, and how long in all, a request comes back that was asked to:
/// OpenWhisk's own figures.
const RETRIES: usize = 9;
const RETRY_LONGEST: Duration = Duration::from_secs(30);
/// How long it waits where it is not said.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of an answer that are read: a page has 4 MB, a document 2 MB, but for
/// relatives of Cosmos DB's which set no bounds.
const ANSWER_MAX: usize = 128 << 20;

/// What stands for itself in a path.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An account that can be asked.
pub(crate) struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    key: Key,
    places: Semaphore,
    connections: usize,
    patience: Duration,
    /// When it is worth to ask again, after nothing answered.
    resting: Mutex<Option<Instant>>,
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
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(config.patience));
        let connector = tls::connector(connector, config)?;
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(config.connections)
            .build(connector);
        Ok(Self {
            http,
            base: config.base.clone(),
            key: config.key.clone(),
            places: Semaphore::new(config.connections),
            connections: config.connections,
            patience: config.patience,
            resting: Mutex::new(None),
        })
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
        self.rested()?;
        // Beyond so many a request waits, and is refused when that takes long.
        let place = timeout(QUEUE, self.places.acquire()).await;
        let _place = place.map_err(|_| Failure::Busy(self.connections))?.expect("it is never closed");
        self.rested()?;
        match self.patiently(ask).await {
            // A kept connection that was closed at this moment. What changes
            // nothing is asked once more; a write might be made twice.
            Err(Failure::Away(Some(error))) if ask.is_safe() && !is_connect(&*error) => self.patiently(ask).await,
            other => other,
        }
    }

    /// Refused while nobody asks.
    fn rested(&self) -> Result<(), Failure> {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        if resting.is_some_and(|until| Instant::now() < until) {
            return Err(Failure::Away(None));
        }
        *resting = None;
        Ok(())
    }

    fn away(&self, error: Option<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
        *self.resting.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + REST);
        Failure::Away(error)
    }

    async fn patiently(&self, ask: &Ask) -> Result<Answer, Failure> {
        let began = Instant::now();
        let mut answer = std::pin::pin!(self.exchange(ask));
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                () = sleep(self.patience * 3 / 4) => {}
            }
            let alive = tokio::select! {
                answer = &mut answer => return answer,
                alive = self.is_alive() => alive,
            };
            if !alive {
                return Err(self.away(None));
            }
            if began.elapsed() > LONGEST {
                return Err(Failure::Slow(LONGEST.as_secs()));
            }
        }
    }

    /// Whether it answers anything.
    async fn is_alive(&self) -> bool {
        let Ok(request) = self.request(&Ask::one(Method::GET, "", String::new())) else { return false };
        matches!(timeout(self.patience / 4, self.http.request(request)).await, Ok(Ok(_)))
    }

    async fn exchange(&self, ask: &Ask) -> Result<Answer, Failure> {
        let request = self.request(ask).map_err(|e| Failure::Away(Some(e.into())))?;
        let response = match self.http.request(request).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Err(self.away(Some(error.into()))),
            Err(error) => return Err(Failure::Away(Some(error.into()))),
        };
        let (parts, body) = response.into_parts();
        match Limited::new(body, ANSWER_MAX).collect().await {
            Ok(body) => Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() }),
            Err(error) if error.is::<LengthLimitError>() => Err(Failure::TooLarge(ANSWER_MAX as u64)),
            Err(error) => Err(Failure::Away(Some(error))),
        }
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

fn is_connect(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect)
}
