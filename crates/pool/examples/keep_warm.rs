//! What each way of keeping containers warm costs, and what it saves: a day of
//! made-up traffic through the real pool, on a clock of its own.
//!
//! The traffic has the shape that was published of a large cloud's functions
//! (Shahrad et al., "Serverless in the Wild", USENIX ATC 2020): 45 of 100
//! are invoked at most once an hour, 81 at most once a minute, and the rest
//! have nearly all invocations; 29 of 100 run by a timer, one in ten of the
//! rest at random times, most in bursts; half run for less than a second, few
//! for minutes (log-normal); memory follows their Burr distribution, in the
//! sizes that people choose. The rates at the upper end are cut off: functions
//! that never rest tell nothing here.
//!
//! `cargo run --release -p whisker-pool --example keep_warm [SEED]`

#![expect(clippy::print_stdout, reason = "this is what the command answers")]

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
    time::Duration,
};

use whisker_dice::Dice;
use whisker_pool::{Config, End, Event, KeepPolicy, Key, Order, Pool, Reason, Shape, SlotId, Ticket, Want};

const HOUR_S: f64 = 3600.0;
/// The first day is for learning, the second one is counted.
const DAYS: f64 = 2.0;
const ACTIONS: usize = 600;
/// Most runs a day of one action.
const MOST_RUNS: f64 = 20_000.0;
/// From an order to a container that has its code.
const START_S: f64 = 0.1;
const TICK_S: f64 = 1.0;

/// When an action is invoked next.
#[derive(Debug, Clone, Copy)]
enum Rhythm {
    Timer {
        period_s: f64,
    },
    Random {
        mean_s: f64,
    },
    /// Runs in quick succession, then a long pause.
    Bursts {
        within_s: f64,
        between_s: f64,
        again: f64,
    },
    /// Pauses of all sizes.
    Uneven {
        median_s: f64,
        spread: f64,
    },
}

struct Function {
    want: Want,
    rhythm: Rhythm,
    run_s: f64,
}

impl Rhythm {
    fn new(dice: &mut Dice) -> Rhythm {
        // Runs a day, from their published distribution.
        let points = [(0.0, 0.3), (0.45, 24.0), (0.81, 1440.0), (1.0, MOST_RUNS)];
        let share = dice.uniform();
        let upper = points.iter().position(|(at, _)| *at >= share).unwrap_or(3).max(1);
        let ((from, low), (to, high)) = (points[upper - 1], points[upper]);
        let part = (share - from) / (to - from);
        let daily: f64 = (f64::ln(low) + part * (f64::ln(high) - f64::ln(low))).exp();
        let mean_s = 24.0 * HOUR_S / daily;
        let kind = dice.uniform();
        if kind < 0.29 {
            let periods = [60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 6.0 * HOUR_S, 24.0 * HOUR_S];
            let near = |period: &f64| (f64::ln(*period) - f64::ln(mean_s)).abs();
            let period_s = periods.into_iter().min_by(|a, b| near(a).total_cmp(&near(b))).unwrap_or(3600.0);
            return Rhythm::Timer { period_s };
        }
        if kind < 0.40 {
            return Rhythm::Random { mean_s };
        }
        if kind < 0.75 {
            let within_s = (mean_s / 20.0).min(5.0);
            let again = 0.5 + 0.45 * dice.uniform();
            return Rhythm::Bursts { within_s, between_s: mean_s / (1.0 - again), again };
        }
        let spread = 1.0 + dice.uniform();
        Rhythm::Uneven { median_s: mean_s / (spread * spread / 2.0).exp(), spread }
    }

    fn pause_s(&self, dice: &mut Dice) -> f64 {
        match *self {
            Rhythm::Timer { period_s } => period_s + 0.5 * dice.uniform() - 0.25,
            Rhythm::Random { mean_s } => dice.exponential(mean_s),
            Rhythm::Bursts { within_s, between_s, again } => {
                let mean_s = if dice.uniform() < again { within_s } else { between_s };
                dice.exponential(mean_s)
            }
            Rhythm::Uneven { median_s, spread } => median_s * (spread * dice.normal()).exp(),
        }
    }
}

impl Function {
    fn new(number: usize, dice: &mut Dice) -> Option<Function> {
        let name = format!("f{number}");
        let key = Key {
            namespace: "ns".parse().ok()?,
            action: format!("ns/{name}").parse().ok()?,
            revision: "1".into(),
            environment: 0,
        };
        let burr = 107.083 * (dice.uniform().powf(-1.0 / 0.221) - 1.0).powf(1.0 / 11.652);
        let memory_mb = [128, 192, 256, 384, 512].into_iter().find(|size| f64::from(*size) >= burr).unwrap_or(1024);
        let shape = Shape { kind: "nodejs:20".into(), memory_mb, concurrent: false };
        let want = Want { key: Arc::new(key), shape, concurrency: 1 };
        let run_s = (-0.38 + 2.36 * dice.normal()).exp().clamp(0.001, 60.0);
        Some(Function { want, rhythm: Rhythm::new(dice), run_s })
    }
}

/// What is due at some time.
enum Due {
    Arrival(usize),
    Tell(Event<usize>),
    Tick,
}

#[derive(Default)]
struct Counted {
    runs: u64,
    cold: u64,
    /// Of each action: runs, cold ones.
    actions: HashMap<usize, (u64, u64)>,
    idle_mb_s: f64,
    busy_mb_s: f64,
}

struct World<'a> {
    functions: &'a [Function],
    /// Of each function: for its pauses, for its runs. So all policies meet the
    /// same traffic.
    dice: Vec<(Dice, Dice)>,
    pool: Pool<usize>,
    now_us: u64,
    due: BinaryHeap<Reverse<(u64, u64)>>,
    what: HashMap<u64, Due>,
    next: u64,
    slots: HashMap<SlotId, (u32, bool)>,
    idle_mb: f64,
    busy_mb: f64,
    counted: Counted,
}

impl<'a> World<'a> {
    fn new(functions: &'a [Function], seed: u64, config: Config) -> World<'a> {
        World {
            functions,
            dice: (0..functions.len() as u64)
                .map(|n| (Dice(Dice(seed ^ (n << 32)).bits()), Dice(Dice(!seed ^ (n << 32)).bits())))
                .collect(),
            pool: Pool::new(config),
            now_us: 0,
            due: BinaryHeap::new(),
            what: HashMap::new(),
            next: 0,
            slots: HashMap::new(),
            idle_mb: 0.0,
            busy_mb: 0.0,
            counted: Counted::default(),
        }
    }

    fn after(&mut self, seconds: f64, what: Due) {
        self.next += 1;
        self.due.push(Reverse((self.now_us + (seconds * 1e6) as u64, self.next)));
        self.what.insert(self.next, what);
    }

    fn counts(&self) -> bool {
        self.now_us as f64 / 1e6 >= DAYS / 2.0 * 24.0 * HOUR_S
    }

    fn run(mut self) -> Counted {
        for (number, function) in self.functions.iter().enumerate() {
            let dice = &mut self.dice[number].0;
            let first = function.rhythm.pause_s(dice) * dice.uniform();
            self.after(first, Due::Arrival(number));
        }
        self.after(0.0, Due::Tick);
        let end_us = (DAYS * 24.0 * HOUR_S * 1e6) as u64;
        while let Some(Reverse((at, id))) = self.due.pop().filter(|Reverse((at, _))| *at < end_us) {
            if self.counts() {
                let passed = (at - self.now_us) as f64 / 1e6;
                self.counted.idle_mb_s += self.idle_mb * passed;
                self.counted.busy_mb_s += self.busy_mb * passed;
            }
            self.now_us = at;
            match self.what.remove(&id) {
                Some(Due::Arrival(number)) => {
                    let pause = self.functions[number].rhythm.pause_s(&mut self.dice[number].0);
                    self.after(pause, Due::Arrival(number));
                    let want = self.functions[number].want.clone();
                    self.tell(Event::Arrived { run: number, want });
                }
                Some(Due::Tell(event)) => self.tell(event),
                Some(Due::Tick) => {
                    self.after(TICK_S, Due::Tick);
                    self.tell(Event::Tick);
                }
                None => {}
            }
        }
        self.counted
    }

    fn tell(&mut self, event: Event<usize>) {
        if let Event::Ended { slot, .. } = &event {
            self.busy(*slot, false);
        }
        for order in self.pool.on(Duration::from_micros(self.now_us), event) {
            match order {
                Order::Start { slot, shape } => {
                    self.slots.insert(slot, (shape.memory_mb, true));
                    self.busy_mb += f64::from(shape.memory_mb);
                    self.after(START_S, Due::Tell(Event::Started(slot)));
                }
                Order::Run { slot, ticket, reason } => self.begin(slot, &ticket, reason),
                Order::Pause(slot) => self.after(0.0, Due::Tell(Event::Paused(slot))),
                Order::Remove(slot) => {
                    self.busy(slot, false);
                    if let Some((memory_mb, _)) = self.slots.remove(&slot) {
                        self.idle_mb -= f64::from(memory_mb);
                    }
                    self.after(0.0, Due::Tell(Event::Removed(slot)));
                }
                Order::Refuse { .. } => {}
            }
        }
    }

    fn begin(&mut self, slot: SlotId, ticket: &Ticket<usize>, reason: Reason) {
        self.busy(slot, true);
        let cold = matches!(reason, Reason::Cold | Reason::Prewarmed);
        if cold {
            self.after(0.0, Due::Tell(Event::Initialised(slot)));
        } else if reason == Reason::Paused {
            self.after(0.0, Due::Tell(Event::Resumed(slot)));
        }
        let run_s = self.functions[ticket.run].run_s;
        let took = (0.5 * run_s) + self.dice[ticket.run].1.exponential(0.5 * run_s);
        self.after(took, Due::Tell(Event::Ended { slot, end: End::Fit }));
        if self.counts() {
            let of_action = self.counted.actions.entry(ticket.run).or_default();
            of_action.0 += 1;
            of_action.1 += u64::from(cold);
            self.counted.runs += 1;
            self.counted.cold += u64::from(cold);
        }
    }

    /// Moves a container's memory between what works and what waits.
    fn busy(&mut self, slot: SlotId, now_busy: bool) {
        let Some((memory_mb, busy)) = self.slots.get_mut(&slot).filter(|(_, busy)| *busy != now_busy) else { return };
        *busy = now_busy;
        let moved = if now_busy { f64::from(*memory_mb) } else { -f64::from(*memory_mb) };
        self.busy_mb += moved;
        self.idle_mb -= moved;
    }
}

fn main() {
    let seed = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(1);
    let mut dice = Dice(seed);
    let functions: Vec<Function> = (0..ACTIONS).filter_map(|number| Function::new(number, &mut dice)).collect();
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let policies = [
        ("none kept", KeepPolicy::Fixed, Duration::ZERO),
        ("fixed, 5 min", KeepPolicy::Fixed, minutes(5)),
        ("fixed, 10 min", KeepPolicy::Fixed, minutes(10)),
        ("fixed, 20 min", KeepPolicy::Fixed, minutes(20)),
        ("fixed, 60 min", KeepPolicy::Fixed, minutes(60)),
        ("learnt, a start worth 5 min", KeepPolicy::Learnt, minutes(5)),
        ("learnt, 10 min", KeepPolicy::Learnt, minutes(10)),
        ("learnt, 20 min", KeepPolicy::Learnt, minutes(20)),
        ("learnt, 60 min", KeepPolicy::Learnt, minutes(60)),
    ];
    println!("One day, {ACTIONS} actions, seed {seed}.\n");
    println!("| policy | runs | cold | of all | median action | worst quarter | idle, GB·h | idle a busy MB·s |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (name, keep_policy, keep_warm) in policies {
        let config = Config {
            memory_mb: 1 << 40,
            max_waiting: usize::MAX,
            max_starts: usize::MAX,
            keep_warm,
            keep_policy,
            ..Config::default()
        };
        let counted = World::new(&functions, seed, config).run();
        let mut shares: Vec<f64> =
            counted.actions.values().map(|(runs, cold)| *cold as f64 / *runs as f64 * 100.0).collect();
        shares.sort_by(f64::total_cmp);
        println!(
            "| {name} | {} | {} | {:.2} % | {:.1} % | {:.1} % | {:.0} | {:.2} |",
            counted.runs,
            counted.cold,
            counted.cold as f64 / counted.runs as f64 * 100.0,
            shares[shares.len() / 2],
            shares[shares.len() * 3 / 4],
            counted.idle_mb_s / 1024.0 / HOUR_S,
            counted.idle_mb_s / counted.busy_mb_s,
        );
    }
}
