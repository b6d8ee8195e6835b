//! Limits of actions and the ranges they must lie in.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::NamespaceLimits;

/// Bytes in a megabyte, as OpenWhisk counts.
pub const MB: u64 = 1024 * 1024;

/// The limits one action runs under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ActionLimits {
    /// Longest run, in ms; initialisation gets as much again.
    pub timeout: u64,
    /// Memory of a container, in MB.
    pub memory: u32,
    /// Log bytes kept of one activation, in MB; 0 collects none.
    #[serde(default = "default_logs")]
    pub logs: u32,
    /// Runs that one container may have under way at once.
    #[serde(default = "default_concurrency")]
    pub concurrency: u32,
    /// Containers of this action at once; absent: as many as the namespace may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<u32>,
}

fn default_logs() -> u32 {
    ActionLimits::default().logs
}

fn default_concurrency() -> u32 {
    ActionLimits::default().concurrency
}

impl Default for ActionLimits {
    fn default() -> Self {
        Self { timeout: 60_000, memory: 256, logs: 10, concurrency: 1, instances: None }
    }
}

/// An inclusive range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitRange {
    /// Smallest allowed value.
    pub min: u64,
    /// Largest allowed value.
    pub max: u64,
}

impl LimitRange {
    /// A range from `min` to `max`.
    pub const fn new(min: u64, max: u64) -> Self {
        Self { min, max }
    }

    fn nearest(self, value: u64) -> u64 {
        value.max(self.min).min(self.max)
    }

    /// What a namespace asks for, or else `unset`, as far as this allows.
    fn grant(self, min: Option<u64>, max: Option<u64>, unset: Self) -> Self {
        Self { min: min.unwrap_or(unset.min).max(self.min), max: max.unwrap_or(unset.max).min(self.max) }
    }
}

/// What the operator allows, for every namespace or for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitRanges {
    /// Of `timeout`, in ms.
    pub timeout_ms: LimitRange,
    /// Of `memory`, in MB.
    pub memory_mb: LimitRange,
    /// Of `logs`, in MB.
    pub logs_mb: LimitRange,
    /// Of `concurrency`.
    pub concurrency: LimitRange,
}

impl Default for LimitRanges {
    /// OpenWhisk's defaults.
    fn default() -> Self {
        Self {
            timeout_ms: LimitRange::new(100, 300_000),
            memory_mb: LimitRange::new(128, 512),
            logs_mb: LimitRange::new(0, 10),
            concurrency: LimitRange::new(1, 1),
        }
    }
}

impl LimitRanges {
    /// Whether limits lie in these ranges, in the order in which OpenWhisk's
    /// invokers look: of several that do not, the first is told.
    pub fn check(&self, limits: &ActionLimits) -> Result<(), OutOfRange> {
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        Limited::Timeout.check(signed(limits.timeout), self.timeout_ms)?;
        Limited::Memory.check(limits.memory.into(), self.memory_mb)?;
        Limited::Concurrency.check(limits.concurrency.into(), self.concurrency)?;
        Limited::Logs.check(limits.logs.into(), self.logs_mb)
    }

    /// The limits in these ranges that are nearest to those: what an action
    /// gets that asks for none, where an operator allows less than is usual.
    pub fn nearest(&self, limits: ActionLimits) -> ActionLimits {
        let near = |is: u32, range: LimitRange| u32::try_from(range.nearest(is.into())).unwrap_or(u32::MAX);
        ActionLimits {
            timeout: self.timeout_ms.nearest(limits.timeout),
            memory: near(limits.memory, self.memory_mb),
            logs: near(limits.logs, self.logs_mb),
            concurrency: near(limits.concurrency, self.concurrency),
            instances: limits.instances,
        }
    }
}

/// A limit of actions that has a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// In ms.
    Timeout,
    /// In MB.
    Memory,
    /// In MB.
    Logs,
    /// A number of runs.
    Concurrency,
}

impl Limited {
    /// Whether a value lies in its range.
    pub fn check(self, is: i64, range: LimitRange) -> Result<(), OutOfRange> {
        let signed = |bound: u64| i64::try_from(bound).unwrap_or(i64::MAX);
        let (is_below, allowed) = if is < signed(range.min) {
            (true, range.min)
        } else if is > signed(range.max) {
            (false, range.max)
        } else {
            return Ok(());
        };
        Err(OutOfRange { limit: self, is, is_below, allowed })
    }
}

/// A limit outside of its range. Its text is OpenWhisk's, as users see it on
/// a put and in the records of what was not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub struct OutOfRange {
    limit: Limited,
    is: i64,
    is_below: bool,
    allowed: u64,
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, unit) = match self.limit {
            Limited::Timeout => ("duration", " milliseconds"),
            Limited::Memory => ("memory size", " MB"),
            Limited::Logs => ("log size", " MB"),
            Limited::Concurrency => ("concurrency", ""),
        };
        let side = if self.is_below { "below" } else { "exceeds" };
        let Self { is, allowed, .. } = self;
        write!(f, "requirement failed: {what} {is}{unit} {side} allowed threshold of {allowed}{unit}")
    }
}

/// What one namespace may ask for and carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Ranges of its actions' limits.
    pub actions: LimitRanges,
    /// Most that parameters, and annotations, of an entity take, in bytes.
    pub parameters_bytes: u64,
    /// Longest payload, and longest result, in bytes.
    pub payload_bytes: u64,
    /// Bytes kept of a longer result.
    pub truncation_bytes: u64,
}

impl Default for Allowance {
    /// OpenWhisk's.
    fn default() -> Self {
        Self { actions: LimitRanges::default(), parameters_bytes: MB, payload_bytes: MB, truncation_bytes: MB }
    }
}

impl Allowance {
    /// What a namespace gets of this, which is the most that any may get: what
    /// its limits say, or else what `unset` says, never more.
    pub fn grant(&self, own: &NamespaceLimits, unset: &Allowance) -> Allowance {
        let (most, unset_actions) = (&self.actions, &unset.actions);
        let wide = |value: Option<u32>| value.map(u64::from);
        let size = |own: Option<crate::ByteSize>, unset: u64, most: u64| own.map_or(unset, |s| s.to_bytes()).min(most);
        Allowance {
            actions: LimitRanges {
                timeout_ms: most.timeout_ms.grant(
                    own.min_action_timeout,
                    own.max_action_timeout,
                    unset_actions.timeout_ms,
                ),
                memory_mb: most.memory_mb.grant(
                    wide(own.min_action_memory),
                    wide(own.max_action_memory),
                    unset_actions.memory_mb,
                ),
                logs_mb: most.logs_mb.grant(
                    wide(own.min_action_logs),
                    wide(own.max_action_logs),
                    unset_actions.logs_mb,
                ),
                concurrency: most.concurrency.grant(
                    wide(own.min_action_concurrency),
                    wide(own.max_action_concurrency),
                    unset_actions.concurrency,
                ),
            },
            parameters_bytes: size(own.max_parameter_size, unset.parameters_bytes, self.parameters_bytes),
            payload_bytes: size(own.max_payload_size, unset.payload_bytes, self.payload_bytes),
            truncation_bytes: size(own.truncation_size, unset.truncation_bytes, self.truncation_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_gets_what_it_asks_for_within_what_the_operator_allows() {
        let range = LimitRange::new;
        let most = Allowance {
            actions: LimitRanges { memory_mb: range(128, 2048), ..LimitRanges::default() },
            payload_bytes: 10 * MB,
            ..Allowance::default()
        };
        let unset = Allowance::default();
        assert_eq!(most.grant(&NamespaceLimits::default(), &unset), unset);
        for (own, memory_mb) in [
            ((None, Some(64)), range(128, 64)),
            ((Some(64), Some(1024)), range(128, 1024)),
            ((Some(256), Some(4096)), range(256, 2048)),
        ] {
            let own = NamespaceLimits { min_action_memory: own.0, max_action_memory: own.1, ..Default::default() };
            assert_eq!(most.grant(&own, &unset).actions.memory_mb, memory_mb, "{own:?}");
        }
        for (own, bytes) in [("2 MB", 2 * MB), ("11 MB", 10 * MB), ("0 B", 0)] {
            let own = NamespaceLimits { max_payload_size: own.parse().ok(), ..Default::default() };
            assert_eq!(most.grant(&own, &unset).payload_bytes, bytes);
        }
    }

    #[test]
    fn what_asks_for_no_limits_gets_allowed_ones() {
        let usual = ActionLimits::default();
        assert_eq!(LimitRanges::default().nearest(usual), usual);
        let narrow = LimitRanges {
            timeout_ms: LimitRange::new(100, 3_000),
            memory_mb: LimitRange::new(300, 512),
            ..LimitRanges::default()
        };
        assert_eq!(narrow.nearest(usual), ActionLimits { timeout: 3_000, memory: 300, ..usual });
    }

    #[test]
    fn limits_out_of_range_are_told_in_openwhisks_words() {
        let good = ActionLimits::default();
        assert_eq!(LimitRanges::default().check(&good), Ok(()));
        for (limits, words) in [
            (
                ActionLimits { timeout: 99, ..good },
                "duration 99 milliseconds below allowed threshold of 100 milliseconds",
            ),
            (
                ActionLimits { memory: 513, timeout: 60_000, ..good },
                "memory size 513 MB exceeds allowed threshold of 512 MB",
            ),
            (ActionLimits { logs: 11, ..good }, "log size 11 MB exceeds allowed threshold of 10 MB"),
            (ActionLimits { concurrency: 2, ..good }, "concurrency 2 exceeds allowed threshold of 1"),
            (
                ActionLimits { timeout: 300_001, memory: 1, ..good },
                "duration 300001 milliseconds exceeds allowed threshold of 300000 milliseconds",
            ),
        ] {
            let told = LimitRanges::default().check(&limits).map_err(|e| e.to_string());
            assert_eq!(told, Err(format!("requirement failed: {words}")));
        }
    }
}
