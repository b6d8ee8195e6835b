//! Settings of the embedded bus, as plain values.

use whisker_entity::Millis;

/// Settings of the embedded bus.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where accepted messages are kept, and what that survives.
    pub journal: whisker_journal::Config,
    /// How many messages wait for the invoker before the queue is full.
    pub queue_messages: usize,
    /// How many bytes of arguments wait with them. Messages of an earlier
    /// life wait in the journal and count for neither.
    pub queue_bytes: usize,
    /// How many messages wait aside, for their next run or for their dead
    /// letter to be posted, before no more may. One namespace gets a quarter.
    /// They wait in the journal, of which they may take half.
    pub aside_messages: usize,
    /// The time of day when the bus is opened. What an earlier life put aside
    /// is due when it was to be by that; without it, at once.
    pub now: Option<Millis>,
}

impl Config {
    /// The defaults: 10,000 messages and 256 MiB wait at most, and 10,000
    /// messages aside.
    pub fn new(journal: whisker_journal::Config) -> Config {
        Config { journal, queue_messages: 10_000, queue_bytes: 256 << 20, aside_messages: 10_000, now: None }
    }
}
