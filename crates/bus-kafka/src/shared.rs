//! The inbox with its lock, its clocks, and its bell.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use whisker_bus::ActivationMessage;
use whisker_entity::Millis;

use crate::{claimed::Claimed, config::Clock};

/// What is read here are OpenWhisk's messages.
pub(crate) type Inbox = crate::inbox::Inbox<Arc<ActivationMessage>>;

pub(crate) struct Shared {
    inbox: Mutex<Inbox>,
    /// Who waits for what a claim comes to.
    pub claimed: Claimed,
    /// Rung when there may be something to receive.
    pub arrived: Notify,
    clock: Clock,
    began: Instant,
    failed: AtomicBool,
}

impl Shared {
    pub fn new(inbox: Inbox, clock: Clock, began: Instant) -> Self {
        Self {
            inbox: Mutex::new(inbox),
            claimed: Claimed::default(),
            arrived: Notify::new(),
            clock,
            began,
            failed: AtomicBool::new(false),
        }
    }

    pub fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // No function of the inbox panics half-way through a change.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of this process.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The time of day.
    pub fn wall(&self) -> Millis {
        (self.clock)()
    }

    /// Changes the inbox; rings if there may be something to receive then.
    pub fn tell(&self, change: impl FnOnce(&mut Inbox) -> bool) {
        let rings = change(&mut self.inbox());
        if rings {
            self.arrived.notify_one();
        }
    }

    /// Nothing is given out any more.
    pub fn close(&self) {
        self.inbox().close();
        self.arrived.notify_waiters();
        self.arrived.notify_one();
    }

    /// This process has no part in the bus any more, and never will again.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::SeqCst);
        self.close();
    }

    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }
}
