//! Namespaces: the caller's own, and their limits.

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    controller::{Call, Controller},
    rejection::Rejection,
    reply::Reply,
    route::Space,
};

/// `GET /namespaces`.
pub fn list(call: &Call<'_>) -> Result<Reply, Rejection> {
    Ok(Reply::json(StatusCode::OK, &[&call.who.namespace]))
}

/// `GET /namespaces/NS/limits`: what is in force for the caller.
pub fn limits(controller: &Controller, call: &Call<'_>, space: &Space) -> Result<Reply, Rejection> {
    call.own(space)?;
    let (limits, own) = (&controller.config.limits, &call.who.limits);
    let concurrent = own.concurrent_invocations.unwrap_or(limits.concurrent_invocations);
    let mut view = json!({
        "invocationsPerMinute": own.invocations_per_minute.unwrap_or(limits.invocations_per_minute),
        "concurrentInvocations": concurrent,
        "firesPerMinute": own.fires_per_minute.unwrap_or(limits.fires_per_minute),
        "minActionMemory": limits.actions.memory_mb.min,
        "maxActionMemory": limits.actions.memory_mb.max,
        "minActionLogs": limits.actions.logs_mb.min,
        "maxActionLogs": limits.actions.logs_mb.max,
        "minActionTimeout": limits.actions.timeout_ms.min,
        "maxActionTimeout": limits.actions.timeout_ms.max,
        "minActionConcurrency": limits.actions.concurrency.min,
        "maxActionConcurrency": limits.actions.concurrency.max,
        "maxParameterSize": format!("{} B", limits.parameters_max_bytes),
        "maxActionInstances": concurrent,
    });
    if let Value::Object(view) = &mut view {
        own.allowed_kinds.iter().for_each(|kinds| drop(view.insert("allowedKinds".into(), json!(kinds))));
        own.store_activations.iter().for_each(|store| drop(view.insert("storeActivations".into(), json!(store))));
    }
    Ok(Reply::json(StatusCode::OK, &view))
}
