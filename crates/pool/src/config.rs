//! Settings of a pool, as plain values with their units.

use std::time::Duration;

use crate::{KeepPolicy, Stem};

/// What a pool may use, and how long it keeps what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Memory for all containers together, in MB.
    pub memory_mb: u64,
    /// How many runs may wait; beyond that they are refused.
    pub max_waiting: usize,
    /// How many containers may be starting at once.
    pub max_starts: usize,
    /// After how many containers that did not start, or were gone when the
    /// run came, a run is refused.
    pub max_failures: u32,
    /// How long starts pause after one failed; doubles with each further one,
    /// up to 64 times as long.
    pub retry: Duration,
    /// How long a container is idle before it is paused; `None`: it never is.
    pub pause_grace: Option<Duration>,
    /// How long a container is idle before it is removed; to a policy that
    /// learns, how much idling one start is worth.
    pub keep_warm: Duration,
    /// Whether each action's own past decides instead.
    pub keep_policy: KeepPolicy,
    /// How long a run for which there is no memory lets others be run in
    /// containers that they have. After that these give way. Longer means
    /// fewer cold starts under load, and a longer wait for some.
    pub patience: Duration,
    /// Runs that take less than this on average are short: a warm container
    /// will be free for the next one long before a new one has started.
    pub short_run: Duration,
    /// How many containers an action of short runs has before its further runs
    /// wait for those (up to [`patience`](Self::patience)) instead of having
    /// more started. As many as there are processors: more only take time from
    /// each other.
    pub parallel: usize,
    /// Blank containers to keep at hand.
    pub stems: Vec<Stem>,
    /// Memory in MB for blank containers beyond these, as many as recent
    /// traffic needed; 0: none.
    pub learnt_stems_mb: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory_mb: 2048,
            max_waiting: 4096,
            max_starts: 4,
            max_failures: 3,
            retry: Duration::from_millis(100),
            pause_grace: Some(Duration::from_secs(10)),
            keep_warm: Duration::from_secs(300),
            keep_policy: KeepPolicy::Fixed,
            patience: Duration::from_secs(1),
            short_run: Duration::from_millis(10),
            parallel: usize::MAX,
            stems: vec![],
            learnt_stems_mb: 0,
        }
    }
}
