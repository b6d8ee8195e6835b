//! The record of a sequence or composition.
//!
//! Its logs are the ids of its parts and its duration is the sum of theirs;
//! `start` and `end` are what the clock said.

use serde_json::json;
use whisker_api::messages;
use whisker_entity::{ActionLimits, Activation, ActivationId, Millis, Parameters, Response, Status};

use crate::{
    compose::{part::error, tally::Tally},
    invocation::Caller,
    resolve::Resolved,
};

/// A sequence or composition while it runs: all of its record but the end.
pub struct Whole {
    /// What it is recorded as, and what its parts name as their cause.
    pub id: ActivationId,
    /// On whose behalf it runs.
    pub caller: Caller,
    /// The sequence, or the conductor.
    pub resolved: Resolved,
    /// When it began.
    pub start: Millis,
    /// How many it is nested in.
    pub depth: u32,
    /// Whether it is a composition.
    pub conductor: bool,
}

impl Whole {
    /// Its record, once it has ended.
    pub fn record(&self, end: Millis, tally: Tally, response: Response) -> Activation {
        let (action, caller) = (&self.resolved.action, &self.caller);
        let mut annotations = Parameters::default();
        annotations.set_value("topmost", self.depth == 0);
        annotations.set_value("path", action.qualified_name().to_string());
        annotations.set_value("kind", "sequence");
        if self.conductor {
            annotations.set_value("conductor", true);
        }
        if self.depth > 0 {
            annotations.set_value("causedBy", "sequence");
        }
        annotations.set_value("waitTime", self.start.saturating_sub(caller.began));
        if let Some(binding) = &self.resolved.binding {
            annotations.set_value("binding", binding.to_string());
        }
        if let Some(memory) = tally.memory_mb {
            let defaults = ActionLimits::default();
            let limits = ActionLimits {
                memory,
                concurrency: defaults.concurrency,
                instances: defaults.instances,
                ..action.limits
            };
            annotations.set_value("limits", json!(limits));
        }
        Activation {
            namespace: caller.who.namespace.clone(),
            name: action.name.clone(),
            subject: caller.who.subject.to_string(),
            id: self.id,
            start: self.start,
            // A clock that was set back does not make it end before it began.
            end: end.max(self.start),
            cause: caller.cause,
            response,
            logs: tally.parts.iter().map(ActivationId::to_string).collect(),
            version: action.version,
            publish: false,
            annotations,
            duration: Some(tally.duration_ms),
        }
    }

    /// What will have become of it if nothing more is ever heard of it.
    pub fn interrupted(&self) -> Activation {
        let response = error(Status::WhiskError, messages::COMPOSITION_INTERRUPTED);
        self.record(self.start, Tally::default(), response)
    }
}
