//! Limits of actions and the ranges they must lie in.

use serde::{Deserialize, Serialize};

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
