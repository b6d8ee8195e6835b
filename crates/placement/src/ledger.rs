//! What is under way, and until when its completion is waited for.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use whisker_entity::ActivationId;

/// One activation that is under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Booking {
    /// Its action: a number of `warm.rs`.
    pub action: usize,
    /// Where it was sent.
    pub invoker: usize,
    deadline: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    bookings: HashMap<ActivationId, Booking>,
    /// The same, the one that is waited for least first.
    deadlines: BTreeSet<(Duration, ActivationId)>,
}

impl Ledger {
    pub fn len(&self) -> usize {
        self.bookings.len()
    }

    pub fn get(&self, activation: ActivationId) -> Option<Booking> {
        self.bookings.get(&activation).copied()
    }

    pub fn enter(&mut self, activation: ActivationId, action: usize, invoker: usize, deadline: Duration) {
        self.strike(activation);
        self.bookings.insert(activation, Booking { action, invoker, deadline });
        self.deadlines.insert((deadline, activation));
    }

    /// Takes a booking out; `None` if there is none (any more).
    pub fn strike(&mut self, activation: ActivationId) -> Option<Booking> {
        let booking = self.bookings.remove(&activation)?;
        self.deadlines.remove(&(booking.deadline, activation));
        Some(booking)
    }

    /// One whose time is over.
    pub fn overdue(&self, now: Duration) -> Option<ActivationId> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|(_, activation)| *activation)
    }
}
