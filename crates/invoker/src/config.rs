//! Settings, as plain values with their units.

use std::{collections::BTreeSet, time::Duration};

use whisker_bus::InvokerId;
use whisker_entity::{Allowance, NamespaceLimits};
use whisker_events::Events;
use whisker_pool::{KeepPolicy, Stem};
use whisker_traces::Tracer;

/// Settings of one invoker. Whoever fills it checks the ranges.
#[derive(Debug, Clone)]
pub struct Config {
    /// What it is called on the bus.
    pub id: InvokerId,
    /// Memory for all containers together, in MB.
    pub user_memory_mb: u64,
    /// How many messages it takes from the bus before their records are
    /// written: those that run and those that wait for a container.
    pub max_in_flight: u32,
    /// Bytes of arguments that these may have together, about: beyond that
    /// messages wait on the bus, which has a bound of its own.
    pub max_in_flight_bytes: u64,
    /// How many containers it starts at once.
    pub max_starts: usize,
    /// How long the start of a container may take.
    pub start_timeout: Duration,
    /// How many containers may fail to start for a run before it is given up.
    pub max_failures: u32,
    /// How long a container is idle before it is paused; `None`: never.
    pub pause_grace: Option<Duration>,
    /// How long a container is idle before it is removed; to a policy that
    /// learns, how much idling one start is worth.
    pub keep_warm: Duration,
    /// Whether each action's own past decides instead.
    pub keep_policy: KeepPolicy,
    /// How long a run without memory lets warm ones of others go first.
    pub patience: Duration,
    /// How many containers an action of short runs has before further runs
    /// wait for those; best as many as there are processors.
    pub parallel: usize,
    /// Kinds of which a container runs one activation at a time, whatever
    /// concurrency an action asks for: the others get containers of their own.
    pub serial: BTreeSet<String>,
    /// Blank containers to keep at hand.
    pub prewarm: Vec<Stem>,
    /// Memory in MB for blank containers beyond these, as many as recent
    /// traffic needed; 0: none.
    pub prewarm_learnt_mb: u64,
    /// How often timers (pause, keep warm, retries of starts) are looked at.
    pub tick: Duration,
    /// What any namespace may have its actions ask for, and results carry: an
    /// action beyond it, or beyond what its namespace has of it, is not run.
    pub most: Allowance,
    /// What a namespace gets whose own limits do not say; `None`: all of that.
    pub unset: Option<Allowance>,
    /// Bytes of actions (without their code) that are remembered, about.
    pub cached_action_bytes: usize,
    /// Bytes of code that are remembered, about.
    pub cached_code_bytes: usize,
    /// Records that are written to the store at once, at most.
    pub batch_records: usize,
    /// Bytes of records that are written to the store at once, about.
    pub batch_bytes: usize,
    /// How long a record waits for others to be written with it.
    pub batch_wait: Duration,
    /// Longest pause between two tries while the store is away.
    pub store_retry: Duration,
    /// Bytes of unwritten records that are also kept in memory; those beyond
    /// are read back from the spool.
    pub spool_memory_bytes: u64,
    /// Bytes of unwritten records beyond which no messages are taken. Less
    /// than the spool's journal may hold, which has to take in what runs.
    pub spool_limit_bytes: u64,
    /// How long runs under way may take to end at shutdown.
    pub stop_grace: Duration,
    /// How long killed containers may take to be gone at shutdown.
    pub kill_grace: Duration,
    /// Who is told of activations that ended.
    pub events: Events,
    /// Who is told where their time went.
    pub tracer: Tracer,
}

impl Default for Config {
    /// OpenWhisk's limits, and the times of a server on one machine.
    fn default() -> Self {
        Self {
            id: InvokerId(0),
            user_memory_mb: 2048,
            max_in_flight: 4096,
            max_in_flight_bytes: 256 << 20,
            max_starts: 4,
            start_timeout: Duration::from_secs(60),
            max_failures: 3,
            pause_grace: Some(Duration::from_secs(10)),
            keep_warm: Duration::from_secs(300),
            keep_policy: KeepPolicy::Fixed,
            patience: Duration::from_secs(1),
            parallel: usize::MAX,
            serial: BTreeSet::new(),
            prewarm: vec![],
            prewarm_learnt_mb: 0,
            tick: Duration::from_millis(250),
            most: Allowance::default(),
            unset: None,
            cached_action_bytes: 16 << 20,
            cached_code_bytes: 32 << 20,
            batch_records: 512,
            batch_bytes: 4 << 20,
            batch_wait: Duration::from_millis(10),
            store_retry: Duration::from_secs(2),
            spool_memory_bytes: 32 << 20,
            spool_limit_bytes: 512 << 20,
            stop_grace: Duration::from_secs(30),
            kill_grace: Duration::from_secs(5),
            events: Events::off(),
            tracer: Tracer::off(),
        }
    }
}

impl Config {
    /// What the actions of a namespace with these limits of its own may.
    pub(crate) fn allowance(&self, own: &NamespaceLimits) -> Allowance {
        self.most.grant(own, self.unset.as_ref().unwrap_or(&self.most))
    }
}
