//! `POST /triggers/NAME`: fire.
//!
//! A fire is one activation of each active rule's action, and one record of
//! its own that says which. The answer (202) promises all of these: it comes
//! once every activation is accepted by the bus and the record is promised.
//! Rules are handed over side by side, so that ten cost what one does.
//!
//! OpenWhisk answers first and does all of it afterwards; a fire that it
//! answered can be lost.

use std::sync::Arc;

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use http::{HeaderMap, HeaderName, StatusCode, header};
use serde::Serialize;
use serde_json::{json, value::RawValue};
use whisker_api::{Payload, messages};
use whisker_bus::MetricName;
use whisker_entity::{
    Activation, ActivationId, Identity, Link, Millis, Parameters, QualifiedName, Response, RuleStatus, Status, Trigger,
};

use crate::{
    body::Kind,
    controller::{Call, Controller},
    environment,
    found::{Found, find},
    invocation::{self, Caller, Invoked},
    rejection::Rejection,
    reply::Reply,
    resolve::resolve_for,
};

/// Rules of one fire that are handed over at the same time: a bound on the
/// copies of its payload.
const AT_ONCE: usize = 64;

/// The argument that holds the fire's own headers.
const HEADERS: &str = "__ow_headers";

/// Counts a fire against its namespace's limit.
pub fn throttle(controller: &Controller, who: &Identity, now: Millis) -> Result<(), Rejection> {
    let allowed = who.limits.fires_per_minute.unwrap_or(controller.config.limits.fires_per_minute).into();
    let allowed = controller.dispatch.share(allowed);
    let count = controller.fires.count(who.namespace.clone(), now);
    if count <= allowed {
        return Ok(());
    }
    controller.config.events.metric(MetricName::TimedRateLimit, 1, who, now);
    Err(Rejection::Throttled(messages::too_many_requests(count, allowed)))
}

/// Fires a trigger. Without an active rule nothing happens, and nothing is
/// recorded.
pub async fn fire(controller: &Controller, call: Call<'_>, name: &QualifiedName) -> Result<Reply, Rejection> {
    let (caller, headers) = (call.caller(), shown_headers(call.headers()));
    let payload = Payload::parse(&call.read(controller, Kind::Payload).await?.bytes)?;
    let trigger = find::<Trigger>(controller, name).await?;
    if !links(&trigger).iter().any(|(_, link)| link.status == RuleStatus::Active) {
        return Ok(Reply::empty(StatusCode::NO_CONTENT));
    }
    if controller.records.is_full() {
        return Err(Rejection::Unavailable(messages::UNAVAILABLE));
    }
    let result = payload.to_text();
    let arguments = payload.over(&headers).over(&trigger.parameters);
    let id = environment::activation_id(caller.began);
    let fire = Fire { id, caller, cause: None, trigger, result, arguments };
    let shared = controller.shared()?;
    controller.records.see_through(async move { fire.deliver(&shared).await }).await?;
    Ok(Reply::json(StatusCode::ACCEPTED, &json!({"activationId": id})).activation(id))
}

fn links(trigger: &Trigger) -> &[(QualifiedName, Link)] {
    trigger.rules.as_ref().map_or(&[], |links| &links.0)
}

/// Fires a trigger of whoever's activation `cause` was, for the platform: with
/// its own rights and within its limits, but without a request. Fired with the
/// same id again, after a crash, it does nothing.
pub async fn fire_for(
    controller: &Controller,
    caller: Caller,
    (id, cause): (ActivationId, ActivationId),
    name: &QualifiedName,
    payload: Payload,
) -> Result<(), Rejection> {
    throttle(controller, &caller.who, caller.began)?;
    let trigger = find::<Trigger>(controller, name).await?;
    if !links(&trigger).iter().any(|(_, link)| link.status == RuleStatus::Active) {
        return Ok(());
    }
    if controller.records.is_full() {
        return Err(Rejection::Unavailable(messages::UNAVAILABLE));
    }
    if !controller.activations.known(&caller.who.namespace, &[id]).await?.is_empty() {
        return Ok(());
    }
    let result = payload.to_text();
    let arguments = payload.over(&trigger.parameters);
    Fire { id, caller, cause: Some(cause), trigger, result, arguments }.deliver(controller).await
}

/// A trigger that was fired.
struct Fire {
    id: ActivationId,
    caller: Caller,
    /// The activation whose dead letter it is.
    cause: Option<ActivationId>,
    trigger: Found<Trigger>,
    /// What its record shows: the payload as it came.
    result: Arc<RawValue>,
    /// What its rules' actions get.
    arguments: Payload,
}

impl Fire {
    /// Hands every rule's activation over, and has the fire recorded.
    async fn deliver(self, controller: &Controller) -> Result<(), Rejection> {
        let caller = &self.caller;
        // Boxed for the compiler, which cannot see that what closures borrow may be sent.
        let rules: Vec<BoxFuture<'_, String>> = links(&self.trigger)
            .iter()
            .map(|(rule, link)| run(controller, caller, rule, link, &self.arguments).boxed())
            .collect();
        let logs = stream::iter(rules).buffered(AT_ONCE).collect().await;
        if !caller.wants_records() {
            return Ok(());
        }
        let record = Activation {
            namespace: caller.who.namespace.clone(),
            name: self.trigger.name.clone(),
            subject: caller.who.subject.to_string(),
            id: self.id,
            start: caller.began,
            end: 0,
            cause: self.cause,
            response: Response { status: Status::Success, result: Some((*self.result).to_owned()), size: None },
            logs,
            version: self.trigger.version,
            publish: false,
            annotations: Parameters::default(),
            duration: None,
        };
        let promise = controller.records.promise(&record).await?;
        controller.records.write(Arc::new(record), Some(promise));
        Ok(())
    }
}

/// One rule's line in the trigger's log, as OpenWhisk writes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    rule: &'a QualifiedName,
    action: &'a QualifiedName,
    status_code: Status,
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    activation_id: Option<ActivationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Does what one rule says, and tells what became of it.
async fn run(
    controller: &Controller,
    caller: &Caller,
    rule: &QualifiedName,
    link: &Link,
    arguments: &Payload,
) -> String {
    let action = &link.action.0;
    let outcome = match link.status {
        RuleStatus::Active => activate(controller, caller, action, arguments).await.map_err(|rejection| {
            let (status, text) = rejection.told();
            (if status.is_server_error() { Status::WhiskError } else { Status::ApplicationError }, text)
        }),
        RuleStatus::Inactive => Err((Status::ApplicationError, messages::rule_inactive(rule, action))),
    };
    let (status_code, activation_id, error) = match outcome {
        Ok(id) => (Status::Success, Some(id), None),
        Err((status, text)) => (status, None, Some(text)),
    };
    let success = status_code == Status::Success;
    let line = Line { rule, action, status_code, success, activation_id, error };
    serde_json::to_string(&line).unwrap_or_default()
}

/// Invokes a rule's action as a request of the trigger's owner would: with
/// that owner's rights, within its limits.
async fn activate(
    controller: &Controller,
    caller: &Caller,
    action: &QualifiedName,
    arguments: &Payload,
) -> Result<ActivationId, Rejection> {
    invocation::throttle(controller, &caller.who, caller.began)?;
    let resolved = resolve_for(controller, &caller.who, action).await?;
    resolved.check_final(arguments)?;
    match invocation::invoke(controller, caller, &resolved, arguments.clone(), None).await? {
        Invoked::Accepted(id) => Ok(id),
        Invoked::Finished(activation) => Ok(activation.id),
    }
}

/// Headers that actions do not get: those of the body, which is no part of
/// what they see, and the key, which is not theirs. (OpenWhisk hands it to any
/// action, even to a stranger's.)
const HIDDEN: [HeaderName; 4] =
    [header::AUTHORIZATION, header::CONTENT_LENGTH, header::CONTENT_TYPE, header::TRANSFER_ENCODING];

/// The fire's headers as an argument: of several of a name, the last.
fn shown_headers(headers: &HeaderMap) -> Parameters {
    let mut shown = serde_json::Map::new();
    for (name, value) in headers.iter().filter(|(name, _)| !HIDDEN.contains(name)) {
        shown.insert(name.as_str().into(), String::from_utf8_lossy(value.as_bytes()).into());
    }
    let mut parameters = Parameters::default();
    parameters.set_value(HEADERS, shown);
    parameters
}
