//! What the pool knows of an action: only as long as it has containers or
//! waiting runs.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use whisker_entity::{EntityName, QualifiedName};

use crate::{Config, SlotId, slot::Slot};

/// What a container belongs to once it has code: it never runs anything else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Who invokes. Two namespaces that use one public action get containers
    /// of their own.
    pub namespace: EntityName,
    /// What is run.
    pub action: QualifiedName,
    /// The state of its document.
    pub revision: Arc<str>,
    /// A digest of what this invocation wants in the environment, which a
    /// container gets once, with its code: who wants it otherwise (by
    /// overriding a parameter meant for it) needs a container of its own. 0
    /// for the many that want nothing there.
    pub environment: u64,
}

/// What a container is made for, before it belongs to an action.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape {
    /// Runtime kind, such as `nodejs:20`.
    pub kind: Arc<str>,
    /// Its memory limit in MB: what it costs.
    pub memory_mb: u32,
    /// Whether runs may overlap in it.
    pub concurrent: bool,
}

/// What a run needs.
#[derive(Debug, Clone)]
pub struct Want {
    /// Where it may run.
    pub key: Arc<Key>,
    /// What a new container for it is like.
    pub shape: Shape,
    /// How many runs one of its containers takes at once; 0 counts as 1.
    pub concurrency: u32,
}

/// A run and its place in the queue. It travels with the order to run, and
/// comes back if the container was gone before the run began.
#[derive(Debug)]
pub struct Ticket<R> {
    /// The caller's own run.
    pub run: R,
    /// What it needs.
    pub want: Want,
    /// When it arrived, on the clock of the events.
    pub arrived: Duration,
    /// Rises from run to run: who comes first.
    pub(crate) number: u64,
    /// Containers that failed to start for it, or were gone when it came.
    pub(crate) failures: u32,
}

/// Orders slots by when they became idle. The number tells apart what
/// happened at one time.
pub(crate) type Stamp = (Duration, u64);

/// The containers and the waiting runs of one key.
#[derive(Debug)]
pub(crate) struct Action<R> {
    pub shape: Shape,
    pub concurrency: u32,
    /// Oldest first.
    pub waiting: VecDeque<Ticket<R>>,
    /// Busy, with room for more.
    pub open: BTreeSet<SlotId>,
    /// Idle or paused, by when they became so.
    pub idle: BTreeSet<(Stamp, SlotId)>,
    /// Runs that its containers will take once they have started, thawed,
    /// frozen or loaded.
    pub promised: u64,
    /// Its containers, and those that start for it.
    pub slots: usize,
    /// Whether it stands in line for a container.
    pub claims: bool,
    /// A newer revision was asked for: its containers go when they are idle.
    pub outdated: bool,
    /// How long its runs take on average, lately; `None` before the first.
    pub mean: Option<Duration>,
}

impl<R> Action<R> {
    pub fn new(want: &Want) -> Self {
        Self {
            shape: want.shape.clone(),
            concurrency: want.concurrency.max(1),
            waiting: VecDeque::new(),
            open: BTreeSet::new(),
            idle: BTreeSet::new(),
            promised: 0,
            slots: 0,
            claims: false,
            outdated: false,
            mean: None,
        }
    }

    /// Whether more containers are needed than are on their way.
    pub fn is_short(&self, now: Duration, config: &Config) -> bool {
        self.waiting.len() as u64 > self.promised && !self.is_soon_served(now, config)
    }

    /// Whether those who wait are served sooner by the containers there are
    /// than by new ones. It is a guess from the past, so nobody has to wait for
    /// its coming true longer than the patience.
    fn is_soon_served(&self, now: Duration, config: &Config) -> bool {
        let quick = self.mean.is_some_and(|mean| mean < config.short_run);
        let patient = self.waiting.front().is_some_and(|oldest| oldest.arrived + config.patience > now);
        quick && patient && self.slots >= config.parallel
    }

    /// Notes how long a run took. Each counts for an eighth of what is
    /// remembered.
    pub fn took(&mut self, run: Duration) {
        self.mean = Some(self.mean.map_or(run, |mean| (mean * 7 + run) / 8));
    }

    /// How many waiting runs a container in this state stands for.
    pub fn promise(&self, slot: Slot) -> u64 {
        match slot {
            Slot::Starting | Slot::Pausing => u64::from(self.concurrency),
            // Its first run is given already.
            Slot::Warming | Slot::Resuming => u64::from(self.concurrency - 1),
            Slot::Prewarmed
            | Slot::Idle
            | Slot::Busy { .. }
            | Slot::Paused
            | Slot::Spent { .. }
            | Slot::Removing
            | Slot::Gone => 0,
        }
    }

    /// Puts a run back among those that wait, where its age belongs.
    pub fn put_back(&mut self, ticket: Ticket<R>) {
        let at = self.waiting.partition_point(|waiting| waiting.number < ticket.number);
        self.waiting.insert(at, ticket);
    }
}
