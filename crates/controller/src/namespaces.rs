//! Namespaces: the caller's own, and their limits.

use http::StatusCode;
use whisker_entity::{Allowance, ByteSize, NamespaceLimits};

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
    let Allowance { actions, parameters_bytes, .. } = limits.allowance(own);
    let concurrent = limits.concurrent_invocations(own);
    let narrow = |bound: u64| Some(u32::try_from(bound).unwrap_or(u32::MAX));
    let parameters = own.max_parameter_size.filter(|size| size.to_bytes() == parameters_bytes);
    let view = NamespaceLimits {
        invocations_per_minute: own.invocations_per_minute.or(Some(limits.invocations_per_minute)),
        concurrent_invocations: Some(concurrent),
        fires_per_minute: own.fires_per_minute.or(Some(limits.fires_per_minute)),
        min_action_memory: narrow(actions.memory_mb.min),
        max_action_memory: narrow(actions.memory_mb.max),
        min_action_logs: narrow(actions.logs_mb.min),
        max_action_logs: narrow(actions.logs_mb.max),
        min_action_timeout: Some(actions.timeout_ms.min),
        max_action_timeout: Some(actions.timeout_ms.max),
        min_action_concurrency: narrow(actions.concurrency.min),
        max_action_concurrency: narrow(actions.concurrency.max),
        max_parameter_size: parameters.or(Some(ByteSize::bytes(parameters_bytes))),
        max_action_instances: Some(concurrent),
        // The others are shown if they are set, and as they are set.
        ..own.clone()
    };
    Ok(Reply::json(StatusCode::OK, &view))
}
