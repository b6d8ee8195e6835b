//! Settings of the embedded bus, as plain values.

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
}

impl Config {
    /// The defaults: 10,000 messages and 256 MiB wait at most.
    pub fn new(journal: whisker_journal::Config) -> Config {
        Config { journal, queue_messages: 10_000, queue_bytes: 256 << 20 }
    }
}
