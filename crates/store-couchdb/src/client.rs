//! HTTP to one CouchDB: bounded connections, and a difference between slow
//! and away.
//!
//! A view that has to be brought up to date may take a minute, and a server
//! that has died takes as long. So whoever waits asks, after a while, whether
//! anybody is there at all; without an answer the request is given up. Callers
//! hear of a dead server within the patience that is set, and slow work is
//! waited for all the same.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use crate::{Config, OpenError, error::Failure, tls};

/// Longest that one request may take while the server answers others.
const LONGEST: Duration = Duration::from_secs(120);
/// Longest wait for a connection; then the request is refused.
const QUEUE: Duration = Duration::from_secs(10);
/// How long nobody asks again after nothing answered: those who come meanwhile
/// are refused at once, and a dead server's callers do not queue up.
const REST: Duration = Duration::from_millis(250);
/// Idle connections are closed after this.
const IDLE: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read, where the caller sets no other bound.
pub(crate) const ANSWER_MAX: u64 = 512 << 20;

/// A CouchDB that can be asked.
pub(crate) struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    authorization: Option<HeaderValue>,
    places: Semaphore,
    connections: usize,
    patience: Duration,
    /// When it is worth to ask again, after nothing answered.
    resting: Mutex<Option<Instant>>,
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
}

impl Ask {
    pub fn new(method: Method, target: String) -> Self {
        Self { method, target, body: Bytes::new(), answer_max: ANSWER_MAX }
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
        let authorization = config.credentials.as_ref().map(|(user, password)| {
            let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
            let mut value = HeaderValue::try_from(text).expect("base64 is printable");
            value.set_sensitive(true);
            value
        });
        Ok(Self {
            http,
            base: config.base.clone(),
            authorization,
            places: Semaphore::new(config.connections),
            connections: config.connections,
            patience: config.patience,
            resting: Mutex::new(None),
        })
    }

    /// Asks, and reads the answer whatever its status.
    pub async fn ask(&self, ask: Ask) -> Result<Answer, Failure> {
        self.rested()?;
        // Beyond so many a request waits, and is refused when that takes long.
        let place = timeout(QUEUE, self.places.acquire()).await;
        let _place = place.map_err(|_| Failure::Busy(self.connections))?.expect("it is never closed");
        self.rested()?;
        match self.patiently(&ask).await {
            // A kept connection that the server closed at this moment. What
            // changes nothing is asked once more; a write might be made twice.
            Err(Failure::Away(Some(error))) if ask.method.is_safe() && !is_connect(&*error) => {
                self.patiently(&ask).await
            }
            other => other,
        }
    }

    /// Refused while nobody asks.
    fn rested(&self) -> Result<(), Failure> {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        match *resting {
            Some(until) if Instant::now() < until => Err(Failure::Away(None)),
            Some(_) => {
                *resting = None;
                Ok(())
            }
            None => Ok(()),
        }
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
        let Ok(request) = self.request(&Method::GET, "/", Bytes::new()) else { return false };
        matches!(timeout(self.patience / 4, self.http.request(request)).await, Ok(Ok(_)))
    }

    async fn exchange(&self, ask: &Ask) -> Result<Answer, Failure> {
        let request =
            self.request(&ask.method, &ask.target, ask.body.clone()).map_err(|e| Failure::Away(Some(e.into())))?;
        let response = match self.http.request(request).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Err(self.away(Some(error.into()))),
            Err(error) => return Err(Failure::Away(Some(error.into()))),
        };
        let status = response.status();
        let most = usize::try_from(ask.answer_max).unwrap_or(usize::MAX);
        match Limited::new(response.into_body(), most).collect().await {
            Ok(body) => Ok(Answer { status, body: body.to_bytes() }),
            Err(error) if error.is::<LengthLimitError>() => Err(Failure::TooLarge(ask.answer_max)),
            Err(error) => Err(Failure::Away(Some(error))),
        }
    }

    /// Asks for an answer that does not end, such as a feed of changes.
    pub async fn listen(&self, target: &str) -> Result<hyper::body::Incoming, Failure> {
        let request = self.request(&Method::GET, target, Bytes::new()).map_err(|e| Failure::Away(Some(e.into())))?;
        let response = timeout(self.patience, self.http.request(request)).await;
        let response = response.map_err(|_| Failure::Away(None))?.map_err(|e| Failure::Away(Some(e.into())))?;
        if response.status() == StatusCode::OK {
            return Ok(response.into_body());
        }
        Err(Failure::Status { status: response.status(), reason: None })
    }

    fn request(&self, method: &Method, target: &str, body: Bytes) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{target}", self.base));
        request = request.header(header::ACCEPT, "application/json, */*;q=0.1");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request.body(Full::new(body))
    }
}

fn is_connect(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect)
}
