//! What goes into an inbox, and what comes out of it.

use std::{sync::Arc, time::Duration};

use whisker_bus::{Attempt, Redelivered};
use whisker_entity::{ActivationId, Millis};

use crate::claims::Facts;

/// A message as it was read. Of what it says (`M`) the inbox knows no more than
/// stands beside it.
#[derive(Debug, Clone)]
pub struct Incoming<M> {
    /// What it says.
    pub message: M,
    /// What is to run.
    pub activation: ActivationId,
    /// Whether a client waits for it.
    pub blocking: bool,
    /// Runs of it that failed.
    pub earlier: Vec<Attempt>,
    /// When it is to run, on its writer's wall; at once, mostly.
    pub due: Millis,
    /// When it was written, on the same wall.
    pub written: Millis,
    /// Whether an earlier reader may have had it.
    pub doubtful: bool,
    /// Whether a claim is needed though a client waits: it was read in
    /// another's stead.
    pub in_stead: bool,
    /// Whether it came by a topic of somebody's own.
    pub apart: bool,
    /// Its size.
    pub bytes: usize,
}

impl<M> Incoming<M> {
    /// Which run it asks for: how many failed before.
    pub(super) fn run(&self) -> u32 {
        u32::try_from(self.earlier.len()).unwrap_or(u32::MAX)
    }

    /// How long it is to wait, read at this time of day. No longer than its
    /// writer wanted, who may have another clock.
    pub(super) fn waits(&self, wall: Millis) -> Duration {
        Duration::from_millis(self.due.saturating_sub(wall.max(self.written)))
    }

    pub(super) fn facts(&self) -> Facts {
        Facts {
            activation: self.activation,
            run: self.run(),
            blocking: self.blocking,
            doubtful: self.doubtful,
            written: self.written,
        }
    }
}

/// A message that is given out.
#[derive(Debug, Clone)]
pub struct Given<M> {
    /// What it says.
    pub message: M,
    /// Whether somebody may have begun it.
    pub redelivered: Redelivered,
    /// Runs of it that failed.
    pub earlier: Vec<Attempt>,
    /// From which topic it came.
    pub topic: Arc<str>,
    /// When it was written.
    pub written: Millis,
}

/// What can be received now.
#[derive(Debug)]
pub enum Next<M> {
    /// This message.
    Message(Given<M>),
    /// Nothing before this time of the process.
    Later(Duration),
    /// Nothing.
    Nothing,
    /// Nothing ever again.
    Closed,
}

/// What is asked of whoever wants to begin a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Nothing: go on.
    Go,
    /// To write a claim of this run, and to wait for what [it comes to](super::Noted::won).
    Claim(u32),
    /// To leave it.
    Leave,
}
