//! What a pool hears and what it answers.

use crate::{Shape, Ticket, Want};

/// Names one container for as long as the pool lives; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(pub(crate) u64);

/// Everything that can happen to a pool.
#[derive(Debug)]
pub enum Event<R> {
    /// A run is to be done.
    Arrived {
        /// The caller's own run.
        run: R,
        /// What it needs.
        want: Want,
    },
    /// A container that was ordered is there.
    Started(SlotId),
    /// A container that was ordered could not be made.
    NotStarted {
        /// Which.
        slot: SlotId,
        /// Whether trying again would be in vain.
        hopeless: bool,
    },
    /// The first run of a container has loaded the action's code, and goes on.
    Initialised(SlotId),
    /// A container is thawed, and the run that it was thawed for goes on.
    Resumed(SlotId),
    /// A run is over.
    Ended {
        /// Where it ran.
        slot: SlotId,
        /// Whether it left its container fit for another one.
        end: End,
    },
    /// A container was gone before its run could begin.
    Returned {
        /// Which.
        slot: SlotId,
        /// The run, as it was given.
        ticket: Ticket<R>,
    },
    /// A container is paused, as ordered.
    Paused(SlotId),
    /// A container ended by itself, or does not obey.
    Died(SlotId),
    /// A container is gone and its memory free.
    Removed(SlotId),
    /// Time went by.
    Tick,
    /// No more runs are wanted: what waits is refused, what is under way is
    /// waited for, and every container goes.
    Close,
}

/// How a run left its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As good as before.
    Fit,
    /// Of no more use: it failed, hung, or left who knows what behind.
    Unfit,
}

/// Everything that a pool asks for.
#[derive(Debug)]
pub enum Order<R> {
    /// Make a container, and say [`Event::Started`] or [`Event::NotStarted`].
    Start {
        /// Its name.
        slot: SlotId,
        /// What it is to be like.
        shape: Shape,
    },
    /// Do a run, and say [`Event::Ended`] or [`Event::Returned`]; before that
    /// [`Event::Resumed`] or [`Event::Initialised`], where the reason says so.
    Run {
        /// In which container.
        slot: SlotId,
        /// What.
        ticket: Ticket<R>,
        /// What is to be done first.
        reason: Reason,
    },
    /// Freeze a container, and say [`Event::Paused`] or [`Event::Died`].
    Pause(SlotId),
    /// Destroy a container, and say [`Event::Removed`].
    Remove(SlotId),
    /// Tell whoever wants this run that it will not be done.
    Refuse {
        /// What.
        ticket: Ticket<R>,
        /// Why.
        refusal: Refusal,
    },
}

/// Why a container takes a run, and so what is to be done before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It was started for the action: load the code.
    Cold,
    /// It was started before anyone asked: load the code.
    Prewarmed,
    /// It has the code, but is frozen: thaw it.
    Paused,
    /// It has the code.
    Warm,
}

/// Why a run is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Too many wait already.
    QueueFull,
    /// It wants more memory than there is for all.
    TooLarge,
    /// No container could be made for it.
    NotStarted,
    /// The pool is closed.
    Closed,
}

/// How much of what a pool holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Memory of all containers that are not gone, in MB.
    pub memory_mb: u64,
    /// That of those that have runs, or are started for some.
    pub busy_mb: u64,
    /// Containers that are not gone.
    pub containers: usize,
    /// Those that have code and nothing to do, paused or not.
    pub idle: usize,
    /// Those that are blank.
    pub prewarmed: usize,
    /// Runs without a container.
    pub waiting: usize,
    /// Actions that have containers or waiting runs.
    pub actions: usize,
}
