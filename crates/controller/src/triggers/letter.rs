//! Dead letters: the trigger that hears of an activation that failed for good.
//!
//! A letter waits on the bus until its trigger was fired, as a client of the
//! activation's owner would fire it: with that owner's rights, within its
//! limits, accepted before the letter is let go. Should the process die in
//! between, it is fired again: at least once, and with the same id, so that
//! the record of the fire is one.
//!
//! What a letter starts leaves no letters itself ([`Caller::of_letter`]), so
//! nothing goes round in circles.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};
use tokio_util::sync::CancellationToken;
use whisker_api::Payload;
use whisker_bus::{ActivationMessage, Letter, Letters};
use whisker_entity::{ActivationId, EntityPath, QualifiedName};

use crate::{controller::Controller, environment, invocation::Caller, rejection::Rejection, resolve::resolve_for};

/// Pauses after letters that could not be posted, doubled each time: they wait
/// for a limit, for room in a queue or for the store.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a letter is tried, in ms.
const PATIENCE_MS: u64 = 24 * 3600 * 1000;
/// Longest arguments that a letter carries, in bytes of text.
const ARGUMENTS_BYTES: usize = 256 * 1024;

/// Posts letters until cancelled, or until the bus is closed.
pub(crate) async fn post(controller: Arc<Controller>, letters: Arc<dyn Letters>, cancel: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    loop {
        let next = tokio::select! {
            () = cancel.cancelled() => return,
            next = letters.next_letter() => next,
        };
        let Some((message, letter)) = next else { return };
        let id = message.activation;
        let Err(rejection) = post_one(&controller, &message, &letter).await else {
            letters.posted(id);
            metrics::counter!("controller_dead_letters_total", "outcome" => "posted").increment(1);
            pause = FIRST_PAUSE;
            continue;
        };
        let (status, text) = rejection.told();
        let old = environment::now().saturating_sub(letter.failed) > PATIENCE_MS;
        if old || !(status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS) {
            tracing::warn!(activation.id = %id, trigger.name = %letter.trigger, reason = text, "a dead letter cannot be posted and is dropped");
            letters.posted(id);
            metrics::counter!("controller_dead_letters_total", "outcome" => "dropped").increment(1);
            continue;
        }
        tracing::debug!(activation.id = %id, trigger.name = %letter.trigger, reason = text, "a dead letter waits");
        letters.put_back(id);
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(pause) => pause = (2 * pause).min(LONGEST_PAUSE),
        }
    }
}

async fn post_one(controller: &Controller, message: &ActivationMessage, letter: &Letter) -> Result<(), Rejection> {
    let caller = Caller {
        who: message.user.clone(),
        transaction: message.transaction.clone(),
        began: environment::now(),
        cause: None,
        of_letter: true,
        trace: None,
    };
    let payload = payload(controller, message, letter).await?;
    let ids = (id_of(message.activation), message.activation);
    super::fire::fire_for(controller, caller, ids, &letter.trigger, payload).await
}

/// The same each time: the time of the activation, and other bits.
fn id_of(activation: ActivationId) -> ActivationId {
    ActivationId::new(activation.time(), !u128::from_be_bytes(activation.to_bytes()))
}

/// What the trigger is told.
async fn payload(controller: &Controller, message: &ActivationMessage, letter: &Letter) -> Result<Payload, Rejection> {
    let mut payload = Payload::default();
    let mut set = |name: &str, value: serde_json::Value| {
        if let Ok(value) = to_raw_value(&value) {
            payload.set(name, value);
        }
    };
    set("activationId", json!(message.activation));
    set("action", json!(format!("/{}", message.action)));
    set("version", json!(message.version));
    set("status", json!(letter.status.words()));
    set("error", json!(letter.error));
    set("attempts", json!(letter.attempts));
    set("reason", json!(letter.reason));
    set("began", json!(message.began));
    set("failed", json!(letter.failed));
    match arguments(controller, message).await? {
        Some(arguments) if arguments.get().len() <= ARGUMENTS_BYTES => {
            payload.set("arguments", (*arguments).to_owned());
        }
        Some(arguments) => set_bytes(&mut payload, arguments.get().len()),
        None => set_bytes(&mut payload, message.content.get().len()),
    }
    Ok(payload)
}

/// How long the arguments are that a letter does not carry.
fn set_bytes(payload: &mut Payload, bytes: usize) {
    if let Ok(value) = to_raw_value(&bytes) {
        payload.set("argumentsBytes", value);
    }
}

/// What the activation was given beyond its action's own parameters: those are
/// often keys, and letters are read by others than the action. `None` where
/// that cannot be told any more, the action being gone or changed.
async fn arguments(controller: &Controller, message: &ActivationMessage) -> Result<Option<Arc<RawValue>>, Rejection> {
    let Some(mut given) = Payload::of(&message.content) else { return Ok(Some(message.content.clone())) };
    let called = match &message.binding {
        None => message.action.clone(),
        Some(binding) => {
            let (namespace, package) = (binding.path.namespace.clone(), Some(binding.name.clone()));
            QualifiedName::new(EntityPath { namespace, package }, message.action.name.clone())
        }
    };
    let resolved = match resolve_for(controller, &message.user, &called).await {
        Ok(resolved) if resolved.action.version == message.version => resolved,
        // What its own parameters were then nobody knows.
        Ok(_) => return Ok(None),
        Err(rejection @ Rejection::Unavailable(_)) => return Err(rejection),
        Err(_) => return Ok(None),
    };
    for parameter in resolved.parameters().iter() {
        let own = to_raw_value(&parameter.value);
        let same = |value: &RawValue| own.is_ok_and(|own| own.get() == value.get());
        if given.get(&parameter.key).is_some_and(same) {
            given.take(&parameter.key);
        }
    }
    message.locked_args.keys().for_each(|name| drop(given.take(name)));
    Ok(Some(given.to_text()))
}
