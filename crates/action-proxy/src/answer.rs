//! What is answered: statuses and words of OpenWhisk's proxy for ActionLoop.

use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::json;

pub(crate) type Answer = Response<Full<Bytes>>;

pub(crate) const ONCE: &str = "Cannot initialize the action more than once.";
pub(crate) const NO_CODE: &str = "Missing main/no code to execute.";
pub(crate) const NO_ACTION: &str = "no action defined yet";

/// JSON that is there already.
pub(crate) fn raw(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// `{"error": …}`.
pub(crate) fn error(status: StatusCode, words: &str) -> Answer {
    raw(status, json!({ "error": words }).to_string())
}

/// The request is not JSON, or not such JSON.
pub(crate) fn unreadable(why: &serde_json::Error) -> Answer {
    error(StatusCode::BAD_REQUEST, &format!("Error unmarshaling request: {why}"))
}
