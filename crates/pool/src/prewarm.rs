//! Stem cells: started containers that wait, blank, for any action of their
//! kind and memory, which then starts without its runtime's start.
//!
//! How many are wanted is what the settings name, at least, and what recent
//! traffic needed (`demand.rs`).

mod demand;

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use demand::Demand;

use crate::{Shape, SlotId, action::Stamp};

/// How many blank containers of one shape are to be at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stem {
    /// What they are like.
    pub shape: Shape,
    /// How many.
    pub count: u32,
}

/// The blank containers there are, and the wish for more.
#[derive(Debug)]
pub(crate) struct Stems {
    /// What is wanted whatever the traffic.
    least: Vec<Stem>,
    demand: Demand,
    /// What is wanted now.
    wished: Vec<Stem>,
    ready: HashMap<Shape, BTreeSet<(Stamp, SlotId)>>,
    /// Blank ones of all shapes, oldest first, for eviction.
    by_age: BTreeSet<(Stamp, SlotId)>,
    /// Starting ones that no action asked for.
    starting: HashMap<Shape, u32>,
}

impl Stems {
    /// With these at least, and as many more as traffic needs and fit into so
    /// much memory.
    pub fn new(least: Vec<Stem>, learnt_mb: u64) -> Self {
        Self {
            wished: least.clone(),
            least,
            demand: Demand::new(learnt_mb),
            ready: HashMap::new(),
            by_age: BTreeSet::new(),
            starting: HashMap::new(),
        }
    }

    pub fn add(&mut self, shape: &Shape, stamp: Stamp, slot: SlotId) {
        self.ready.entry(shape.clone()).or_default().insert((stamp, slot));
        self.by_age.insert((stamp, slot));
    }

    pub fn remove(&mut self, shape: &Shape, stamp: Stamp, slot: SlotId) {
        self.by_age.remove(&(stamp, slot));
        if let Some(ready) = self.ready.get_mut(shape) {
            ready.remove(&(stamp, slot));
            if ready.is_empty() {
                self.ready.remove(shape);
            }
        }
    }

    /// One that an action may have: the oldest, whose runtime has surely
    /// finished loading.
    pub fn oldest(&self, shape: &Shape) -> Option<SlotId> {
        self.ready.get(shape)?.first().map(|(_, slot)| *slot)
    }

    pub fn starts(&mut self, shape: &Shape) {
        *self.starting.entry(shape.clone()).or_default() += 1;
    }

    pub fn started(&mut self, shape: &Shape) {
        if let Some(count) = self.starting.get_mut(shape) {
            *count -= 1;
            if *count == 0 {
                self.starting.remove(shape);
            }
        }
    }

    /// An action took a container of this shape, blank or newly started.
    pub fn taken(&mut self, shape: &Shape, now: Duration) {
        if self.demand.taken(shape, now) {
            self.wish();
        }
    }

    /// Time went by: whether there are wishes that lapse.
    pub fn lapse(&mut self, now: Duration) {
        if self.demand.lapse(now) {
            self.wish();
        }
    }

    fn wish(&mut self) {
        self.wished = self.demand.over(&self.least);
    }

    /// All of them, oldest first.
    pub fn by_age(&self) -> impl Iterator<Item = (Stamp, SlotId)> {
        self.by_age.iter().copied()
    }

    /// How many more of this shape there are than wished for.
    pub fn surplus(&self, shape: &Shape) -> usize {
        let ready = self.ready.get(shape).map_or(0, BTreeSet::len);
        ready.saturating_sub(self.wished(shape) as usize)
    }

    /// Wishes for no more of this shape: the host cannot make them.
    pub fn give_up(&mut self, shape: &Shape) {
        self.least.retain(|stem| stem.shape != *shape);
        self.demand.forget(shape);
        self.wish();
    }

    fn wished(&self, shape: &Shape) -> u32 {
        self.wished.iter().filter(|stem| stem.shape == *shape).map(|stem| stem.count).sum()
    }

    /// Shapes of which there are fewer than wished for, each as often as one
    /// is missing.
    pub fn missing(&self) -> impl Iterator<Item = &Shape> {
        self.wished.iter().flat_map(|stem| {
            let ready = self.ready.get(&stem.shape).map_or(0, BTreeSet::len);
            let starting = self.starting.get(&stem.shape).copied().unwrap_or(0) as usize;
            std::iter::repeat_n(&stem.shape, (stem.count as usize).saturating_sub(ready + starting))
        })
    }

    pub fn len(&self) -> usize {
        self.by_age.len()
    }
}
