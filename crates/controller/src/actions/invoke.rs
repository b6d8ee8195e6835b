//! `POST /actions/NAME`: invoke.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use whisker_api::{ActivationView, Payload};
use whisker_entity::{Activation, ActivationId, QualifiedName, Status};

use crate::{
    body::Kind,
    controller::{Call, Controller},
    invocation::{self, Invoked},
    query::Query,
    rejection::Rejection,
    reply::Reply,
    resolve::resolve,
};

/// What a caller wants back.
struct Wish {
    /// How long to wait; `None` not at all.
    wait: Option<Duration>,
    /// Only the result, not the record.
    result: bool,
}

impl Wish {
    fn read(query: &Query<'_>, max: Duration) -> Result<Self, Rejection> {
        let blocking = query.boolean("blocking", false)?;
        let result = query.boolean("result", false)?;
        let max_ms = u64::try_from(max.as_millis()).unwrap_or(u64::MAX);
        let timeout_ms = match query.get("timeout") {
            None => max_ms,
            // Checked even when nobody waits.
            Some(text) => text.parse().ok().filter(|ms| (1..=max_ms).contains(ms)).ok_or_else(|| Rejection::Query {
                name: "timeout",
                detail: format!("Timeout must be number of milliseconds up to {max_ms}."),
            })?,
        };
        Ok(Self { wait: blocking.then(|| Duration::from_millis(timeout_ms)), result: blocking && result })
    }
}

/// Invokes an action.
pub async fn invoke(controller: &Controller, call: Call<'_>, name: QualifiedName) -> Result<Reply, Rejection> {
    let wish = Wish::read(&call.query, controller.config.limits.blocking_wait)?;
    let caller = call.caller();
    let payload = Payload::parse(&call.read(controller, Kind::Payload).await?.bytes)?;
    let resolved = resolve(controller, &name).await?;
    resolved.check_final(&payload)?;
    match invocation::invoke(controller, &caller, &resolved, payload, wish.wait).await? {
        Invoked::Accepted(id) => Ok(accepted(id)),
        Invoked::Finished(activation) => Ok(finished(&activation, wish.result)),
    }
}

/// 202: it goes on.
fn accepted(id: ActivationId) -> Reply {
    Reply::json(StatusCode::ACCEPTED, &json!({"activationId": id})).activation(id)
}

/// The record, or the bare result.
fn finished(activation: &Activation, only_result: bool) -> Reply {
    let status = match activation.response.status {
        Status::Success => StatusCode::OK,
        Status::ApplicationError | Status::DeveloperError => StatusCode::BAD_GATEWAY,
        Status::WhiskError => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let result = activation.response.result.as_deref().map_or("{}", |result| result.get());
    // An array is the whole answer, whatever was asked for.
    if only_result || result.starts_with('[') {
        return Reply::json_text(status, result.to_owned()).activation(activation.id);
    }
    Reply::json(status, &ActivationView::from(activation)).activation(activation.id)
}
