//! What a placement hears and what it answers.

use std::fmt;

use whisker_entity::ActivationId;

use crate::{End, Health};

/// Numbers an invoker, from 0 on without gaps, as OpenWhisk does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Invoker(pub u32);

impl fmt::Display for Invoker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invoker{}", self.0)
    }
}

/// Everything that can happen to a placement.
#[derive(Debug, Clone)]
pub enum Event {
    /// An invoker says that it lives.
    Ping {
        /// Which.
        invoker: Invoker,
        /// Its memory for containers, in MB.
        memory_mb: u64,
        /// What runs take of that, whoever sent them, in MB; `None` where it
        /// does not say.
        busy_mb: Option<u64>,
        /// Whether it takes work. One that drains says once that it does not.
        enabled: bool,
        /// Names this life of its process: another one has none of the
        /// containers of the former. 0 where nothing is known, as of an
        /// OpenWhisk's.
        life: u64,
    },
    /// The completion of an activation came.
    Ended {
        /// Which.
        activation: ActivationId,
        /// Where it ran, which is not where it was sent when that one died.
        invoker: Invoker,
        /// Whether the platform did its part.
        end: End,
    },
    /// The completion of a test activation came.
    Tested {
        /// Where it ran.
        invoker: Invoker,
        /// Whether it could.
        end: End,
    },
    /// The bus did not take an activation after all.
    Withdrawn(ActivationId),
    /// So many controllers share the invokers, this one among them; 0 counts
    /// as 1.
    Controllers(u32),
    /// Time went by: wanted each second.
    Tick,
}

/// Everything that a placement asks for, or lets know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Send a test activation, and say [`Event::Tested`] when it ended. It is
    /// booked nowhere.
    Test(Invoker),
    /// The completion of this activation did not come in time. Nothing is
    /// booked for it any more; who still waits for it need not.
    Expired {
        /// Which.
        activation: ActivationId,
        /// Where it was sent.
        invoker: Invoker,
    },
    /// An invoker's health is another one now.
    Changed {
        /// Whose.
        invoker: Invoker,
        /// What it was; `None`: it was not known.
        from: Option<Health>,
        /// What it is.
        to: Health,
    },
    /// Two living processes ping under this number: someone should be told.
    Twins(Invoker),
    /// A ping of a number beyond [`Config::max_invokers`](crate::Config), which
    /// was ignored.
    Beyond(Invoker),
}

/// Where an activation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// To whom.
    pub invoker: Invoker,
    /// Whether nobody had room for it: it will wait there.
    pub forced: bool,
    /// Whether a container with its code is believed to be free there.
    pub warm: bool,
}

/// Why an activation goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No invoker that may take it is healthy. OpenWhisk's words.
    #[error("No invokers available")]
    NoInvokers,
    /// Too many are under way.
    #[error("{0} activations are under way, and no more are taken")]
    Full(usize),
}

/// An invoker, as whoever operates it wants to see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub invoker: Invoker,
    /// How it is.
    pub health: Health,
    /// Its memory for containers, in MB; 0 before its first ping.
    pub memory_mb: u64,
    /// What this controller may book of it, in MB; with several controllers
    /// another number after each ping.
    pub share_mb: u64,
    /// What is booked, in MB; more than the share when runs were forced upon it.
    pub booked_mb: u64,
}

/// How much of what a placement holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Invokers by health: healthy, …
    pub healthy: usize,
    /// … unhealthy, …
    pub unhealthy: usize,
    /// … unresponsive, …
    pub unresponsive: usize,
    /// … and offline ones, those included of which only higher numbers were heard.
    pub offline: usize,
    /// Activations that are booked.
    pub in_flight: usize,
    /// Actions of which something runs or is believed to be warm.
    pub actions: usize,
    /// What is booked of all invokers, in MB.
    pub booked_mb: u64,
    /// This controller's share of the healthy invokers' memory, in MB.
    pub healthy_mb: u64,
}
