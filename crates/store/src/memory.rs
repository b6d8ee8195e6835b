//! The store that forgets when the process ends.
//!
//! A full member, which keeps the whole contract: what simulations, router
//! tests and a server that need not remember run on. It holds its documents as
//! values and indexes them as the embedded store does, so that what is quick
//! there is quick here. It copies a document on each read and each write; that
//! is the only way in which it is slower than a map.

mod activations;
mod entities;
mod subjects;

use std::{
    ops::Bound,
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{Cursor, Error, Portion, Scan};

/// All three traits, in this process's memory.
#[derive(Debug, Default)]
pub struct Memory {
    entities: Mutex<entities::State>,
    activations: Mutex<activations::State>,
    subjects: Mutex<subjects::State>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

/// Locks for the length of one operation, none of which waits or can fail
/// half-way: what a panicked holder left is whole.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One step of a scan: of what stands behind a cursor, with each one's key and
/// bytes.
fn portion_of<T>(rest: impl Iterator<Item = (String, u64, T)>, portion: Portion) -> Scan<T> {
    let mut rest = rest.peekable();
    let (mut items, mut bytes, mut next) = (Vec::new(), 0_u64, None);
    while let Some((key, size, item)) = rest.next() {
        items.push(Ok(item));
        bytes = bytes.saturating_add(size);
        if items.len() as u64 >= portion.limit || bytes >= portion.max_bytes {
            next = rest.peek().map(|_| Cursor(key.into()));
            break;
        }
    }
    Scan { items, next }
}

/// The key that a cursor of ours holds; [`Error::Missing`] for any other.
fn key_of<K: FromStr>(after: Option<&Cursor>) -> Result<Bound<K>, Error> {
    match after {
        Some(cursor) => cursor.0.parse().map(Bound::Excluded).map_err(|_| Error::Missing),
        None => Ok(Bound::Unbounded),
    }
}

/// A page's bounds as iterators take them.
fn bounds(page: crate::Page) -> (usize, usize) {
    let bound = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    (bound(page.skip), bound(page.limit))
}
