//! How long an idle container is kept: as the settings say, or as its action's
//! own past makes worth while.
//!
//! Keeping a container idle costs memory for a time; letting it go costs a
//! start, if its action comes back. [`Config::keep_warm`](crate::Config::keep_warm)
//! is the price of one in terms of the other: as much idling as a start is
//! worth. Who knows nothing about the future does well to keep a container for
//! just that long, since it then never pays more than twice what it had to.
//! Who knows how an action's pauses were distributed does better:
//!
//! | an action comes back | fixed | learnt |
//! | --- | --- | --- |
//! | each minute | keeps it for the whole price after the last | lets go a little after a minute |
//! | somewhat later than the price | keeps it in vain, starts anew | keeps it till then, if enough runs gain by it |
//! | once a day | keeps it in vain, each time | lets go at once |
//!
//! So [`KeepPolicy::Learnt`] counts, for each action, how long its containers
//! were not needed before they were, and keeps them for the time that would
//! have cost least over those pauses. What comes too rarely has too few pauses
//! to learn from: it gets the fixed time.
//!
//! A pause is one of containers and not of the action: an action with twenty
//! of them is never quiet, but seldom needs the twentieth. They are counted as
//! if none was ever removed: each that falls idle goes on a pile, and whoever
//! needs one takes the uppermost, as the pool does.
//!
//! The published hybrid policy (Shahrad et al., "Serverless in the Wild", 2020)
//! keeps a histogram too, but takes a high percentile of it. That ignores what
//! the last percents cost, and where runs come in quick succession the pauses
//! that matter are the last percent.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use whisker_entity::{EntityName, QualifiedName};

use crate::Key;

/// Which time idle containers are kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeepPolicy {
    /// The same for all.
    #[default]
    Fixed,
    /// For each action what its own past makes worth while.
    Learnt,
}

/// Containers are never removed sooner: a client that thinks for a moment
/// between two calls should not notice.
const SHORTEST: Duration = Duration::from_secs(10);

/// Fewer pauses tell nothing.
const FEW: u32 = 6;

/// When so many pauses were counted, all counts are halved: what was long ago
/// weighs less and less.
const MANY: u32 = 512;

/// Actions that are remembered. Beyond them the half that was heard of longest
/// ago is forgotten, and gets the fixed time again.
const ACTIONS: usize = 16_384;

/// Idle containers of one action that are looked at; of more, the youngest.
const PILE: usize = 32;

/// Cells of the histogram, four to each doubling, from [`SHORTEST`] on. The last
/// begins after some 5.7 hours.
const CELLS: usize = 45;

/// The whole memory of idle times.
#[derive(Debug)]
pub(crate) struct Keeping {
    policy: KeepPolicy,
    fixed: Duration,
    actions: HashMap<(EntityName, QualifiedName), Past>,
}

/// What is known of an action's pauses: less than 300 bytes, however old it
/// grows.
#[derive(Debug)]
struct Past {
    /// When it was heard of last.
    heard: Duration,
    /// When the containers fell idle that it would have if none was removed,
    /// in seconds, the youngest last.
    pile: VecDeque<u32>,
    /// Pauses by their length; the last cell has those beyond all bounds.
    /// Those below [`SHORTEST`] are not counted: any choice serves them.
    cells: [u16; CELLS],
    counted: u32,
    /// What follows from that; `None`: nothing yet.
    best: Option<Duration>,
}

impl Keeping {
    pub fn new(policy: KeepPolicy, fixed: Duration) -> Self {
        Self { policy, fixed, actions: HashMap::new() }
    }

    /// This action needs a container that is not busy, whether it has one or
    /// not.
    pub fn needed(&mut self, key: &Key, now: Duration) {
        let price = self.fixed;
        if let Some(past) = self.past(key, now)
            && let Some(since) = past.pile.pop_back()
        {
            past.count(seconds(now).saturating_sub(since), price);
        }
    }

    /// A container of this action fell idle.
    pub fn idle(&mut self, key: &Key, now: Duration) {
        let price = self.fixed;
        let Some(past) = self.past(key, now) else { return };
        // Those at the bottom are hardly ever needed; what they waited so far
        // is counted when there is no room, or when no bound reaches so far.
        while let Some(since) = past.pile.front()
            && (past.pile.len() >= PILE || f64::from(seconds(now).saturating_sub(*since)) > bound(CELLS - 1))
        {
            let waited = seconds(now).saturating_sub(*since);
            past.pile.pop_front();
            past.count(waited, price);
        }
        past.pile.push_back(seconds(now));
    }

    fn past(&mut self, key: &Key, now: Duration) -> Option<&mut Past> {
        if self.policy == KeepPolicy::Fixed {
            return None;
        }
        let name = (key.namespace.clone(), key.action.clone());
        if self.actions.len() >= ACTIONS && !self.actions.contains_key(&name) {
            self.forget_half();
        }
        let past = self.actions.entry(name).or_insert_with(Past::new);
        past.heard = now;
        Some(past)
    }

    /// No container goes before it was idle for so long.
    pub fn shortest(&self) -> Duration {
        match self.policy {
            KeepPolicy::Fixed => self.fixed,
            KeepPolicy::Learnt => self.fixed.min(SHORTEST),
        }
    }

    /// How long this action's containers are kept.
    pub fn time(&self, key: Option<&Key>) -> Duration {
        let known = match (self.policy, key) {
            (KeepPolicy::Fixed, _) | (_, None) => None,
            (KeepPolicy::Learnt, Some(key)) => self.actions.get(&(key.namespace.clone(), key.action.clone())),
        };
        known.and_then(|past| past.best).unwrap_or(self.fixed)
    }

    fn forget_half(&mut self) {
        let mut times: Vec<Duration> = self.actions.values().map(|past| past.heard).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        self.actions.retain(|_, past| past.heard > median);
    }
}

impl Past {
    fn new() -> Past {
        Past { heard: Duration::ZERO, pile: VecDeque::new(), cells: [0; CELLS], counted: 0, best: None }
    }

    fn count(&mut self, pause_s: u32, price: Duration) {
        let Some(cell) = cell_of(pause_s) else { return };
        self.cells[cell] = self.cells[cell].saturating_add(1);
        self.counted += 1;
        if self.counted >= MANY {
            self.cells.iter_mut().for_each(|cell| *cell /= 2);
            self.counted = self.cells.iter().map(|cell| u32::from(*cell)).sum();
        }
        self.best = (self.counted >= FEW).then(|| self.cheapest(price));
    }

    /// The bound of a cell at which keeping would have cost least: each pause
    /// costs the time that a container idled in it, and the price of a start
    /// where it was let go before the end.
    fn cheapest(&self, price: Duration) -> Duration {
        let price = price.as_secs_f64();
        let all: f64 = self.cells.iter().map(|cell| f64::from(*cell)).sum();
        let (mut best, mut least) = (SHORTEST, all * (SHORTEST.as_secs_f64() + price));
        // Of pauses that end within the bound: how many, and how long they are
        // together, each taken to be in the middle of its cell.
        let (mut within, mut idled) = (0.0, 0.0);
        for (index, cell) in self.cells[..CELLS - 1].iter().enumerate() {
            let count = f64::from(*cell);
            let (from, to) = (bound(index), bound(index + 1));
            within += count;
            idled += count * f64::midpoint(from, to);
            let cost = idled + (all - within) * (to + price);
            if cost < least {
                (best, least) = (Duration::from_secs_f64(to), cost);
            }
        }
        best
    }
}

/// Where a cell begins, in seconds.
fn bound(cell: usize) -> f64 {
    SHORTEST.as_secs_f64() * f64::powf(2.0, cell as f64 / 4.0)
}

/// The cell of a pause that is not too short for any.
fn cell_of(pause_s: u32) -> Option<usize> {
    let times = f64::from(pause_s) / SHORTEST.as_secs_f64();
    // A hair more, so that a bound lies in the cell that it begins.
    (times >= 1.0).then(|| ((times.log2() * 4.0 + 1e-9) as usize).min(CELLS - 1))
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);
    const FIXED: Duration = Duration::from_secs(300);

    fn key(action: &str) -> Key {
        Key {
            namespace: "ns".parse().unwrap(),
            action: format!("ns/{action}").parse().unwrap(),
            revision: "1".into(),
            environment: 0,
        }
    }

    /// How long the containers of an action with these pauses are kept.
    fn learnt(pauses: impl IntoIterator<Item = Duration>) -> Duration {
        let (mut keeping, key) = (Keeping::new(KeepPolicy::Learnt, FIXED), key("a"));
        let mut now = SECOND;
        keeping.needed(&key, now);
        for pause in pauses {
            keeping.idle(&key, now);
            now += pause;
            keeping.needed(&key, now);
        }
        keeping.time(Some(&key))
    }

    #[test]
    fn a_timer_is_waited_for_if_that_is_worth_it() {
        let minutely = learnt([MINUTE; 20]);
        assert!(minutely > MINUTE && minutely < 75 * SECOND, "{minutely:?}");
        let soon = learnt([4 * MINUTE; 20]);
        assert!(soon > 4 * MINUTE && soon < 5 * MINUTE, "{soon:?}");
        assert_eq!(learnt([24 * 60 * MINUTE; 20]), SHORTEST, "that would cost more than a start");
    }

    #[test]
    fn too_little_is_known_at_first() {
        assert_eq!(learnt([MINUTE; 5]), FIXED);
        assert_ne!(learnt([MINUTE; 6]), FIXED);
    }

    #[test]
    fn quick_runs_do_not_drown_the_pauses_between_them() {
        let pauses = (0..400).map(|n| if n % 40 == 0 { 3 * MINUTE } else { SECOND / 10 });
        let kept = learnt(pauses);
        assert!(kept > 3 * MINUTE && kept < 4 * MINUTE, "{kept:?}");
    }

    #[test]
    fn an_action_that_is_never_quiet_may_need_all_its_containers() {
        let (mut keeping, key) = (Keeping::new(KeepPolicy::Learnt, FIXED), key("a"));
        // One run after the other in one container, and nine more are needed
        // every three minutes.
        for second in 0..3600 {
            let now = SECOND * second;
            let containers = if second % 180 == 0 { 10 } else { 1 };
            (0..containers).for_each(|_| keeping.needed(&key, now));
            (0..containers).for_each(|_| keeping.idle(&key, now));
        }
        let kept = keeping.time(Some(&key));
        assert!(kept >= 3 * MINUTE && kept < 4 * MINUTE, "{kept:?}");
    }

    #[test]
    fn what_changes_is_learnt_anew() {
        let before = vec![MINUTE; 2000];
        let kept = learnt(before.into_iter().chain(vec![4 * MINUTE; 600]));
        assert!(kept > 4 * MINUTE, "{kept:?}");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes() {
        let mut keeping = Keeping::new(KeepPolicy::Learnt, FIXED);
        for n in 0..ACTIONS + 1000 {
            keeping.needed(&key(&format!("a{n}")), SECOND * n as u32);
            assert!(keeping.actions.len() <= ACTIONS);
        }
        let name = |n: usize| ("ns".parse().unwrap(), format!("ns/a{n}").parse().unwrap());
        assert!(keeping.actions.contains_key(&name(ACTIONS + 999)) && !keeping.actions.contains_key(&name(0)));
    }

    #[test]
    fn a_fixed_time_remembers_nothing() {
        let mut keeping = Keeping::new(KeepPolicy::Fixed, FIXED);
        keeping.needed(&key("a"), SECOND);
        keeping.idle(&key("a"), SECOND);
        assert!(keeping.actions.is_empty());
        assert_eq!((keeping.shortest(), keeping.time(Some(&key("a")))), (FIXED, FIXED));
    }

    #[test]
    fn each_pause_has_its_cell() {
        for cell in 0..CELLS - 1 {
            let (first, last) = (bound(cell).ceil() as u32, bound(cell + 1).ceil() as u32 - 1);
            assert_eq!((cell_of(first), cell_of(last)), (Some(cell), Some(cell)));
        }
        assert_eq!((cell_of(9), cell_of(10), cell_of(u32::MAX)), (None, Some(0), Some(CELLS - 1)));
    }

    proptest! {
        /// What the counted pauses would have cost when kept for `time`.
        #[test]
        fn no_other_time_would_have_cost_less(pauses in prop::collection::vec(1..30_000u32, 6..60)) {
            let kept = learnt(pauses.iter().map(|s| SECOND * *s)).as_secs_f64();
            let price = FIXED.as_secs_f64();
            let middle = |s: &u32| match cell_of(*s)? {
                cell if cell == CELLS - 1 => Some(f64::INFINITY),
                cell => Some(f64::midpoint(bound(cell), bound(cell + 1))),
            };
            let long: Vec<f64> = pauses.iter().filter_map(middle).collect();
            let cost = |time: f64| -> f64 { long.iter().map(|s| if *s <= time { *s } else { time + price }).sum() };
            let least = (0..CELLS).map(bound).map(cost).fold(f64::INFINITY, f64::min);
            prop_assert!(long.len() < FEW as usize || cost(kept) <= least + 1e-3, "{} {}", cost(kept), least);
        }
    }
}
