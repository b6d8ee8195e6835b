//! What a run was, as spans: told when its record is spooled, of the moments
//! that were noted while it ran.

use whisker_bus::ActivationMessage;
use whisker_entity::Status;
use whisker_pool::Reason;
use whisker_traces::{Context, Kind};

use crate::engine::Engine;

/// When init and run began and ended, in ns since 1970; zeros where traces are off.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Marks {
    pub init: Option<(u64, u64)>,
    pub run: Option<(u64, u64)>,
}

/// What of a run is to be told.
pub(crate) struct Tracing {
    context: Context,
    marks: Marks,
    activation: String,
    action: String,
    began_ns: u64,
    /// User code, and its answer, were done.
    ended_ns: u64,
}

impl Engine {
    /// What will be told of a run that has just ended, if anything.
    pub fn tracing(&self, message: &ActivationMessage, marks: Marks) -> Option<Tracing> {
        let tracer = &self.config.tracer;
        if !tracer.is_on() {
            return None;
        }
        let context = Context::of(message.trace_context.as_ref()?).filter(|context| context.sampled)?;
        Some(Tracing {
            context,
            marks,
            activation: message.activation.to_string(),
            action: message.action.to_string(),
            began_ns: message.began.saturating_mul(1_000_000),
            ended_ns: tracer.now(),
        })
    }

    /// Tells it, now that its record is safe.
    pub fn trace(&self, tracing: &Tracing, status: Status, reason: Reason) {
        let Tracing { context, marks, activation, action, began_ns, ended_ns } = tracing;
        let tell = |name, kind, from, to, more: Vec<(&'static str, String)>| {
            let mut attributes = vec![("activation.id", activation.clone()), ("action.name", action.clone())];
            attributes.extend(more);
            self.config.tracer.told(name, kind, context, (from, to), attributes);
        };
        let starts = [marks.init, marks.run].into_iter().flatten().map(|(from, _)| from);
        let started_ns = starts.min().unwrap_or(*ended_ns);
        let container = match reason {
            Reason::Cold => "cold",
            Reason::Prewarmed => "prewarmed",
            Reason::Paused => "paused",
            Reason::Warm => "warm",
        };
        tell("queue", Kind::Consumer, *began_ns, started_ns, vec![("container", container.to_owned())]);
        if let Some((from, to)) = marks.init {
            tell("init", Kind::Internal, from, to, vec![]);
        }
        if let Some((from, to)) = marks.run {
            tell("run", Kind::Internal, from, to, vec![("status", status.words().to_owned())]);
        }
        tell("record", Kind::Internal, *ended_ns, self.config.tracer.now(), vec![]);
    }
}
