//! Carrying a composition out: what the pure parts ask for is found and run.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use whisker_api::{Arguments, Payload, messages};
use whisker_entity::{Action, Activation, Exec, Identity, QualifiedName};

use crate::{
    compose::{
        conductor::{Conductor, Counts, Turn},
        part::Part,
        record::Whole,
        sequence::{Next, Sequence},
    },
    controller::Controller,
    entitle, environment,
    invocation::{self, Caller, Invoked},
    rejection::Rejection,
    resolve::{Resolved, resolve},
};

/// How long a part may take to answer beyond its own time limit.
const PART_GRACE: Duration = Duration::from_secs(60);

/// An action made of actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// These, in order.
    Sequence(Vec<QualifiedName>),
    /// Those that the conductor asks for, which is code itself.
    Composition,
}

impl Shape {
    /// Of an action; `None` of one that is just code. A sequence does not
    /// conduct, whatever its annotations say.
    pub fn of(action: &Action) -> Option<Self> {
        match &action.exec {
            Exec::Sequence { components } => Some(Self::Sequence(components.clone())),
            Exec::Code { .. } | Exec::Blackbox { .. } => {
                action.annotations.is_truthy("conductor", false).then_some(Self::Composition)
            }
        }
    }
}

/// What counts across nested compositions: actions for sequences, components
/// and conductors for compositions.
#[derive(Debug, Default)]
pub struct Spent {
    atoms: u32,
    counts: Counts,
}

/// Runs a whole to its end and answers with its record.
///
/// Sequences and compositions nest in each other, hence the box.
pub fn run<'a>(
    controller: &'a Controller,
    whole: &'a Whole,
    shape: Shape,
    input: Arguments,
    spent: &'a mut Spent,
) -> Pin<Box<dyn Future<Output = Activation> + Send + 'a>> {
    match shape {
        Shape::Sequence(components) => Box::pin(run_sequence(controller, whole, components, input, spent)),
        Shape::Composition => Box::pin(run_composition(controller, whole, input, spent)),
    }
}

async fn run_sequence(
    controller: &Controller,
    whole: &Whole,
    components: Vec<QualifiedName>,
    input: Arguments,
    spent: &mut Spent,
) -> Activation {
    let mut sequence = Sequence::new(components, spent.atoms, controller.config.limits.sequence_length);
    let mut next = sequence.begin(input);
    let response = loop {
        match next {
            Next::End(response) => break response,
            Next::Run(name, input) => {
                let mut within = Spent { atoms: sequence.atoms(), counts: Counts::default() };
                let part = match found(controller, &whole.caller.who, &name).await {
                    Err(part) => part,
                    Ok(resolved) => {
                        let shape = Shape::of(&resolved.action);
                        if !matches!(shape, Some(Shape::Sequence(_))) {
                            within.atoms += 1;
                        }
                        run_part(controller, whole, resolved, shape, input, &mut within).await
                    }
                };
                next = sequence.after(part, within.atoms);
            }
        }
    };
    spent.atoms = sequence.atoms();
    whole.record(environment::now(), sequence.into_tally(), response)
}

async fn run_composition(controller: &Controller, whole: &Whole, input: Arguments, spent: &mut Spent) -> Activation {
    let limits = &controller.config.limits;
    let memory_mb = whole.resolved.action.limits.memory;
    let mut conductor = Conductor::new(whole.caller.who.namespace.clone(), limits.sequence_length, memory_mb);
    let payload = match input {
        Arguments::Members(payload) => payload,
        Arguments::Text(text) => Payload::of(&text).unwrap_or_default(),
    };
    let mut turn = conductor.begin(payload, &mut spent.counts);
    let response = loop {
        turn = match turn {
            Turn::End(response) => break response,
            Turn::Conduct(input) => {
                let part = run_single(controller, whole, &whole.resolved, input).await;
                conductor.after_conductor(part, &mut spent.counts)
            }
            Turn::Run(name, input) => {
                let part = match found(controller, &whole.caller.who, &name).await {
                    Err(part) => part,
                    Ok(resolved) => {
                        let shape = Shape::of(&resolved.action);
                        // A sequence is one component, however many it has; a
                        // composition counts by what it runs.
                        if shape != Some(Shape::Composition) {
                            spent.counts.components += 1;
                        }
                        let mut within = Spent { atoms: 0, counts: spent.counts };
                        let part = run_part(controller, whole, resolved, shape, input, &mut within).await;
                        spent.counts = within.counts;
                        part
                    }
                };
                conductor.after_component(&name, part, &mut spent.counts)
            }
        };
    };
    whole.record(environment::now(), conductor.into_tally(), response)
}

/// Runs an action within a whole, whatever it is made of.
async fn run_part(
    controller: &Controller,
    whole: &Whole,
    resolved: Resolved,
    shape: Option<Shape>,
    input: Arguments,
    spent: &mut Spent,
) -> Part {
    let Some(shape) = shape else { return run_single(controller, whole, &resolved, input).await };
    // Within a sequence a composition counts anew, as a sequence does within a
    // composition, so that each in the other would have no end. The deepest
    // nest that counts allow is a conductor that asks for itself.
    let deepest = 2 * controller.config.limits.sequence_length + 1;
    if whole.depth >= deepest {
        return Part::TooDeep;
    }
    let now = environment::now();
    let nested = Whole {
        id: environment::activation_id(now),
        caller: part_of(whole),
        resolved,
        start: now,
        depth: whole.depth + 1,
        conductor: shape == Shape::Composition,
    };
    let record = Arc::new(run(controller, &nested, shape, input, spent).await);
    super::ended(controller, &nested, &record);
    if whole.caller.wants_records() {
        controller.records.write(record.clone(), None);
    }
    Part::Ended(record)
}

/// Runs code, and waits for as long as it may take.
async fn run_single(controller: &Controller, whole: &Whole, resolved: &Resolved, input: Arguments) -> Part {
    let wait = Duration::from_millis(resolved.action.limits.timeout) + PART_GRACE;
    match invocation::single(controller, &part_of(whole), resolved, input, Some(wait)).await {
        Ok(Invoked::Finished(activation)) => Part::Ended(activation),
        Ok(Invoked::Accepted(id)) => Part::Late(id),
        Err(Rejection::Bad(why)) => Part::Refused(why),
        Err(_) => Part::Failed,
    }
}

/// The caller of a part. Each part begins its own wait: what came before it is
/// not what its `waitTime` is about.
fn part_of(whole: &Whole) -> Caller {
    Caller { began: environment::now(), cause: Some(whole.id), ..whole.caller.clone() }
}

/// The action that a name leads to, if whoever invokes the whole may have it.
///
/// OpenWhisk asks this of the parts of the outermost sequence alone: whoever
/// put a foreign sequence into one of his own ran what he could not call. Here
/// it is asked of all.
async fn found(controller: &Controller, who: &Identity, name: &QualifiedName) -> Result<Resolved, Part> {
    entitle::action(controller, who, name).await.map_err(|rejection| match rejection {
        Rejection::Missing | Rejection::MissingNamed(_) => Part::Refused(messages::COMPONENT_MISSING.into()),
        Rejection::Forbidden(why) | Rejection::Unprocessable(why) => Part::Refused(why),
        Rejection::Conflict(why) => Part::Refused(why.into()),
        _ => Part::Failed,
    })?;
    resolve(controller, name).await.map_err(|rejection| match rejection {
        Rejection::Missing | Rejection::MissingNamed(_) | Rejection::Conflict(_) => Part::Missing,
        Rejection::Unprocessable(why) => Part::Refused(why),
        _ => Part::Failed,
    })
}
