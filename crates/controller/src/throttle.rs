//! Rates: how often something happened in the current minute of the clock.
//!
//! OpenWhisk counts per clock minute, refused attempts included, so that a
//! client that keeps hammering stays refused until the minute ends.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
};

use whisker_entity::Millis;

/// Counts by key within the current minute. Everything is forgotten when the
/// minute ends, so it holds no more keys than one minute brings.
pub struct Rates<K>(Mutex<Minute<K>>);

struct Minute<K> {
    number: u64,
    counts: HashMap<K, u64>,
}

/// Keys counted in one minute; of more, the counts begin anew.
const MAX_KEYS: usize = 1_000_000;

impl<K> Default for Rates<K> {
    fn default() -> Self {
        Self(Mutex::new(Minute { number: 0, counts: HashMap::new() }))
    }
}

impl<K: Hash + Eq> Rates<K> {
    /// Counts one more and answers how many there are, this one included.
    pub fn count(&self, key: K, now: Millis) -> u64 {
        self.with_minute(now, |minute| {
            if minute.counts.len() >= MAX_KEYS {
                minute.counts.clear();
            }
            let count = minute.counts.entry(key).or_default();
            *count += 1;
            *count
        })
    }

    /// How many there are.
    pub fn so_far(&self, key: &K, now: Millis) -> u64 {
        self.with_minute(now, |minute| minute.counts.get(key).copied().unwrap_or(0))
    }

    fn with_minute<T>(&self, now: Millis, act: impl FnOnce(&mut Minute<K>) -> T) -> T {
        // A plain map is whole after any panic, so a poisoned lock is as good.
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = now / 60_000;
        if minute.number != number {
            *minute = Minute { number, counts: HashMap::new() };
        }
        act(&mut minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_end_with_the_minute() {
        let rates = Rates::default();
        assert_eq!([rates.count("a", 59_998), rates.count("a", 59_999), rates.count("b", 59_999)], [1, 2, 1]);
        assert_eq!(rates.count("a", 60_000), 1);
        assert_eq!(rates.so_far(&"b", 60_000), 0);
    }
}
