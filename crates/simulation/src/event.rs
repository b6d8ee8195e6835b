//! What can happen.

use whisker_entity::ActivationId;

use crate::{
    broker::{Life, Message, Post},
    ledger::Record,
};

/// What can happen.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    /// A client comes, to whatever controller there is.
    Client,
    /// Something reaches the broker.
    Reaches(Post),
    /// A controller hears that a message is safe.
    Reported(Life, ActivationId),
    /// An invoker hears that a run's successor is safe.
    Followed(Life, ActivationId),
    /// A controller waited long enough for that.
    Unreported(Life, ActivationId),
    /// A client waited long enough for a result.
    Waited(Life, ActivationId),
    /// A process looks what the broker has for it.
    Polls(Life),
    /// A second went by for a process.
    Second(Life),
    /// An invoker commits.
    Commits(Life),
    /// A run is over.
    Ends(Life, Message),
    /// Its record is on the invoker's disk.
    Spooled(Life, ActivationId, Record),
    /// Only with sabotage: it is there at last.
    SpooledLate(Life, ActivationId),
    /// An invoker brings records to the store.
    Flushes(Life),
    /// Its claim was not read.
    Unclaimed(Life, Message),
    /// Something that could not be done then.
    Interrupted(Life, Message),
    Starts(usize),
    Chaos,
    Coordinates,
    Heals,
}

impl Event {
    /// The process to which it happens, if it lives and is not stopped.
    pub fn whose(self) -> Option<Life> {
        match self {
            Event::Reported(who, _)
            | Event::Followed(who, _)
            | Event::Unreported(who, _)
            | Event::Waited(who, _)
            | Event::Polls(who)
            | Event::Second(who)
            | Event::Commits(who)
            | Event::Ends(who, _)
            | Event::Spooled(who, ..)
            | Event::SpooledLate(who, _)
            | Event::Flushes(who)
            | Event::Unclaimed(who, _)
            | Event::Interrupted(who, _) => Some(who),
            Event::Client | Event::Reaches(_) | Event::Starts(_) | Event::Chaos | Event::Coordinates | Event::Heals => {
                None
            }
        }
    }
}
