//! A bounded map that forgets what was not used lately.
//!
//! Two generations: what is put or used is in the young one; when that is
//! full, the old one is dropped and the young one grows old. Each operation
//! takes the same short time, with no list to keep in order; the price is
//! that up to twice the bound is held, and that "lately" is not exact.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    bound: usize,
    weight: usize,
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
}

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// A cache whose generations weigh `bound` each.
    pub fn new(bound: usize) -> Self {
        Self { bound, weight: 0, young: HashMap::new(), old: HashMap::new() }
    }

    pub fn get<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some((value, _)) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, (value, weight)) = self.old.remove_entry(key)?;
        self.put(key, value.clone(), weight);
        Some(value)
    }

    /// Puts a value; one that is heavier than the bound is not kept.
    pub fn put(&mut self, key: K, value: V, weight: usize) {
        if weight > self.bound {
            return;
        }
        if self.weight + weight > self.bound {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        self.weight += weight;
        if let Some((_, before)) = self.young.insert(key, (value, weight)) {
            self.weight -= before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut cache = Cache::new(3);
        for n in 0..100 {
            cache.put(n, n * 10, 1);
            assert_eq!(cache.get(&0), Some(0), "0 is used all the time");
            assert!(cache.young.len() + cache.old.len() <= 6);
        }
        assert_eq!(cache.get(&50), None);
        cache.put(1000, 1, 4);
        assert_eq!(cache.get(&1000), None, "too heavy");
    }

    #[test]
    fn what_is_put_again_weighs_once() {
        let mut cache = Cache::new(3);
        for _ in 0..10 {
            cache.put("a", 1, 1);
        }
        cache.put("b", 2, 1);
        assert_eq!((cache.get("a"), cache.weight), (Some(1), 2));
    }
}
