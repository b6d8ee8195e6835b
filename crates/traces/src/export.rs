//! From the queue to a collector: OTLP over HTTP, in JSON.

use std::{str::FromStr, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header, uri::Scheme};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use metrics::{Counter, Unit, counter, describe_counter};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    span::{Ended, On, Tracer, Where},
    wire,
};

/// Spans that wait to be sent, or for a slow collector. One more is dropped,
/// and counted.
const QUEUED: usize = 10_000;
/// Spans of one request.
const BATCH: usize = 512;
/// How long spans are gathered before they are sent.
const GATHERING: Duration = Duration::from_secs(1);
/// Longest that a collector may take for one request.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of its answer that are read, so that the connection can be kept.
const ANSWER_MAX: usize = 64 << 10;

const DROPPED: &str = "traces_dropped_total";
const SENT: &str = "traces_sent_total";

/// Where spans go: `http://HOST:PORT`, to which `/v1/traces` is added, or the
/// whole path. Without TLS: a collector beside the process is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Uri);

/// A text is no such URL.
#[derive(Debug, thiserror::Error)]
#[error("an endpoint is http://HOST:PORT[/PATH], a collector near by")]
pub struct InvalidEndpoint;

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|_| InvalidEndpoint)?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else { return Err(InvalidEndpoint) };
        if *scheme != Scheme::HTTP || uri.query().is_some() || authority.as_str().contains('@') {
            return Err(InvalidEndpoint);
        }
        let path = if matches!(uri.path(), "" | "/") { "/v1/traces" } else { uri.path() };
        let whole = Uri::builder().scheme(Scheme::HTTP).authority(authority.clone()).path_and_query(path);
        whole.build().map(Endpoint).map_err(|_| InvalidEndpoint)
    }
}

/// Sends what a [`Tracer`] makes.
pub struct Exporter {
    endpoint: Endpoint,
    instance: String,
    version: &'static str,
    queue: mpsc::Receiver<Ended>,
    http: Client<HttpConnector, Full<Bytes>>,
    sent: Counter,
    dropped: Counter,
}

/// What became of a batch.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("it did not answer in {} s", PATIENCE.as_secs())]
    Late,
    #[error("it cannot be reached")]
    Away(#[source] hyper_util::client::legacy::Error),
    #[error("it answered {0}")]
    Refused(StatusCode),
    #[error("no request can be made")]
    Request(#[source] http::Error),
}

impl Exporter {
    /// A tracer that is on, and what sends its spans in the name of `instance`.
    pub fn new(endpoint: Endpoint, instance: String, version: &'static str, at: Where) -> (Tracer, Exporter) {
        describe_counter!(SENT, Unit::Count, "Spans that a collector took");
        describe_counter!(DROPPED, Unit::Count, "Spans that found no room, or no collector");
        let (sender, queue) = mpsc::channel(QUEUED);
        let tracer = Tracer::on(On { at, queue: sender, dropped: counter!(DROPPED) });
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(PATIENCE));
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(1)
            .build(connector);
        let (sent, dropped) = (counter!(SENT), counter!(DROPPED));
        (tracer, Exporter { endpoint, instance, version, queue, http, sent, dropped })
    }

    /// Sends until cancelled, then once more what there is. A batch that a
    /// collector does not take is dropped: spans are worth no memory.
    pub async fn run(mut self, cancel: CancellationToken) {
        // Whether the last one failed: an outage is one line in the log.
        let mut failing = false;
        let mut batch = Vec::new();
        loop {
            let ending = tokio::select! {
                biased;
                () = cancel.cancelled() => true,
                got = self.queue.recv_many(&mut batch, BATCH) => got == 0,
            };
            let deadline = tokio::time::Instant::now() + GATHERING;
            while !ending && batch.len() < BATCH {
                let room = BATCH - batch.len();
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => break,
                    () = tokio::time::sleep_until(deadline) => break,
                    got = self.queue.recv_many(&mut batch, room) => if got == 0 { break },
                }
            }
            while ending && batch.len() < QUEUED {
                let Ok(ended) = self.queue.try_recv() else { break };
                batch.push(ended);
            }
            for part in batch.chunks(BATCH) {
                match self.send(part).await {
                    Ok(()) => {
                        failing = false;
                        self.sent.increment(part.len() as u64);
                    }
                    Err(error) => {
                        self.dropped.increment(part.len() as u64);
                        if !std::mem::replace(&mut failing, true) {
                            let error = &error as &dyn std::error::Error;
                            tracing::warn!(error, "The collector takes no traces");
                        }
                        // What is left at the end would meet the same.
                        if ending {
                            return;
                        }
                    }
                }
            }
            batch.clear();
            if ending {
                return;
            }
        }
    }

    async fn send(&self, spans: &[Ended]) -> Result<(), Failure> {
        let body = wire::request(&self.instance, self.version, spans);
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.endpoint.0.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(Failure::Request)?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(Failure::Away)?;
            let status = response.status();
            // Only so that the connection can be used again.
            let _ = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
            if status.is_success() { Ok(()) } else { Err(Failure::Refused(status)) }
        };
        timeout(PATIENCE, exchange).await.unwrap_or(Err(Failure::Late))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_urls_of_collectors() {
        for (text, whole) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("http://collector/otlp/traces", "http://collector/otlp/traces"),
        ] {
            assert_eq!(text.parse::<Endpoint>().expect("good").0.to_string(), whole);
        }
        for text in ["", "collector:4318", "https://collector:4318", "http://", "http://a/?key=1", "http://u:p@a"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
