//! Controllers and invokers, on a clock of their own.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    time::Duration,
};

use whisker_dice::Dice;
use whisker_entity::ActivationId;
use whisker_placement::{Config, End, Event, Invoker, Placement, Policy};

use crate::{
    pool::{Begun, Pool},
    traffic::Function,
};

/// Of each invoker.
pub const MEMORY_MB: u32 = 4096;
/// From an order to a container that has its code.
const START_S: f64 = 0.3;
/// From one process to another.
const WAY_S: f64 = 0.001;
/// What comes sooner is for warming up, the rest is counted.
const WARMING: f64 = 1.0 / 3.0;

/// What is compared.
pub struct Scenario {
    pub invokers: u32,
    pub controllers: u32,
    /// The part of all memory that runs take on average.
    pub load: f64,
    pub seconds: f64,
    /// Invokers that join, one after the other, while it is counted.
    pub joins: u32,
}

/// What was counted.
#[derive(Default)]
pub struct Counted {
    pub runs: u64,
    pub cold: u64,
    /// Waited for memory.
    pub queued: u64,
    pub forced: u64,
    waits_us: Vec<u32>,
    /// Of each invoker.
    busy_mb_s: Vec<f64>,
}

impl Counted {
    pub fn wait_ms(&mut self, part: f64) -> f64 {
        self.waits_us.sort_unstable();
        let at = (self.waits_us.len() as f64 * part) as usize;
        self.waits_us.get(at).map_or(0.0, |wait| f64::from(*wait) / 1e3)
    }

    /// How much more the busiest one worked than all did on average. (The last
    /// tenth of all are there for black boxes, of which there are none.)
    pub fn busiest(&self) -> f64 {
        let managed = &self.busy_mb_s[..(self.busy_mb_s.len() * 9).div_ceil(10)];
        let mean = managed.iter().sum::<f64>() / managed.len() as f64;
        managed.iter().copied().fold(0.0, f64::max) / mean
    }
}

/// A run under way.
#[derive(Debug, Clone, Copy)]
struct Run {
    function: usize,
    id: ActivationId,
    controller: usize,
    forced: bool,
}

enum Due {
    Invoked(usize),
    Received(usize, Run),
    Ended(usize, Run),
    Acknowledged(usize, Run),
    Second,
    Joins,
}

pub struct World<'a> {
    functions: &'a [Function],
    scenario: &'a Scenario,
    /// Of each function: for its pauses, for its runs. So all policies meet the
    /// same traffic.
    dice: Vec<(Dice, Dice)>,
    chance: Dice,
    placements: Vec<Placement>,
    pools: Vec<Pool<Run>>,
    now_us: u64,
    due: BinaryHeap<Reverse<(u64, u64)>>,
    what: HashMap<u64, Due>,
    next: u64,
    counted: Counted,
}

impl<'a> World<'a> {
    pub fn new(functions: &'a [Function], seed: u64, policy: Policy, scenario: &'a Scenario) -> World<'a> {
        let config = Config { policy, max_in_flight: usize::MAX, ..Config::default() };
        let placements = (0..scenario.controllers).map(|_| Placement::new(config.clone())).collect();
        let seeds = |n: u64| (Dice(Dice(seed ^ (n << 32)).bits()), Dice(Dice(!seed ^ (n << 32)).bits()));
        let mut world = World {
            functions,
            scenario,
            dice: (0..functions.len() as u64).map(seeds).collect(),
            chance: Dice(seed),
            placements,
            pools: Vec::new(),
            now_us: 0,
            due: BinaryHeap::new(),
            what: HashMap::new(),
            next: 0,
            counted: Counted::default(),
        };
        (0..scenario.invokers).for_each(|_| world.join());
        world
    }

    pub fn run(mut self) -> Counted {
        let functions = self.functions;
        for (number, function) in functions.iter().enumerate() {
            let dice = &mut self.dice[number].0;
            let first = function.rhythm.pause_s(dice) * dice.uniform();
            self.after(first, Due::Invoked(number));
        }
        self.after(0.0, Due::Second);
        let counted_s = self.scenario.seconds * (1.0 - WARMING);
        for join in 0..self.scenario.joins {
            let part = f64::from(join + 1) / f64::from(self.scenario.joins + 1);
            self.after(self.scenario.seconds - counted_s * (1.0 - part), Due::Joins);
        }
        let end_us = (self.scenario.seconds * 1e6) as u64;
        while let Some(Reverse((at, id))) = self.due.pop().filter(|Reverse((at, _))| *at < end_us) {
            self.now_us = at;
            match self.what.remove(&id) {
                Some(Due::Invoked(function)) => self.invoke(function),
                Some(Due::Received(invoker, run)) => {
                    let begun = self.pools[invoker].arrived(at, run.function, run, functions);
                    begun.into_iter().for_each(|begun| self.begin(invoker, &begun));
                }
                Some(Due::Ended(invoker, run)) => {
                    self.after(WAY_S, Due::Acknowledged(invoker, run));
                    let begun = self.pools[invoker].ended(at, run.function, functions);
                    begun.iter().for_each(|begun| self.begin(invoker, begun));
                }
                Some(Due::Acknowledged(invoker, run)) => {
                    let invoker = Invoker(invoker as u32);
                    let ended = Event::Ended { activation: run.id, invoker, end: End::Success };
                    self.placements[run.controller].on(Duration::from_micros(self.now_us), ended);
                }
                Some(Due::Second) => self.second(),
                Some(Due::Joins) => self.join(),
                None => {}
            }
        }
        self.counted
    }

    fn counts(&self) -> bool {
        self.now_us as f64 / 1e6 >= self.scenario.seconds * WARMING
    }

    fn after(&mut self, seconds: f64, what: Due) {
        self.next += 1;
        self.due.push(Reverse((self.now_us + (seconds * 1e6) as u64, self.next)));
        self.what.insert(self.next, what);
    }

    fn join(&mut self) {
        self.pools.push(Pool::new(MEMORY_MB));
        self.counted.busy_mb_s.push(0.0);
        self.ping(self.pools.len() - 1);
        let now = Duration::from_micros(self.now_us);
        let invoker = Invoker(self.pools.len() as u32 - 1);
        for placement in &mut self.placements {
            placement.on(now, Event::Controllers(self.scenario.controllers));
            placement.on(now, Event::Tested { invoker, end: End::Success });
        }
    }

    fn ping(&mut self, invoker: usize) {
        let busy_mb = Some(u64::from(MEMORY_MB - self.pools[invoker].unused_mb(self.functions)));
        let invoker = Invoker(invoker as u32);
        let ping = Event::Ping { invoker, memory_mb: u64::from(MEMORY_MB), busy_mb, enabled: true, life: 1 };
        let now = Duration::from_micros(self.now_us);
        self.placements.iter_mut().for_each(|placement| drop(placement.on(now, ping.clone())));
    }

    fn second(&mut self) {
        let now = Duration::from_micros(self.now_us);
        (0..self.pools.len()).for_each(|invoker| self.ping(invoker));
        self.placements.iter_mut().for_each(|placement| drop(placement.on(now, Event::Tick)));
        self.pools.iter_mut().for_each(|pool| pool.second(self.now_us, self.functions));
        self.after(1.0, Due::Second);
    }

    fn invoke(&mut self, function: usize) {
        let functions = self.functions;
        let pause = functions[function].rhythm.pause_s(&mut self.dice[function].0);
        self.after(pause, Due::Invoked(function));
        let controller = (self.chance.bits() % u64::from(self.scenario.controllers)) as usize;
        let id = ActivationId::from_bytes(u128::from(self.next).to_be_bytes());
        let now = Duration::from_micros(self.now_us);
        let dice = self.chance.bits();
        let Ok(placed) = self.placements[controller].book(now, id, &functions[function].want, dice) else { return };
        let run = Run { function, id, controller, forced: placed.forced };
        self.after(WAY_S, Due::Received(placed.invoker.0 as usize, run));
    }

    fn begin(&mut self, invoker: usize, begun: &Begun<Run>) {
        let run = begun.run;
        let function = &self.functions[run.function];
        let start_s = if begun.cold { START_S } else { 0.0 };
        let took_s = start_s + 0.5 * function.run_s + self.dice[run.function].1.exponential(0.5 * function.run_s);
        self.after(took_s, Due::Ended(invoker, run));
        if self.counts() {
            self.counted.runs += 1;
            self.counted.cold += u64::from(begun.cold);
            self.counted.queued += u64::from(begun.waited_us > 0);
            self.counted.forced += u64::from(run.forced);
            self.counted.waits_us.push(begun.waited_us.min(u64::from(u32::MAX)) as u32);
            self.counted.busy_mb_s[invoker] += f64::from(function.want.action.memory_mb) * took_s;
        }
    }
}
