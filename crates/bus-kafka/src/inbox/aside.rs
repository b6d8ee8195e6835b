//! Messages that were read and are not due.

use std::{collections::BTreeMap, time::Duration};

use super::{Incoming, Part, Place};

/// By when they are due, and a number that tells equals apart. That is of the
/// process's own time: whoever sets the clock on the wall moves nothing here.
pub(super) struct Aside<M> {
    messages: BTreeMap<(Duration, u64), (Incoming<M>, Place)>,
    bytes: usize,
    number: u64,
}

impl<M> Aside<M> {
    pub fn new() -> Self {
        Self { messages: BTreeMap::new(), bytes: 0, number: 0 }
    }

    pub fn put(&mut self, due: Duration, incoming: Incoming<M>, place: Place) {
        self.number += 1;
        self.bytes += incoming.bytes;
        self.messages.insert((due, self.number), (incoming, place));
    }

    /// Takes one out that is due.
    pub fn take(&mut self, now: Duration) -> Option<(Incoming<M>, Place)> {
        let first = self.messages.first_entry().filter(|first| first.key().0 <= now)?;
        let (incoming, place) = first.remove();
        self.bytes -= incoming.bytes;
        Some((incoming, place))
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.messages.first_key_value().map(|((due, _), _)| *due)
    }

    /// Forgets what came from a partition.
    pub fn revoked(&mut self, part: &Part) {
        self.messages.retain(|_, (_, place)| place.part != *part);
        self.bytes = self.messages.values().map(|(incoming, _)| incoming.bytes).sum();
    }

    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
