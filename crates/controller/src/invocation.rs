//! One invocation of an action, whoever asks for it: a request, a rule, a
//! composition, a browser.
//!
//! Callers have settled before who may invoke and what the name leads to
//! ([`resolve`](crate::resolve)); what the outcome looks like to a client is
//! theirs too.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use whisker_api::{Arguments, Payload, messages};
use whisker_bus::{ActivationMessage, MetricName};
use whisker_dispatch::{Outcome, Want};
use whisker_entity::{Action, Activation, ActivationId, Exec, Identity, Millis, TransactionId};
use whisker_traces::Context;

use crate::{
    compose::{self, Shape},
    controller::Controller,
    environment,
    rejection::Rejection,
    resolve::Resolved,
};

/// Pauses between looks for a record that is on its way, doubled each time.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LAST_LOOK: Duration = Duration::from_millis(500);

/// On whose behalf something is invoked, and on what occasion.
#[derive(Clone)]
pub struct Caller {
    /// Whose activation it is, and whose limits it counts against.
    pub who: Arc<Identity>,
    /// The request it belongs to.
    pub transaction: TransactionId,
    /// When that request began.
    pub began: Millis,
    /// The activation that it is a part of.
    pub cause: Option<ActivationId>,
    /// Whether a dead letter is the occasion.
    pub of_letter: bool,
    /// The place of that request in its trace.
    pub trace: Option<Context>,
}

impl Caller {
    /// Whether its namespace keeps records.
    pub fn wants_records(&self) -> bool {
        self.who.limits.store_activations != Some(false)
    }
}

/// What became of an invocation.
pub enum Invoked {
    /// It goes on, durably; this will be its record.
    Accepted(ActivationId),
    /// Its record, without logs.
    Finished(Arc<Activation>),
}

/// Counts an invocation against its namespace's limits. Comes before anything
/// else is looked at: a refused call must cost little. Parts of a composition
/// are not counted, since the whole was.
pub fn throttle(controller: &Controller, who: &Identity, now: Millis) -> Result<(), Rejection> {
    if controller.platform.trouble().is_some() {
        return Err(Rejection::Unavailable(messages::UNAVAILABLE));
    }
    let (limits, own) = (&controller.config.limits, &who.limits);
    let allowed = own.invocations_per_minute.unwrap_or(limits.invocations_per_minute).into();
    let allowed = controller.dispatch.share(allowed);
    let count = controller.invocations.count(who.namespace.clone(), now);
    let events = &controller.config.events;
    if count > allowed {
        events.metric(MetricName::TimedRateLimit, 1, who, now);
        return Err(Rejection::Throttled(messages::too_many_requests(count, allowed)));
    }
    let allowed = controller.dispatch.share(limits.concurrent_invocations(own).into());
    let count = controller.dispatch.in_flight(&who.namespace);
    if count >= allowed {
        events.metric(MetricName::ConcurrentRateLimit, 1, who, now);
        return Err(Rejection::Throttled(messages::too_many_concurrent(count, allowed)));
    }
    events.metric(MetricName::ConcurrentInvocations, count + 1, who, now);
    Ok(())
}

/// Invokes an action with a payload over its parameters. Waits for the outcome
/// for as long as `wait` says; without it, until the activation is accepted.
pub async fn invoke(
    controller: &Controller,
    caller: &Caller,
    resolved: &Resolved,
    payload: Payload,
    wait: Option<Duration>,
) -> Result<Invoked, Rejection> {
    match Shape::of(&resolved.action) {
        None => single(controller, caller, resolved, payload.into(), wait).await,
        Some(shape) => compose::invoke(controller, caller, resolved, shape, payload.into(), wait).await,
    }
}

/// Invokes the code of an action: the action itself, or once a conductor.
pub async fn single(
    controller: &Controller,
    caller: &Caller,
    resolved: &Resolved,
    arguments: Arguments,
    wait: Option<Duration>,
) -> Result<Invoked, Rejection> {
    let action = &resolved.action;
    if controller.config.manifest.resolve(action.exec.kind()).is_ok_and(|runtime| runtime.deprecated) {
        return Err(Rejection::Bad(messages::deprecated_kind(action.exec.kind())));
    }
    let parameters = resolved.parameters();
    let id = environment::activation_id(environment::now());
    let locked_args = arguments.locked(parameters);
    let message = ActivationMessage {
        transaction: caller.transaction.clone(),
        began: caller.began,
        action: action.qualified_name(),
        version: action.version,
        binding: resolved.binding.clone(),
        revision: Some(action.revision().0.clone()),
        user: caller.who.clone(),
        activation: id,
        controller: controller.config.id.clone(),
        blocking: wait.is_some(),
        content: arguments.over(parameters),
        init_args: parameters.iter().filter(|p| p.init).map(|p| p.key.clone()).collect(),
        locked_args,
        cause: caller.cause,
        trace_context: caller.trace.as_ref().map(Context::carried),
        of_letter: caller.of_letter,
    };
    let asked = Instant::now();
    let want = || want(caller, action);
    match controller.dispatch.invoke(Arc::new(message), want, wait).await? {
        Outcome::Accepted => Ok(Invoked::Accepted(id)),
        Outcome::Finished(activation) => Ok(Invoked::Finished(activation)),
        Outcome::Recorded => {
            let left = wait.unwrap_or_default().saturating_sub(asked.elapsed());
            let record = tokio::time::timeout(left, recorded(controller, caller, id)).await;
            // It is as durable as a record can be.
            Ok(record.map_or(Invoked::Accepted(id), Invoked::Finished))
        }
    }
}

/// What placing a run needs to know.
fn want(caller: &Caller, action: &Action) -> Want {
    let of = whisker_dispatch::Action {
        namespace: caller.who.namespace.clone(),
        name: action.qualified_name(),
        version: action.version,
        memory_mb: action.limits.memory,
        concurrency: action.limits.concurrency,
        blackbox: matches!(action.exec, Exec::Blackbox { .. }),
    };
    Want { action: Arc::new(of), time_limit: Duration::from_millis(action.limits.timeout) }
}

/// The record of an activation that ended, once it is there. For ever, if its
/// namespace keeps none.
async fn recorded(controller: &Controller, caller: &Caller, id: ActivationId) -> Arc<Activation> {
    let mut pause = FIRST_LOOK;
    loop {
        // Whatever keeps the store from answering may pass in time.
        if let Ok(activation) = controller.activations.get(&caller.who.namespace, id).await {
            return Arc::new(activation);
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(LAST_LOOK);
    }
}
