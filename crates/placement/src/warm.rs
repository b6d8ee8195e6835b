//! What runs where, and what is believed to be warm.
//!
//! A container is busy while at least one of its runs is booked: an action
//! that takes `n` runs in one container needs, for `k` runs at one invoker,
//! `k / n` of them, rounded up, and pays for so many. One whose last run ended
//! well is believed to be idle until it was not used for as long as invokers
//! keep them, or until its invoker must have removed it for lack of memory,
//! the one that was idle longest first, as the pool does.
//!
//! It is a belief and no more. Other controllers use the same containers, and
//! invokers may be set up otherwise. Where it is wrong a run starts cold that
//! was expected to be warm, or the other way round.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::{
    Action,
    fleet::{Fleet, Idle},
    ring::digest,
    sharding,
};

/// One action, as long as something of it runs or is warm.
#[derive(Debug)]
pub(crate) struct Use {
    pub action: Arc<Action>,
    /// For [`Policy::Sharding`](crate::Policy).
    pub hash: usize,
    /// For [`Policy::Bounded`](crate::Policy).
    pub digest: u64,
    places: BTreeMap<usize, Place>,
    /// Idle containers, by when they became so: who has them.
    pub idle: BTreeMap<u64, usize>,
    /// Invokers with a busy container that has room for more runs.
    pub open: BTreeSet<usize>,
}

/// What an action has at one invoker.
#[derive(Debug, Default)]
struct Place {
    runs: u32,
    /// Its idle containers, the one that became so last at the end.
    idle: Vec<u64>,
}

impl Use {
    fn new(action: Arc<Action>) -> Self {
        let name = action.name.to_string();
        let namespace = action.namespace.as_str();
        Self {
            hash: sharding::hash(namespace, &name),
            // Not of the version: an update stays at home.
            digest: digest([namespace, &name]),
            action,
            places: BTreeMap::new(),
            idle: BTreeMap::new(),
            open: BTreeSet::new(),
        }
    }

    /// Whether an invoker has a busy container with room for one more run.
    pub fn has_slot(&self, invoker: usize) -> bool {
        !self.open.is_empty() && self.open.contains(&invoker)
    }

    /// Invokers that run it or have it warm, in the order of their numbers.
    pub fn places(&self) -> impl Iterator<Item = usize> {
        self.places.keys().copied()
    }

    fn concurrency(&self) -> u32 {
        self.action.concurrency.max(1)
    }
}

/// All actions of which something runs or is warm, by numbers that are used
/// again.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    numbers: HashMap<Arc<Action>, usize>,
    uses: Vec<Option<Use>>,
    vacant: Vec<usize>,
    /// Orders idle containers by when they became so.
    stamp: u64,
}

impl Uses {
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    pub fn get(&self, action: usize) -> Option<&Use> {
        self.uses.get(action)?.as_ref()
    }

    /// The number of an action, which is noted if it is not known.
    pub fn number(&mut self, action: &Arc<Action>) -> usize {
        if let Some(number) = self.numbers.get(action) {
            return *number;
        }
        let number = self.vacant.pop().unwrap_or(self.uses.len());
        let entry = Some(Use::new(action.clone()));
        match self.uses.get_mut(number) {
            Some(vacant) => *vacant = entry,
            None => self.uses.push(entry),
        }
        self.numbers.insert(action.clone(), number);
        number
    }

    /// Forgets an action of which nothing is left.
    pub fn tidy(&mut self, action: usize) {
        if let Some(entry) = self.uses.get_mut(action)
            && entry.as_ref().is_some_and(|entry| entry.places.is_empty())
            && let Some(gone) = entry.take()
        {
            self.numbers.remove(&gone.action);
            self.vacant.push(action);
        }
    }

    /// A run goes to an invoker: into a container that has room, else into an
    /// idle one, else into a new one, for which idle ones of others may have
    /// to go. Says whether it is believed to be warm.
    pub fn begin(&mut self, fleet: &mut Fleet, action: usize, invoker: usize) -> bool {
        let Some(Some(entry)) = self.uses.get_mut(action) else { return false };
        let concurrency = entry.concurrency();
        let place = entry.places.entry(invoker).or_default();
        let joins = !place.runs.is_multiple_of(concurrency);
        place.runs += 1;
        if place.runs.is_multiple_of(concurrency) {
            entry.open.remove(&invoker);
        } else {
            entry.open.insert(invoker);
        }
        if joins {
            return true;
        }
        let warm = place.idle.pop();
        if let Some(stamp) = warm {
            entry.idle.remove(&stamp);
            fleet.take_idle(invoker, stamp);
        }
        fleet.book(invoker, entry.action.cost_mb());
        while let Some(stamp) = fleet.surplus(invoker) {
            self.forget(fleet, invoker, stamp);
        }
        warm.is_some()
    }

    /// A run at an invoker is over. Says whether that leaves a container that
    /// is not busy any more.
    pub fn end(&mut self, fleet: &mut Fleet, action: usize, invoker: usize) -> bool {
        let Some(Some(entry)) = self.uses.get_mut(action) else { return false };
        let concurrency = entry.concurrency();
        let Some(place) = entry.places.get_mut(&invoker).filter(|place| place.runs > 0) else { return false };
        place.runs -= 1;
        let frees = place.runs.is_multiple_of(concurrency);
        if frees {
            entry.open.remove(&invoker);
            fleet.book(invoker, -entry.action.cost_mb());
        } else {
            entry.open.insert(invoker);
        }
        if place.runs == 0 && place.idle.is_empty() {
            entry.places.remove(&invoker);
        }
        frees
    }

    /// A container of an action is idle at an invoker.
    pub fn note_idle(&mut self, fleet: &mut Fleet, action: usize, invoker: usize, now: Duration) {
        let Some(Some(entry)) = self.uses.get_mut(action) else { return };
        self.stamp += 1;
        let stamp = self.stamp;
        entry.idle.insert(stamp, invoker);
        entry.places.entry(invoker).or_default().idle.push(stamp);
        fleet.note_idle(invoker, stamp, Idle { action, cost_mb: entry.action.cost_mb(), since: now });
        while let Some(stamp) = fleet.surplus(invoker) {
            self.forget(fleet, invoker, stamp);
        }
    }

    /// An idle container is believed to be gone.
    pub fn forget(&mut self, fleet: &mut Fleet, invoker: usize, stamp: u64) {
        let Some(idle) = fleet.take_idle(invoker, stamp) else { return };
        if let Some(Some(entry)) = self.uses.get_mut(idle.action) {
            entry.idle.remove(&stamp);
            if let Some(place) = entry.places.get_mut(&invoker) {
                place.idle.retain(|kept| *kept != stamp);
                if place.runs == 0 && place.idle.is_empty() {
                    entry.places.remove(&invoker);
                }
            }
        }
        self.tidy(idle.action);
    }
}
