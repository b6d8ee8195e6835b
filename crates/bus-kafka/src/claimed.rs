//! Who waits for what a claim comes to.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use whisker_entity::ActivationId;

use crate::claims::Won;

type Waiters = HashMap<(ActivationId, u32), Vec<oneshot::Sender<Won>>>;

/// One place for each that begins a run: bounded by what the invoker runs.
#[derive(Default)]
pub(crate) struct Claimed(Mutex<Waiters>);

impl Claimed {
    /// Waits from now on for what a claim of this run comes to.
    pub fn wait(&self, activation: ActivationId, run: u32) -> Wait<'_> {
        let (sender, won) = oneshot::channel();
        self.waiters().entry((activation, run)).or_default().push(sender);
        Wait { claimed: self, activation, run, won }
    }

    /// A claim was read.
    pub fn tell(&self, activation: ActivationId, run: u32, won: Won) {
        for waiter in self.waiters().remove(&(activation, run)).into_iter().flatten() {
            let _ = waiter.send(won);
        }
    }

    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits, until this is dropped.
pub(crate) struct Wait<'a> {
    claimed: &'a Claimed,
    activation: ActivationId,
    run: u32,
    /// Gets the answer.
    pub won: oneshot::Receiver<Won>,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.won.close();
        let mut waiters = self.claimed.waiters();
        if let Some(others) = waiters.get_mut(&(self.activation, self.run)) {
            others.retain(|waiter| !waiter.is_closed());
            if others.is_empty() {
                waiters.remove(&(self.activation, self.run));
            }
        }
    }
}
