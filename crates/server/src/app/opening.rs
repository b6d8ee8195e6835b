//! What a process of a cluster still waits for, and what it says meanwhile.
//!
//! The store and Kafka may come up after the process, or go away. So its port
//! is open from the beginning, tells by name what is missing, and refuses all
//! else until everything was there once.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use whisker_controller::Controller;
use whisker_entity::TransactionId;
use whisker_invoker::Pressure;
use whisker_store::{Entities, Error};

use crate::listener::Answers;

/// Pauses between two tries, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long a proxy's request waits for a start to be over.
const HOLD: Duration = Duration::from_secs(8);

/// How long the store has to say that it is there.
const PROBE: Duration = Duration::from_secs(2);

/// What is answered from the beginning.
const PING: &str = "/ping";
const READY: &str = "/ready";
const METRICS: &str = "/metrics";

/// The header that names a request.
const REQUEST_ID: &str = "x-request-id";

/// What is missing, in the words that readiness shows.
pub struct Opening {
    missing: Mutex<Vec<&'static str>>,
    watched: OnceLock<Watched>,
    metrics: PrometheusHandle,
}

impl Opening {
    /// Nothing is there yet.
    pub fn new(metrics: PrometheusHandle) -> Arc<Self> {
        Arc::new(Self { missing: Mutex::new(vec!["the process is starting"]), watched: OnceLock::new(), metrics })
    }

    /// Tries until something is there. `missing` says what is not, while it is
    /// not. `None`: it was cancelled.
    pub async fn patiently<T>(
        &self,
        missing: &'static str,
        cancel: &CancellationToken,
        mut attempt: impl AsyncFnMut() -> anyhow::Result<T>,
    ) -> Option<T> {
        self.lacks(vec![missing]);
        let mut pause = FIRST_PAUSE;
        loop {
            let tried = tokio::select! {
                () = cancel.cancelled() => return None,
                tried = attempt() => tried,
            };
            match tried {
                Ok(there) => return Some(there),
                Err(error) => tracing::warn!("not ready, since {missing}: {error:#}"),
            }
            tokio::select! {
                () = cancel.cancelled() => return None,
                () = tokio::time::sleep(pause) => pause = (2 * pause).min(LONGEST_PAUSE),
            }
        }
    }

    /// What is missing from now on.
    pub fn lacks(&self, missing: Vec<&'static str>) {
        *self.missing.lock().unwrap_or_else(PoisonError::into_inner) = missing;
    }

    /// What may go away again, and is looked at when readiness is asked for.
    pub fn watch(&self, entities: Arc<dyn Entities>, pressure: Pressure) {
        // It is done once; a second one would change nothing.
        let _ = self.watched.set(Watched { entities, pressure });
    }

    async fn reply(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        if *method == Method::GET {
            match path {
                PING => return text(StatusCode::OK, "text/plain; charset=UTF-8", "pong".to_owned()),
                READY => return self.ready().await,
                METRICS => return text(StatusCode::OK, "text/plain; charset=UTF-8", self.metrics.render()),
                _ => {}
            }
        }
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        let transaction =
            given.and_then(TransactionId::from_client).unwrap_or_else(|| TransactionId::system("starting"));
        let body = json!({"error": whisker_api::messages::UNAVAILABLE, "code": transaction.as_str()});
        let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "application/json", body.to_string());
        if let Ok(id) = HeaderValue::from_str(transaction.as_str()) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }

    async fn ready(&self) -> Response<Full<Bytes>> {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(watched) = self.watched.get() {
            missing.extend(watched.lacking().await);
        }
        let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        text(status, "application/json", json!({"ready": missing.is_empty(), "missing": missing}).to_string())
    }
}

/// What a process needs all the time.
struct Watched {
    entities: Arc<dyn Entities>,
    pressure: Pressure,
}

impl Watched {
    async fn lacking(&self) -> Vec<&'static str> {
        let mut lacking = Vec::new();
        let nothing = "whisk.system/none".parse().map(|name| async move { self.entities.get(&name).await });
        if let Ok(asking) = nothing {
            match tokio::time::timeout(PROBE, asking).await {
                Ok(Ok(_) | Err(Error::Missing)) => {}
                Ok(Err(_)) | Err(_) => lacking.push("the store does not answer"),
            }
        }
        if self.pressure.is_high() {
            lacking.push("neither the disk nor the store takes records (is the disk full?)");
        }
        lacking
    }
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// An invoker says how it is, and nothing else.
impl Answers for Opening {
    async fn answer(&self, request: Request<Incoming>, _: IpAddr) -> Response<Full<Bytes>> {
        self.reply(request.method(), request.uri().path(), request.headers()).await
    }
}

/// Stands where the API will be.
pub struct Desk {
    opening: Arc<Opening>,
    /// Somebody sits here by now.
    seated: CancellationToken,
    controller: OnceLock<Arc<Controller>>,
}

impl Desk {
    /// With nobody at it yet.
    pub fn new(opening: Arc<Opening>) -> Arc<Self> {
        Arc::new(Self { opening, seated: CancellationToken::new(), controller: OnceLock::new() })
    }

    /// From now on this one answers.
    pub fn seat(&self, controller: Arc<Controller>) {
        // It is done once; a second one would change nothing.
        let _ = self.controller.set(controller);
        self.seated.cancel();
    }
}

impl Answers for Desk {
    async fn answer(&self, request: Request<Incoming>, client: IpAddr) -> Response<Full<Bytes>> {
        match self.controller.get() {
            Some(controller) => controller.handle(request, client).await,
            None => Answers::answer(&*self.opening, request, client).await,
        }
    }

    /// Until somebody sits here, requests are better answered elsewhere. But one
    /// that nobody may repeat would fail by that, and a start is quick as a rule.
    async fn takes(&self, path: &str) -> bool {
        matches!(path, PING | READY | METRICS)
            || self.controller.get().is_some()
            || tokio::time::timeout(HOLD, self.seated.cancelled()).await.is_ok()
    }
}
