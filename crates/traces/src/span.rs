//! Spans, and who makes them.

use std::{borrow::Cow, sync::Arc};

use metrics::Counter;
use tokio::sync::mpsc;

use crate::context::Context;

/// Whose side of a conversation a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Work of ours.
    Internal = 1,
    /// The answer to a request.
    Server = 2,
    /// A message that was sent.
    Producer = 4,
    /// A message that was received.
    Consumer = 5,
}

/// What time it is, in ns since 1970, and a random number.
pub struct Where {
    /// The wall clock, in ns.
    pub clock: Box<dyn Fn() -> u64 + Send + Sync>,
    /// The dice.
    pub dice: Box<dyn Fn() -> u128 + Send + Sync>,
    /// Of a hundred thousand traces that begin here so many are kept.
    pub kept_of_100_000: u32,
}

/// Makes spans, or none. Clones are the same.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<On>>);

pub(crate) struct On {
    pub at: Where,
    pub queue: mpsc::Sender<Ended>,
    pub dropped: Counter,
}

impl std::fmt::Debug for Tracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_on() { "on" } else { "off" })
    }
}

/// A span that goes on. It ends with [`Span::end`], or when it is dropped.
pub struct Span {
    on: Arc<On>,
    context: Context,
    parent: Option<u64>,
    name: Cow<'static, str>,
    kind: Kind,
    began_ns: u64,
    attributes: Vec<(&'static str, String)>,
    failed: bool,
}

/// A span that is over.
pub(crate) struct Ended {
    pub trace: u128,
    pub span: u64,
    pub parent: Option<u64>,
    pub state: Option<String>,
    pub name: Cow<'static, str>,
    pub kind: Kind,
    pub began_ns: u64,
    pub ended_ns: u64,
    pub attributes: Vec<(&'static str, String)>,
    pub failed: bool,
}

impl Tracer {
    /// Makes none.
    pub fn off() -> Self {
        Self(None)
    }

    pub(crate) fn on(on: On) -> Self {
        Self(Some(Arc::new(on)))
    }

    /// Whether anybody asks.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The time in ns; 0 where nobody asks, without a look at a clock.
    pub fn now(&self) -> u64 {
        self.0.as_ref().map_or(0, |on| (on.at.clock)())
    }

    /// Begins a span: a child of that, or a trace.
    pub fn begin(&self, name: impl Into<Cow<'static, str>>, kind: Kind, parent: Option<&Context>) -> Option<Span> {
        let on = self.0.as_ref()?;
        let began_ns = (on.at.clock)();
        Some(on.span(name.into(), kind, parent, began_ns))
    }

    /// A span that is over already, below that.
    pub fn told(
        &self,
        name: &'static str,
        kind: Kind,
        parent: &Context,
        from_to_ns: (u64, u64),
        attributes: Vec<(&'static str, String)>,
    ) {
        let Some(on) = &self.0 else { return };
        let mut span = on.span(name.into(), kind, Some(parent), from_to_ns.0);
        span.attributes = attributes;
        span.end_at(from_to_ns.1);
    }
}

impl On {
    fn span(self: &Arc<Self>, name: Cow<'static, str>, kind: Kind, parent: Option<&Context>, began_ns: u64) -> Span {
        let dice = (self.at.dice)();
        // No bits are of use twice: a trace's id and its first span's are two throws.
        let id = |dice: u128| u64::try_from(dice >> 64).unwrap_or_default().max(1);
        let context = match parent {
            Some(parent) => Context { span: id(dice), ..parent.clone() },
            None => {
                let sampled = (dice % 100_000) < u128::from(self.at.kept_of_100_000);
                Context { trace: dice.max(1), span: id((self.at.dice)()), sampled, state: None }
            }
        };
        let parent = parent.map(|parent| parent.span);
        Span { on: self.clone(), context, parent, name, kind, began_ns, attributes: Vec::new(), failed: false }
    }
}

impl Span {
    /// What its children belong to.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Says something about it.
    pub fn say(&mut self, key: &'static str, value: impl Into<String>) {
        if self.context.sampled {
            self.attributes.push((key, value.into()));
        }
    }

    /// What it is about went wrong.
    pub fn fail(&mut self) {
        self.failed = true;
    }

    /// It is over.
    pub fn end(self) {}

    fn end_at(mut self, ended_ns: u64) {
        self.tell(ended_ns);
        // It is told, and is not told again.
        self.context.sampled = false;
    }

    fn tell(&mut self, ended_ns: u64) {
        if !self.context.sampled {
            return;
        }
        let ended = Ended {
            trace: self.context.trace,
            span: self.context.span,
            parent: self.parent,
            state: self.context.state.take(),
            name: std::mem::take(&mut self.name),
            kind: self.kind,
            began_ns: self.began_ns,
            // A clock may be set back.
            ended_ns: ended_ns.max(self.began_ns),
            attributes: std::mem::take(&mut self.attributes),
            failed: self.failed,
        };
        if self.on.queue.try_send(ended).is_err() {
            self.on.dropped.increment(1);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if self.context.sampled {
            let now = (self.on.at.clock)();
            self.tell(now);
        }
    }
}
