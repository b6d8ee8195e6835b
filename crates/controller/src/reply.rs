//! Answers.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use whisker_entity::{ActivationId, TransactionId};

/// Which headers of cross-origin sharing an answer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cors {
    /// None.
    Bare,
    /// Those of the REST API.
    Rest,
    /// Those of the paths outside it.
    Top,
}

/// The header that names an answer's activation.
pub const ACTIVATION_ID: HeaderName = HeaderName::from_static("x-openwhisk-activation-id");
/// The header that names a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers that pages of other origins may send, unless more is known.
pub const ALLOWED_HEADERS: &str = "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent";

/// An answer, but for what every answer gets.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    cors: Cors,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Bytes(Bytes),
    /// The status in words.
    Words,
    /// Becomes `{"error", "code"}` once the transaction id is known.
    Error(String),
}

impl Reply {
    /// JSON, compact.
    pub fn json(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::json_text(status, body),
            // Only maps with keys that are no text fail; none of ours is one.
            Err(_) => Self::error(StatusCode::INTERNAL_SERVER_ERROR, whisker_api::messages::INTERNAL),
        }
    }

    /// JSON that is text already.
    pub fn json_text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, cors: Cors::Rest, headers: Vec::new(), body: Body::Bytes(body.into()) }
            .header(header::CONTENT_TYPE, "application/json")
    }

    /// Plain text.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, cors: Cors::Rest, headers: Vec::new(), body: Body::Bytes(body.into()) }
            .header(header::CONTENT_TYPE, "text/plain; charset=UTF-8")
    }

    /// Bytes of a type that is still to be said.
    pub fn bytes(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, cors: Cors::Rest, headers: Vec::new(), body: Body::Bytes(body.into()) }
    }

    /// A status and its own words (`OK`), sent whatever the client accepts:
    /// OpenWhisk's HTTP server does not negotiate those, and clients that ask
    /// for JSON throughout rely on it.
    pub fn words(status: StatusCode) -> Self {
        Self { status, cors: Cors::Rest, headers: Vec::new(), body: Body::Words }
            .header(header::CONTENT_TYPE, "text/plain; charset=UTF-8")
    }

    /// Nothing but a status.
    pub fn empty(status: StatusCode) -> Self {
        Self { status, cors: Cors::Rest, headers: Vec::new(), body: Body::Bytes(Bytes::new()) }
    }

    /// `{"error": text, "code": transaction id}`.
    pub fn error(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, cors: Cors::Rest, headers: Vec::new(), body: Body::Error(text.into()) }
            .header(header::CONTENT_TYPE, "application/json")
    }

    /// Sets how other origins may read it.
    pub fn cors(mut self, cors: Cors) -> Self {
        self.cors = cors;
        self
    }

    /// Adds a header. One that is there already is repeated.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Whether there is such a header.
    pub fn has(&self, name: &HeaderName) -> bool {
        self.headers.iter().any(|(n, _)| n == name)
    }

    /// Adds a header of our own text.
    pub fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// Names the activation that the answer is about.
    pub fn activation(mut self, id: ActivationId) -> Self {
        if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
            self.headers.push((ACTIVATION_ID, value));
        }
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether it depends on what the client accepts.
    pub fn is_negotiable(&self) -> bool {
        self.status.is_success() && !matches!(self.body, Body::Words)
    }

    /// The type of the body.
    pub fn content_type(&self) -> Option<&str> {
        self.headers.iter().find(|(name, _)| name == header::CONTENT_TYPE).and_then(|(_, value)| value.to_str().ok())
    }

    /// The response, with what every answer carries. An answer to HEAD has the
    /// headers and no body.
    pub fn finish(self, transaction: &TransactionId, head: bool) -> Response<Full<Bytes>> {
        #[derive(Serialize)]
        struct Error<'a> {
            error: &'a str,
            code: &'a str,
        }
        let body = match self.body {
            Body::Bytes(bytes) => bytes,
            Body::Words => Bytes::from_static(self.status.canonical_reason().unwrap_or_default().as_bytes()),
            Body::Error(error) => {
                serde_json::to_vec(&Error { error: &error, code: transaction.as_str() }).unwrap_or_default().into()
            }
        };
        let mut response = Response::new(Full::new(if head { Bytes::new() } else { body }));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let methods = match self.cors {
            Cors::Bare => None,
            Cors::Rest => Some("GET, DELETE, POST, PUT, HEAD"),
            Cors::Top => Some("OPTIONS, GET, POST"),
        };
        if let Some(methods) = methods {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED_HEADERS));
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
        }
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        if let Ok(value) = HeaderValue::from_str(transaction.as_str()) {
            headers.insert(REQUEST_ID, value);
        }
        response
    }
}
