//! An invoker's containers, as plain as they can be: whoever comes takes a
//! container of its action that is idle, the youngest first; else a new one,
//! for which idle ones of others go, the oldest first; else it waits its turn.
//! A container that falls idle takes the next run of its own action, unless
//! somebody has waited for memory for too long.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::traffic::Function;

/// How long others may be served first.
const PATIENCE_US: u64 = 1_000_000;
/// How long idle containers are kept.
const KEEP_US: u64 = 300_000_000;

pub struct Pool<R> {
    free_mb: u32,
    next: u64,
    /// By when they fell idle: of which function, and that time.
    idle: BTreeMap<u64, (usize, u64)>,
    idle_of: HashMap<usize, Vec<u64>>,
    waiting: BTreeMap<u64, Waiting<R>>,
    waiting_of: HashMap<usize, VecDeque<u64>>,
}

struct Waiting<R> {
    run: R,
    function: usize,
    since_us: u64,
}

/// A run that begins.
pub struct Begun<R> {
    pub run: R,
    pub cold: bool,
    pub waited_us: u64,
}

impl<R> Pool<R> {
    pub fn new(memory_mb: u32) -> Self {
        Self {
            free_mb: memory_mb,
            next: 0,
            idle: BTreeMap::new(),
            idle_of: HashMap::new(),
            waiting: BTreeMap::new(),
            waiting_of: HashMap::new(),
        }
    }

    /// What no run takes.
    pub fn unused_mb(&self, all: &[Function]) -> u32 {
        self.free_mb + self.idle.values().map(|(function, _)| all[*function].want.action.memory_mb).sum::<u32>()
    }

    pub fn arrived(&mut self, now_us: u64, function: usize, run: R, all: &[Function]) -> Option<Begun<R>> {
        if self.waiting.is_empty()
            && let Some(cold) = self.container(function, all)
        {
            return Some(Begun { run, cold, waited_us: 0 });
        }
        self.next += 1;
        self.waiting.insert(self.next, Waiting { run, function, since_us: now_us });
        self.waiting_of.entry(function).or_default().push_back(self.next);
        self.go_on(now_us, all)
    }

    /// A run of this function is over. Says which begin.
    pub fn ended(&mut self, now_us: u64, function: usize, all: &[Function]) -> Vec<Begun<R>> {
        self.next += 1;
        self.idle.insert(self.next, (function, now_us));
        self.idle_of.entry(function).or_default().push(self.next);
        let patient = self.waiting.first_key_value().is_some_and(|(_, first)| now_us - first.since_us < PATIENCE_US);
        let own = self.waiting_of.get(&function).and_then(|queue| queue.front().copied());
        let own = own.filter(|_| patient).and_then(|number| self.begin(now_us, number, all));
        own.into_iter().chain(std::iter::from_fn(|| self.go_on(now_us, all))).collect()
    }

    pub fn second(&mut self, now_us: u64, all: &[Function]) {
        while let Some((&stamp, _)) = self.idle.first_key_value().filter(|(_, (_, at))| at + KEEP_US <= now_us) {
            self.remove(stamp, all);
        }
    }

    /// Whoever has waited longest begins, if it can.
    fn go_on(&mut self, now_us: u64, all: &[Function]) -> Option<Begun<R>> {
        let (&number, _) = self.waiting.first_key_value()?;
        self.begin(now_us, number, all)
    }

    fn begin(&mut self, now_us: u64, number: u64, all: &[Function]) -> Option<Begun<R>> {
        let function = self.waiting.get(&number)?.function;
        let cold = self.container(function, all)?;
        let Waiting { run, since_us, .. } = self.waiting.remove(&number)?;
        self.waiting_of.get_mut(&function)?.retain(|waiting| *waiting != number);
        Some(Begun { run, cold, waited_us: now_us - since_us })
    }

    /// Takes a container; says whether it is a new one.
    fn container(&mut self, function: usize, all: &[Function]) -> Option<bool> {
        if let Some(stamp) = self.idle_of.get_mut(&function).and_then(Vec::pop) {
            self.idle.remove(&stamp);
            return Some(false);
        }
        let needed = all[function].want.action.memory_mb;
        if self.unused_mb(all) < needed {
            return None;
        }
        while self.free_mb < needed {
            let (&stamp, _) = self.idle.first_key_value()?;
            self.remove(stamp, all);
        }
        self.free_mb -= needed;
        Some(true)
    }

    fn remove(&mut self, stamp: u64, all: &[Function]) {
        let Some((function, _)) = self.idle.remove(&stamp) else { return };
        self.free_mb += all[function].want.action.memory_mb;
        if let Some(stamps) = self.idle_of.get_mut(&function) {
            stamps.retain(|kept| *kept != stamp);
        }
    }
}
