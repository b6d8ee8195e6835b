//! One server, and the requests to it.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use crate::{TlsError, Trouble, tls};

/// How long a server may be silent, where nothing else is set: reads are to
/// fail within a second, on a busy machine too.
pub const PATIENCE: Duration = Duration::from_millis(700);
/// Longest wait for a connection; then the request is refused.
const QUEUE: Duration = Duration::from_secs(10);
/// How long nobody asks again after nothing answered: those who come meanwhile
/// are refused at once, and a dead server's callers do not queue up.
const REST: Duration = Duration::from_millis(250);
/// Idle connections are closed after this, before servers do it: some, those on
/// Node.js among them, after five seconds. A write that meets that moment fails.
const IDLE: Duration = Duration::from_secs(4);

/// Where a server is, and how it is used.
#[derive(Debug, Clone)]
pub struct Config<'a> {
    /// What people call it.
    pub server: &'static str,
    /// `https://host:port`, or `http`.
    pub base: &'a str,
    /// Certificates (PEM) to trust in the place of the system's.
    pub ca: Option<&'a Path>,
    /// How long it may be silent before it counts as away.
    pub patience: Duration,
    /// Longest that one request may take while the server answers others.
    pub longest: Duration,
    /// Requests at once; further ones wait.
    pub connections: usize,
}

/// A server that can be asked.
pub struct Remote {
    server: &'static str,
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    places: Semaphore,
    connections: usize,
    patience: Duration,
    longest: Duration,
    /// When it is worth to ask again, after nothing answered.
    resting: Mutex<Option<Instant>>,
}

/// What is asked.
pub struct Asked {
    /// The request, with the whole URI.
    pub request: Request<Full<Bytes>>,
    /// Whether asking twice is the same as asking once.
    pub is_safe: bool,
    /// Most bytes of an answer that are read.
    pub answer_max: u64,
    /// One that a server answers at once if it is there, with whatever status.
    pub probe: Request<Full<Bytes>>,
}

impl Remote {
    /// Connects to nothing yet.
    pub fn new(config: &Config<'_>) -> Result<Self, TlsError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(config.patience));
        let connector = tls::connector(connector, config.base, config.ca)?;
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(config.connections)
            .build(connector);
        Ok(Self {
            server: config.server,
            http,
            places: Semaphore::new(config.connections),
            connections: config.connections,
            patience: config.patience,
            longest: config.longest,
            resting: Mutex::new(None),
        })
    }

    /// Asks, and reads the answer whatever its status.
    pub async fn ask(&self, asked: &Asked) -> Result<Response<Bytes>, Trouble> {
        self.rested()?;
        // Beyond so many a request waits, and is refused when that takes long.
        let place = timeout(QUEUE, self.places.acquire()).await;
        let _place = place.map_err(|_| Trouble::Busy(self.server, self.connections))?.expect("it is never closed");
        self.rested()?;
        match self.patiently(asked).await {
            // A kept connection that the server closed at this moment. What
            // changes nothing is asked once more; a write might be made twice.
            Err(Trouble::Away(_, Some(error))) if asked.is_safe && !is_connect(&*error) => self.patiently(asked).await,
            other => other,
        }
    }

    /// Asks for an answer that does not end, such as a feed of changes. It
    /// takes none of the bounded connections.
    pub async fn listen(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Trouble> {
        let response = timeout(self.patience, self.http.request(request)).await;
        let response = response.map_err(|_| Trouble::Away(self.server, None))?;
        response.map_err(|error| Trouble::Away(self.server, Some(error.into())))
    }

    /// Refused while nobody asks.
    fn rested(&self) -> Result<(), Trouble> {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        if resting.is_some_and(|until| Instant::now() < until) {
            return Err(Trouble::Away(self.server, None));
        }
        *resting = None;
        Ok(())
    }

    fn away(&self, error: Option<legacy::Error>) -> Trouble {
        *self.resting.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + REST);
        Trouble::Away(self.server, error.map(Into::into))
    }

    async fn patiently(&self, asked: &Asked) -> Result<Response<Bytes>, Trouble> {
        let began = Instant::now();
        let mut answer = std::pin::pin!(self.exchange(asked));
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                () = sleep(self.patience * 3 / 4) => {}
            }
            let alive = tokio::select! {
                answer = &mut answer => return answer,
                alive = self.is_alive(&asked.probe) => alive,
            };
            if !alive {
                return Err(self.away(None));
            }
            if began.elapsed() > self.longest {
                return Err(Trouble::Slow(self.server, self.longest));
            }
        }
    }

    /// Whether it answers anything.
    async fn is_alive(&self, probe: &Request<Full<Bytes>>) -> bool {
        matches!(timeout(self.patience / 4, self.http.request(probe.clone())).await, Ok(Ok(_)))
    }

    async fn exchange(&self, asked: &Asked) -> Result<Response<Bytes>, Trouble> {
        let response = match self.http.request(asked.request.clone()).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Err(self.away(Some(error))),
            Err(error) => return Err(Trouble::Away(self.server, Some(error.into()))),
        };
        let (head, body) = response.into_parts();
        let most = usize::try_from(asked.answer_max).unwrap_or(usize::MAX);
        match Limited::new(body, most).collect().await {
            Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => Err(Trouble::TooLarge(self.server, asked.answer_max)),
            Err(error) => Err(Trouble::Away(self.server, Some(error))),
        }
    }
}

fn is_connect(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect)
}

/// A patience as URLs write it, `900ms` or `5s`: of 10 ms to 10 minutes.
pub fn patience(text: &str) -> Option<Duration> {
    let bounds = Duration::from_millis(10)..=Duration::from_secs(600);
    humantime::parse_duration(text).ok().filter(|duration| bounds.contains(duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_has_a_unit_and_bounds() {
        for (text, ms) in [("900ms", Some(900)), ("5s", Some(5_000)), ("10m", Some(600_000))] {
            assert_eq!(patience(text), ms.map(Duration::from_millis), "{text}");
        }
        for text in ["", "5", "s", "9ms", "601s", "soon", "99999999999999999999s"] {
            assert_eq!(patience(text), None, "{text}");
        }
    }
}
