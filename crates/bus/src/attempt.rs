//! What is kept of a run that failed and is followed by another, and of an
//! activation that failed for good.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use whisker_entity::{Millis, QualifiedName, Status};

/// A run that failed, of an activation that runs again. Whoever makes one
/// bounds its texts: it is kept until the activation ends.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    pub start: Millis,
    /// How long it took, in ms.
    pub duration: u64,
    /// How it ended.
    pub status: Status,
    /// What it answered as its error, as JSON text.
    pub error: String,
    /// The end of its log.
    pub logs: Vec<String>,
}

/// Errors and logs are their owner's.
impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("start", &self.start)
            .field("duration", &self.duration)
            .field("status", &self.status)
            .field("log_lines", &self.logs.len())
            .finish_non_exhaustive()
    }
}

/// When something is due: on the wall, for whoever reads it after a restart,
/// and from now on, which no setting of clocks changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The time of day.
    pub at: Millis,
    /// The time until then.
    pub after: Duration,
}

/// What a trigger is told of an activation that failed for good, beside what
/// its message says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// The trigger to fire.
    pub trigger: QualifiedName,
    /// How the last run ended.
    pub status: Status,
    /// What it answered as its error, as JSON text.
    pub error: String,
    /// How often it ran, or was to run.
    pub attempts: u32,
    /// Why it does not run again.
    pub reason: String,
    /// When it had failed for good.
    pub failed: Millis,
}

/// Errors are their owner's.
impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letter")
            .field("trigger", &self.trigger)
            .field("status", &self.status)
            .field("attempts", &self.attempts)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}
