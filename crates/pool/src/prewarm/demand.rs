//! How many blank containers recent traffic would have found useful.
//!
//! A blank container helps whoever needs one before the next is ready, which
//! takes a good part of a second. So the need for a shape is how many were
//! taken within one second, at its worst lately. It rises at once, and when it
//! was not reached for a while it is halved, again and again: a burst that came
//! a minute ago may come again, one of yesterday should cost nothing today.

use std::{collections::BTreeMap, time::Duration};

use crate::{Shape, Stem};

/// What is needed within such a time cannot be started meanwhile.
const WINDOW: Duration = Duration::from_secs(1);

/// After so long without it, a need is halved.
const QUIET: Duration = Duration::from_secs(60);

/// Most that is wished for of one shape, whatever the traffic: a larger burst
/// waits for starts, which processors bound anyway.
const MOST: u32 = 16;

/// Most shapes that are followed at once. What comes on top is not wished for
/// before another is forgotten.
const SHAPES: usize = 64;

/// The need for each shape, and the memory that there is for it.
#[derive(Debug)]
pub(super) struct Demand {
    memory_mb: u64,
    needs: BTreeMap<Shape, Need>,
}

#[derive(Debug)]
struct Need {
    /// When the window began in which takings are counted.
    since: Duration,
    taken: u32,
    /// The most that was taken in one window.
    level: u32,
    /// When it was that much last, or was halved.
    reached: Duration,
}

impl Demand {
    pub fn new(memory_mb: u64) -> Self {
        Self { memory_mb, needs: BTreeMap::new() }
    }

    /// One of this shape was taken. Whether that changes what is needed.
    pub fn taken(&mut self, shape: &Shape, now: Duration) -> bool {
        if self.memory_mb == 0 {
            return false;
        }
        if self.needs.len() >= SHAPES && !self.needs.contains_key(shape) {
            return false;
        }
        let fresh = || Need { since: now, taken: 0, level: 0, reached: now };
        let need = self.needs.entry(shape.clone()).or_insert_with(fresh);
        if now >= need.since + WINDOW {
            need.since = now;
            need.taken = 0;
        }
        need.taken = (need.taken + 1).min(MOST);
        if need.taken < need.level {
            return false;
        }
        need.reached = now;
        let rises = need.taken > need.level;
        need.level = need.taken;
        rises
    }

    /// Halves what was not reached for long. Whether anything changed.
    pub fn lapse(&mut self, now: Duration) -> bool {
        let mut changed = false;
        self.needs.retain(|_, need| {
            if now >= need.reached + QUIET {
                need.level /= 2;
                need.reached = now;
                changed = true;
            }
            need.level > 0
        });
        changed
    }

    /// Forgets a shape.
    pub fn forget(&mut self, shape: &Shape) {
        self.needs.remove(shape);
    }

    /// These wishes, and what is needed beyond them, as far as memory goes.
    /// Shapes take turns, so that many of one do not leave the others without.
    pub fn over(&self, least: &[Stem]) -> Vec<Stem> {
        let mut wishes: BTreeMap<&Shape, u32> = BTreeMap::new();
        for stem in least {
            *wishes.entry(&stem.shape).or_default() += stem.count;
        }
        let mut left_mb = self.memory_mb;
        let mut any = true;
        while any {
            any = false;
            for (shape, need) in &self.needs {
                let memory_mb = u64::from(shape.memory_mb);
                let wish = wishes.entry(shape).or_default();
                if *wish < need.level && memory_mb <= left_mb {
                    *wish += 1;
                    left_mb -= memory_mb;
                    any = true;
                }
            }
        }
        let wished = wishes.into_iter().filter(|(_, count)| *count > 0);
        wished.map(|(shape, count)| Stem { shape: shape.clone(), count }).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shape(memory_mb: u32) -> Shape {
        Shape { kind: "nodejs:20".into(), memory_mb, concurrent: false }
    }

    fn wished(stems: &[Stem], memory_mb: u32) -> u32 {
        stems.iter().filter(|stem| stem.shape.memory_mb == memory_mb).map(|stem| stem.count).sum()
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_burst_is_prepared_for_and_forgotten() {
        let mut demand = Demand::new(8192);
        let least = [Stem { shape: shape(256), count: 2 }];
        for n in 0..5 {
            demand.taken(&shape(256), n * MS);
        }
        assert_eq!(wished(&demand.over(&least), 256), 5);
        assert!(!demand.lapse(QUIET - MS), "not yet");
        assert!(demand.lapse(QUIET + 4 * MS));
        assert_eq!(wished(&demand.over(&least), 256), 2, "never less than the settings name");
        demand.lapse(2 * QUIET + 4 * MS);
        demand.lapse(3 * QUIET + 4 * MS);
        assert!(demand.needs.is_empty(), "nothing is kept of what is over");
    }

    #[test]
    fn what_comes_one_by_one_needs_one() {
        let mut demand = Demand::new(8192);
        for n in 0..100 {
            demand.taken(&shape(128), n * 2 * WINDOW);
        }
        assert_eq!(wished(&demand.over(&[]), 128), 1);
    }

    #[test]
    fn shapes_share_what_memory_there_is() {
        let mut demand = Demand::new(1024);
        for memory_mb in [128, 256] {
            for n in 0..10 {
                demand.taken(&shape(memory_mb), n * MS);
            }
        }
        let wishes = demand.over(&[]);
        assert_eq!((wished(&wishes, 128), wished(&wishes, 256)), (4, 2), "{wishes:?}");
    }

    #[test]
    fn without_memory_nothing_is_learnt() {
        let mut demand = Demand::new(0);
        assert!(!demand.taken(&shape(128), MS));
        assert!(demand.needs.is_empty());
    }

    proptest! {
        #[test]
        fn wishes_stay_within_their_bounds_and_end(
            memory_mb in 0..4096u64,
            least in 0..4u32,
            takings in prop::collection::vec((0..100u32, 0..3000u32), 0..300),
        ) {
            let least = [Stem { shape: shape(128), count: least }];
            let mut demand = Demand::new(memory_mb);
            let mut now = Duration::ZERO;
            for (size, ms) in takings {
                now += ms * MS;
                demand.lapse(now);
                demand.taken(&shape(128 * (1 + size)), now);
                let wishes = demand.over(&least);
                let all: u64 = wishes.iter().map(|stem| u64::from(stem.count * stem.shape.memory_mb)).sum();
                prop_assert!(all <= memory_mb + u64::from(least[0].count) * 128, "{wishes:?}");
                prop_assert!(wished(&wishes, 128) >= least[0].count);
                prop_assert!(wishes.iter().all(|stem| stem.count <= MOST.max(least[0].count)));
                prop_assert!(demand.needs.len() <= SHAPES);
            }
            for _ in 0..6 {
                now += QUIET;
                demand.lapse(now);
            }
            let left: Vec<Stem> = least.iter().filter(|stem| stem.count > 0).cloned().collect();
            prop_assert_eq!(demand.over(&least), left);
        }
    }
}
