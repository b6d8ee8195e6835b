//! What a controller told the others, until it hears it itself.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Mutex, PoisonError},
};

use tokio::sync::oneshot;

/// Who waits for which news, in the order in which they were told. There are no
/// more of them than writes under way: who gave up is forgotten with the next
/// news of the same, or when there are too many.
#[derive(Default)]
pub(crate) struct Echoes(Mutex<HashMap<String, VecDeque<oneshot::Sender<()>>>>);

/// Names at which those that nobody waits for any more are forgotten.
const TIDY_AT: usize = 1_000;

impl Echoes {
    /// Before something is told: what will say that it was heard.
    pub fn expect(&self, of: &str) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= TIDY_AT {
            waiting.retain(|_, waiters| {
                waiters.retain(|waiter| !waiter.is_closed());
                !waiters.is_empty()
            });
        }
        waiting.entry(of.to_owned()).or_default().push_back(sender);
        receiver
    }

    /// It was heard, once.
    pub fn heard(&self, of: &str) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Entry::Occupied(mut waiters) = waiting.entry(of.to_owned()) else { return };
        while let Some(waiter) = waiters.get_mut().pop_front() {
            if waiter.send(()).is_ok() {
                break;
            }
        }
        if waiters.get().is_empty() {
            waiters.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn each_waits_for_its_own_and_nothing_is_left() {
        let echoes = Echoes::default();
        let (mut first, mut second, other) = (echoes.expect("a"), echoes.expect("a"), echoes.expect("b"));
        echoes.heard("a");
        assert!(first.try_recv().is_ok() && second.try_recv().is_err());
        drop(other);
        echoes.heard("b");
        echoes.heard("a");
        assert!(second.try_recv().is_ok());
        echoes.heard("a");
        assert!(echoes.0.lock().unwrap().is_empty());
    }

    #[test]
    fn who_gave_up_is_forgotten() {
        let echoes = Echoes::default();
        for n in 0..3 * TIDY_AT {
            drop(echoes.expect(&n.to_string()));
        }
        assert!(echoes.0.lock().unwrap().len() <= TIDY_AT);
    }
}
