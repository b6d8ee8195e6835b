//! `POST /actions/NAME`: invoke.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use serde_json::json;
use whisker_api::{ActivationView, Payload, messages};
use whisker_bus::ActivationMessage;
use whisker_dispatch::Outcome;
use whisker_entity::{Activation, ActivationId, QualifiedName, Status};

use crate::{
    actions::find,
    body::Kind,
    controller::{Call, Controller},
    environment,
    query::Query,
    rejection::Rejection,
    reply::Reply,
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

/// Counts an invocation against its namespace's limits. Comes before anything
/// else is looked at: a refused call must cost little.
pub fn throttle(controller: &Controller, call: &Call<'_>) -> Result<(), Rejection> {
    let (limits, own) = (&controller.config.limits, &call.who.limits);
    let allowed = own.invocations_per_minute.unwrap_or(limits.invocations_per_minute).into();
    let count = controller.invocations.count(call.who.namespace.clone(), call.began);
    if count > allowed {
        return Err(Rejection::Throttled(messages::too_many_requests(count, allowed)));
    }
    let allowed = own.concurrent_invocations.unwrap_or(limits.concurrent_invocations).into();
    let count = controller.dispatch.in_flight(&call.who.namespace);
    if count >= allowed {
        return Err(Rejection::Throttled(messages::too_many_concurrent(count, allowed)));
    }
    Ok(())
}

/// Invokes an action.
pub async fn invoke(controller: &Controller, call: Call<'_>, name: QualifiedName) -> Result<Reply, Rejection> {
    let wish = Wish::read(&call.query, controller.config.limits.blocking_wait)?;
    let (who, began, transaction) = (call.who.clone(), call.began, call.transaction.clone());
    let payload = Payload::parse(&call.read(controller, Kind::Payload).await?.bytes)?;
    let found = find(controller, &name).await?;
    let action = found.action()?;
    if action.annotations.get("final") == Some(&json!(true)) {
        let fixed = |key: &str| action.parameters.get(key).is_some_and(|value| !value.is_null());
        if payload.names().any(fixed) {
            return Err(Rejection::Bad(messages::PARAMETERS_NOT_ALLOWED.into()));
        }
    }
    if controller.config.manifest.resolve(action.exec.kind()).is_ok_and(|runtime| runtime.deprecated) {
        return Err(Rejection::Bad(messages::deprecated_kind(action.exec.kind())));
    }
    let id = environment::activation_id(began);
    let message = ActivationMessage {
        transaction,
        began,
        action: name,
        version: action.version,
        binding: None,
        revision: Some(found.revision().0.clone()),
        user: who,
        activation: id,
        controller: controller.config.id.clone(),
        blocking: wish.wait.is_some(),
        content: payload.over(&action.parameters),
        init_args: action.parameters.iter().filter(|p| p.init).map(|p| p.key.clone()).collect(),
        cause: None,
    };
    match controller.dispatch.invoke(Arc::new(message), wish.wait).await? {
        Outcome::Accepted => Ok(accepted(id)),
        Outcome::Finished(activation) => Ok(finished(&activation, wish.result)),
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
