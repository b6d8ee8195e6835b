//! HTTP to one agent.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;

use crate::Config;

/// Longest that the agent may take for what does not wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read: some thousands of members.
const ANSWER_MAX: usize = 16 << 20;
/// Characters of a refusal that are told.
const TOLD: usize = 200;

/// Consul could not be asked, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It did not answer in time.
    #[error("Consul did not answer in time")]
    Late,
    /// No connection, or one that broke.
    #[error("Consul cannot be reached")]
    Away(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It refused.
    #[error("Consul answered {status}: {words}")]
    Refused {
        /// With this status.
        status: StatusCode,
        /// And the beginning of its words.
        words: String,
    },
    /// Its answer is not understood.
    #[error("Consul's answer is not understood")]
    Nonsense(#[source] Box<dyn std::error::Error + Send + Sync>),
}

pub(crate) struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    base: String,
    token: Option<HeaderValue>,
}

pub(crate) struct Answer {
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Client {
    pub fn new(config: &Config) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(PATIENCE));
        let http = legacy::Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let token = config.token.clone().map(|mut token| {
            token.set_sensitive(true);
            token
        });
        Self { http, base: config.address.to_string(), token }
    }

    /// Asks; anything but a 2xx is an error.
    pub async fn ask(&self, method: Method, target: &str, body: Vec<u8>, patience: Duration) -> Result<Answer, Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{target}", self.base));
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header("x-consul-token", token);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| Error::Away(error.into()))?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| Error::Away(error.into()))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_MAX).collect().await.map_err(Error::Nonsense)?.to_bytes();
            if head.status.is_success() {
                return Ok(Answer { headers: head.headers, body });
            }
            let words = String::from_utf8_lossy(&body).chars().take(TOLD).collect();
            Err(Error::Refused { status: head.status, words })
        };
        timeout(patience, exchange).await.unwrap_or(Err(Error::Late))
    }
}
