//! What is due, and when.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Milliseconds since the beginning.
pub(crate) type Time = u64;

/// Due things in order; of two at one time the one that was entered first.
#[derive(Debug)]
pub(crate) struct Agenda<E> {
    now: Time,
    heap: BinaryHeap<Reverse<(Time, u64, usize)>>,
    events: Vec<Option<E>>,
    vacant: Vec<usize>,
    next: u64,
}

impl<E> Agenda<E> {
    pub fn new() -> Self {
        Self { now: 0, heap: BinaryHeap::new(), events: Vec::new(), vacant: Vec::new(), next: 0 }
    }

    pub fn now(&self) -> Time {
        self.now
    }

    pub fn after(&mut self, delay: Time, event: E) {
        let slot = self.vacant.pop().unwrap_or(self.events.len());
        match self.events.get_mut(slot) {
            Some(vacant) => *vacant = Some(event),
            None => self.events.push(Some(event)),
        }
        self.next += 1;
        self.heap.push(Reverse((self.now + delay, self.next, slot)));
    }

    /// The next one, if it is due before the end.
    pub fn next(&mut self, end: Time) -> Option<E> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
        if at >= end {
            return None;
        }
        self.now = at;
        self.vacant.push(slot);
        self.events.get_mut(slot)?.take()
    }
}
