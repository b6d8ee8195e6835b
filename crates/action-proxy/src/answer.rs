//! What is answered: statuses and words of OpenWhisk's proxy for ActionLoop.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::{
    Response, StatusCode,
    body::{Body, Bytes, Frame, SizeHint},
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::json;

pub(crate) type Answer = Response<Said>;

/// A body: what was said, and blanks in the place of what was not kept of it.
/// A platform hears from its length that it is too long, and reads no further
/// than the beginning.
pub(crate) struct Said {
    kept: Bytes,
    blanks: u64,
}

/// As many blanks as are sent at once.
static BLANKS: [u8; 16 << 10] = [b' '; 16 << 10];

impl Body for Said {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.kept.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.kept)))));
        }
        let count = self.blanks.min(BLANKS.len() as u64);
        if count == 0 {
            return Poll::Ready(None);
        }
        self.blanks -= count;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&BLANKS[..count as usize])))))
    }

    fn is_end_stream(&self) -> bool {
        self.kept.is_empty() && self.blanks == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.kept.len() as u64 + self.blanks)
    }
}

pub(crate) const ONCE: &str = "Cannot initialize the action more than once.";
pub(crate) const NO_CODE: &str = "Missing main/no code to execute.";
pub(crate) const NOT_BUILT: &str = "The action failed to generate or locate a binary. See logs for details.";
pub(crate) const NO_RESULT: &str = "The action did not return a dictionary or array.";
pub(crate) const NO_ACTION: &str = "no action defined yet";

/// JSON that is there already.
pub(crate) fn raw(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    cut(status, body, 0)
}

/// The beginning of such JSON, of which so many bytes are missing.
pub(crate) fn cut(status: StatusCode, body: impl Into<Bytes>, missing: u64) -> Answer {
    let mut answer = Response::new(Said { kept: body.into(), blanks: missing });
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
