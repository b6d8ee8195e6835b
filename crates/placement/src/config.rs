//! Settings of a placement, as plain values with their units.

use std::time::Duration;

/// How an invoker is chosen. See the [crate].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// As OpenWhisk does.
    Sharding,
    /// Consistent hashing with bounded loads, which knows what is warm where.
    #[default]
    Bounded,
}

/// How invokers are chosen, and when they are given up.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How an invoker is chosen.
    pub policy: Policy,
    /// The part of all invokers, the first ones, that takes actions of known
    /// kinds: 0 to 1, and at least one of them.
    pub managed_fraction: f64,
    /// The part of all invokers, the last ones, that takes images that users
    /// bring: 0 to 1, at least what is not managed, and at least one of them.
    pub blackbox_fraction: f64,
    /// The least that a controller's share of an invoker's memory is, in MB:
    /// what the smallest action needs.
    pub min_memory_mb: u32,
    /// A completion is waited for so many times the time limit …
    pub timeout_factor: u32,
    /// … and so much longer.
    pub timeout_addon: Duration,
    /// Time limits below this one count as this one.
    pub standard_time_limit: Duration,
    /// After how long without a ping an invoker is offline.
    pub offline_after: Duration,
    /// How long after a test activation the next one is sent to an invoker
    /// that is not well, at most: the first few come sooner.
    pub test_every: Duration,
    /// How long invokers keep idle containers: what is believed to be warm.
    /// Only [`Policy::Bounded`] believes it.
    pub keep_warm: Duration,
    /// How far above the average an invoker may be loaded before others are
    /// preferred, in percent of the average: 100 and more. Only
    /// [`Policy::Bounded`] asks.
    pub load_bound_percent: u32,
    /// Up to what load nobody is spared, in percent of an invoker's share: as
    /// long as little is going on, actions stay at home. Half of the rest is
    /// added where controllers share invokers, since each knows only its own
    /// runs. Only [`Policy::Bounded`] asks.
    pub load_floor_percent: u32,
    /// How many activations may be under way; beyond that they are refused.
    pub max_in_flight: usize,
    /// How many invokers there may be; pings of higher numbers are refused.
    pub max_invokers: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            managed_fraction: 0.9,
            blackbox_fraction: 0.1,
            min_memory_mb: 128,
            timeout_factor: 2,
            timeout_addon: Duration::from_secs(60),
            standard_time_limit: Duration::from_secs(60),
            offline_after: Duration::from_secs(10),
            test_every: Duration::from_secs(60),
            keep_warm: Duration::from_secs(300),
            load_bound_percent: 125,
            load_floor_percent: 50,
            max_in_flight: 100_000,
            max_invokers: 10_000,
        }
    }
}

impl Config {
    /// How long the completion of a run with this limit is waited for. Twice
    /// the limit, since a cold start may take as long as the run.
    pub fn completion_timeout(&self, time_limit: Duration) -> Duration {
        let base = time_limit.max(self.standard_time_limit);
        base.saturating_mul(self.timeout_factor).saturating_add(self.timeout_addon)
    }
}
