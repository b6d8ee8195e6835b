//! What the parts of a composition add up to in its record.

use whisker_entity::{Activation, ActivationId};

/// Parts so far: which, how long, and how much memory the largest took.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Activations of the parts, in the order in which they ended.
    pub parts: Vec<ActivationId>,
    /// Sum of the parts' durations: what is paid for, not what it took.
    pub duration_ms: u64,
    /// Largest memory limit among the parts that ran, in MB.
    pub memory_mb: Option<u32>,
}

impl Tally {
    /// Nothing yet, save that it takes at least so much memory.
    pub fn of_at_least(memory_mb: u32) -> Self {
        Self { memory_mb: Some(memory_mb), ..Self::default() }
    }

    /// A part has ended.
    pub fn add(&mut self, part: &Activation) {
        self.parts.push(part.id);
        self.duration_ms += part.duration.unwrap_or_else(|| part.end.saturating_sub(part.start));
        let memory = part.annotations.get("limits").and_then(|limits| limits["memory"].as_u64());
        self.memory_mb = self.memory_mb.max(memory.and_then(|mb| u32::try_from(mb).ok()));
    }

    /// A part goes on, but is not waited for any longer.
    pub fn add_lost(&mut self, part: ActivationId) {
        self.parts.push(part);
    }
}
