//! How a part of a composition ended, as far as what follows depends on it.

use std::sync::Arc;

use serde_json::value::RawValue;
use whisker_api::Payload;
use whisker_entity::{Activation, ActivationId, Response, Status};

/// How a part that was asked for ended.
#[derive(Debug, Clone)]
pub enum Part {
    /// With a record, whatever is in it.
    Ended(Arc<Activation>),
    /// Without an answer in time. It goes on, and will have its record.
    Late(ActivationId),
    /// There is no such action.
    Missing,
    /// It may not be invoked; why.
    Refused(String),
    /// It is nested too deep to be begun.
    TooDeep,
    /// The platform could not run it.
    Failed,
}

/// An error of ours. OpenWhisk gives no size to those.
pub fn error(status: Status, text: &str) -> Response {
    Response { size: None, ..Response::error(status, text) }
}

/// Whether a response says that something went wrong: by its status, or by the
/// member `error`, which the result of a composition may have while its
/// status is success.
pub fn is_error(response: &Response) -> bool {
    let says_so = |result: &RawValue| {
        // Most results show that they have no such member without being
        // parsed: it can be spelled with the letters or with escapes.
        let text = result.get();
        (text.contains("\"error\"") || text.contains("\\u"))
            && Payload::of(result).is_some_and(|payload| payload.names().any(|name| name == "error"))
    };
    response.status != Status::Success || response.result.as_deref().is_some_and(says_so)
}
