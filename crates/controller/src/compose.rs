//! Sequences and compositions: actions made of actions.
//!
//! What runs next, with what, and when it is over is decided by two plain
//! state machines ([`sequence`], [`conductor`]); [`run`](mod@run) carries that
//! out, and [`record`] says what is left behind. Each part is an activation
//! like any other. The controller does not poll, sleep or ask the store for
//! anything on the way: a sequence of three costs three runs.
//!
//! # What is promised
//!
//! A sequence that is answered in time owes its caller the answer. One that is
//! *accepted* (nobody waits, or the wait ran out) has a record whatever is
//! killed: before the 202 the record that it would have if the process died
//! now, "interrupted", is made durable ([`Records::promise`]). It is replaced
//! by the real one when the sequence ends, and brought to the store at the
//! next start when it never does. What had run is not run again.
//!
//! A run goes on when its client goes away: it belongs to a task of its own.
//!
//! [`Records::promise`]: crate::records::Records::promise

pub mod check;
mod conductor;
mod part;
mod record;
mod run;
mod sequence;
mod tally;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::sync::oneshot;
use whisker_api::{Arguments, messages};
use whisker_entity::{Activation, Status};

pub use run::Shape;

use crate::{
    compose::{record::Whole, run::Spent, tally::Tally},
    controller::Controller,
    entitle, environment,
    invocation::{Caller, Invoked},
    records::Promise,
    rejection::Rejection,
    resolve::Resolved,
};

type Answer = Result<Invoked, Rejection>;

/// Invokes a sequence or composition, as [`invocation::invoke`] invokes any
/// action.
///
/// [`invocation::invoke`]: crate::invocation::invoke
pub async fn invoke(
    controller: &Controller,
    caller: &Caller,
    resolved: &Resolved,
    shape: Shape,
    input: Arguments,
    wait: Option<Duration>,
) -> Answer {
    if let Shape::Sequence(components) = &shape {
        entitle::parts(controller, &caller.who, None, components).await?;
    }
    let place = controller
        .compositions
        .clone()
        .try_acquire_owned()
        .map_err(|_| Rejection::Unavailable(messages::UNAVAILABLE))?;
    if controller.records.is_full() {
        return Err(Rejection::Unavailable(messages::UNAVAILABLE));
    }
    let owner = controller.shared()?;
    let start = environment::now();
    let whole = Whole {
        id: environment::activation_id(start),
        caller: caller.clone(),
        resolved: resolved.clone(),
        start,
        depth: 0,
        conductor: shape == Shape::Composition,
    };
    let (sender, answer) = oneshot::channel();
    controller.records.track(async move {
        carry_out(&owner, &whole, shape, input, wait, sender).await;
        drop(place);
    });
    answer.await.unwrap_or(Err(Rejection::Internal(messages::INTERNAL)))
}

/// Runs a whole, answers its caller once, and sees to its record.
async fn carry_out(
    controller: &Arc<Controller>,
    whole: &Whole,
    shape: Shape,
    input: Arguments,
    wait: Option<Duration>,
    caller: oneshot::Sender<Answer>,
) {
    // That a caller has gone is no concern of the run.
    let answer = |caller: oneshot::Sender<Answer>, answer| drop(caller.send(answer));
    let mut spent = Spent::default();
    let running = AssertUnwindSafe(run::run(controller, whole, shape, input, &mut spent)).catch_unwind();
    let mut running = std::pin::pin!(running);
    let finished = match wait {
        Some(wait) => tokio::time::timeout(wait, &mut running).await.ok(),
        None => None,
    };
    let record = |ended: Result<Activation, _>| Arc::new(ended.unwrap_or_else(|_| failed(whole)));
    let (record, promise) = match finished {
        Some(ended) => {
            let record = record(ended);
            answer(caller, Ok(Invoked::Finished(record.clone())));
            (record, None)
        }
        None => {
            let promise = accept(controller, whole).await;
            let begun = wait.is_some();
            let promise = match promise {
                Ok(promise) => {
                    answer(caller, Ok(Invoked::Accepted(whole.id)));
                    promise
                }
                Err(rejection) => {
                    answer(caller, Err(rejection));
                    // What has not begun need not; what has goes on.
                    if !begun {
                        return;
                    }
                    None
                }
            };
            (record(running.await), promise)
        }
    };
    ended(controller, whole, &record);
    if whole.caller.wants_records() {
        controller.records.write(record, promise);
    }
}

/// Tells of a whole that ended.
fn ended(controller: &Controller, whole: &Whole, record: &Activation) {
    controller.config.events.ended(record, &whole.caller.who, environment::now());
}

/// Makes it durable that there will be a record, unless none is wanted.
async fn accept(controller: &Controller, whole: &Whole) -> Result<Option<Promise>, Rejection> {
    if !whole.caller.wants_records() {
        return Ok(None);
    }
    controller.records.promise(&whole.interrupted()).await.map(Some)
}

/// The record of a whole that ended in a panic: a mistake of ours.
fn failed(whole: &Whole) -> Activation {
    tracing::error!(
        transaction.id = whole.caller.transaction.as_str(),
        activation.id = %whole.id,
        "a composition ended in a panic"
    );
    let words = if whole.conductor { messages::COMPOSITION_FAILED } else { messages::SEQUENCE_FAILED };
    whole.record(environment::now(), Tally::default(), part::error(Status::WhiskError, words))
}
