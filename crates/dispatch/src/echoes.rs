//! What a controller told the others, until all of them have heard it.
//!
//! Each says so of what it heard, in the order in which it was told. One that
//! did not in time is not waited for again before it does: it may be dead, or a
//! version that says nothing.

use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use whisker_bus::ControllerId;

/// Who waits for which news, in the order in which they were told.
#[derive(Default)]
pub(crate) struct Echoes(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: HashMap<String, VecDeque<Waiter>>,
    /// Those that did not answer when they were waited for last.
    silent: HashSet<ControllerId>,
    number: u64,
}

struct Waiter {
    number: u64,
    left: HashSet<ControllerId>,
    all: oneshot::Sender<()>,
}

/// News that are waited for.
pub(crate) struct Expected {
    number: u64,
    of: String,
    /// Comes when all have heard them.
    pub all: oneshot::Receiver<()>,
}

/// Names, and news of one name, at which those that nobody waits for any more
/// are forgotten. Until then they stay: what is heard late is not taken for the
/// next of the same.
const TIDY_AT: usize = 1_000;

impl Echoes {
    /// Before something is told to these.
    pub fn expect(&self, of: &str, by: impl IntoIterator<Item = ControllerId>) -> Expected {
        let (all, receiver) = oneshot::channel();
        let mut state = self.state();
        state.number += 1;
        let number = state.number;
        let State { waiting, silent, .. } = &mut *state;
        let left: HashSet<_> = by.into_iter().filter(|id| !silent.contains(id)).collect();
        if waiting.len() >= TIDY_AT || waiting.get(of).is_some_and(|waiters| waiters.len() >= TIDY_AT) {
            waiting.retain(|_, waiters| {
                waiters.retain(|waiter| !waiter.all.is_closed());
                !waiters.is_empty()
            });
        }
        if left.is_empty() {
            // Nobody is waited for.
            let _ = all.send(());
        } else {
            waiting.entry(of.to_owned()).or_default().push_back(Waiter { number, left, all });
        }
        Expected { number, of: of.to_owned(), all: receiver }
    }

    /// It was heard, once, by this one.
    pub fn heard(&self, of: &str, by: &ControllerId) {
        let mut state = self.state();
        state.silent.remove(by);
        let Entry::Occupied(mut waiters) = state.waiting.entry(of.to_owned()) else { return };
        let first = waiters.get().iter().position(|waiter| waiter.left.contains(by));
        if let Some(at) = first
            && let Some(waiter) = waiters.get_mut().get_mut(at)
        {
            waiter.left.remove(by);
            if waiter.left.is_empty()
                && let Some(waiter) = waiters.get_mut().remove(at)
            {
                // Who gave up does not care.
                let _ = waiter.all.send(());
            }
        }
        if waiters.get().is_empty() {
            waiters.remove();
        }
    }

    /// It took too long: who has not heard it, or not said so.
    pub fn give_up(&self, expected: &Expected) -> Vec<ControllerId> {
        let mut state = self.state();
        let waiters = state.waiting.get(&expected.of);
        let waiter = waiters.and_then(|waiters| waiters.iter().find(|waiter| waiter.number == expected.number));
        let left: Vec<ControllerId> = waiter.into_iter().flat_map(|waiter| waiter.left.iter().cloned()).collect();
        if state.silent.len() >= TIDY_AT {
            state.silent.clear();
        }
        state.silent.extend(left.iter().cloned());
        left
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole between any two steps.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn ids<const N: usize>(names: [&str; N]) -> [ControllerId; N] {
        names.map(|name| ControllerId(name.into()))
    }

    #[test]
    fn each_waits_for_its_own_from_all_and_nothing_is_left() {
        let echoes = Echoes::default();
        let [a, b] = ids(["a", "b"]);
        let expect = |of| echoes.expect(of, [a.clone(), b.clone()]);
        let (mut first, mut second, other) = (expect("x"), expect("x"), expect("y"));
        echoes.heard("x", &a);
        echoes.heard("x", &a);
        assert!(first.all.try_recv().is_err() && second.all.try_recv().is_err());
        echoes.heard("x", &b);
        assert!(first.all.try_recv().is_ok() && second.all.try_recv().is_err());
        drop(other);
        for by in [&a, &b] {
            echoes.heard("y", by);
        }
        echoes.heard("x", &b);
        assert!(second.all.try_recv().is_ok());
        echoes.heard("x", &a);
        assert!(echoes.state().waiting.is_empty());
    }

    #[test]
    fn one_that_is_silent_is_not_waited_for_until_it_is_heard() {
        let echoes = Echoes::default();
        let [a, b] = ids(["a", "b"]);
        let expect = || echoes.expect("x", [a.clone(), b.clone()]);
        let first = expect();
        echoes.heard("x", &a);
        assert_eq!(echoes.give_up(&first), std::slice::from_ref(&b));
        drop(first);
        let mut second = expect();
        echoes.heard("x", &a);
        assert!(second.all.try_recv().is_ok(), "of b nothing is expected");
        // That was the first news, heard late.
        echoes.heard("x", &b);
        let mut third = expect();
        echoes.heard("x", &a);
        assert!(third.all.try_recv().is_err());
        echoes.heard("x", &b);
        assert!(third.all.try_recv().is_ok());
    }

    #[test]
    fn among_those_who_are_all_silent_nobody_waits() {
        let echoes = Echoes::default();
        let first = echoes.expect("x", ids(["a"]));
        assert_eq!(echoes.give_up(&first), ids(["a"]));
        assert!(echoes.expect("x", ids(["a"])).all.try_recv().is_ok());
    }

    #[test]
    fn who_gave_up_is_forgotten() {
        let echoes = Echoes::default();
        for n in 0..3 * TIDY_AT {
            drop(echoes.expect(&n.to_string(), ids(["a"])));
            drop(echoes.expect("same", ids(["a"])));
        }
        let state = echoes.state();
        assert!(state.waiting.len() <= TIDY_AT && state.waiting["same"].len() <= TIDY_AT);
    }
}
