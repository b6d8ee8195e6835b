//! Small numbers, each in one pair of hands at a time: for host users and for
//! addresses.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The numbers from 0 up to a bound.
#[derive(Debug, Clone)]
pub(crate) struct Numbers {
    bound: u32,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    /// No number from here on was ever used.
    fresh: u32,
    returned: BTreeSet<u32>,
}

/// A number that nobody else has; free again once dropped.
#[derive(Debug)]
pub(crate) struct Number {
    value: u32,
    numbers: Numbers,
}

impl Numbers {
    pub(crate) fn below(bound: u32) -> Numbers {
        Numbers { bound, taken: Arc::default() }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lowest free number.
    pub(crate) fn take(&self) -> Option<Number> {
        let mut taken = self.taken();
        let value = match taken.returned.pop_first() {
            Some(value) => value,
            None if taken.fresh < self.bound => {
                taken.fresh += 1;
                taken.fresh - 1
            }
            None => return None,
        };
        Some(Number { value, numbers: self.clone() })
    }
}

impl Number {
    pub(crate) fn value(&self) -> u32 {
        self.value
    }

    /// Never gives the number out again.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        self.numbers.taken().returned.insert(self.value);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_number_has_one_owner_and_comes_back() {
        let numbers = Numbers::below(2);
        let (a, b) = (numbers.take().unwrap(), numbers.take().unwrap());
        assert_eq!((a.value(), b.value()), (0, 1));
        assert!(numbers.take().is_none());
        drop(a);
        assert_eq!(numbers.take().unwrap().value(), 0);
        b.keep();
        numbers.take().unwrap().keep();
        assert!(numbers.take().is_none());
    }
}
