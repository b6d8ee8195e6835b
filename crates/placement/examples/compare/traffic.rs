//! Who is invoked when, and for how long.

use std::{sync::Arc, time::Duration};

use whisker_dice::Dice;
use whisker_entity::Version;
use whisker_placement::{Action, Want};

use crate::world::{MEMORY_MB, Scenario};

/// Actions for each invoker.
const ACTIONS: usize = 12;
/// The second most popular action has this root of half of the runs of the
/// first one, and so on.
const SKEW: f64 = 1.05;

/// How much more an action in a burst is invoked than on average.
const BURST: f64 = 4.0;

/// When an action is invoked next.
#[derive(Debug, Clone, Copy)]
pub enum Rhythm {
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
}

impl Rhythm {
    fn new(mean_s: f64, dice: &mut Dice) -> Rhythm {
        match dice.uniform() {
            kind if kind < 0.25 => Rhythm::Timer { period_s: mean_s },
            kind if kind < 0.5 => Rhythm::Random { mean_s },
            _ => {
                let again = 0.8 + 0.19 * dice.uniform();
                let within_s = mean_s / BURST;
                Rhythm::Bursts { within_s, between_s: (mean_s - again * within_s) / (1.0 - again), again }
            }
        }
    }

    pub fn pause_s(self, dice: &mut Dice) -> f64 {
        match self {
            Rhythm::Timer { period_s } => period_s * (0.99 + 0.02 * dice.uniform()),
            Rhythm::Random { mean_s } => dice.exponential(mean_s),
            Rhythm::Bursts { within_s, between_s, again } => {
                let mean_s = if dice.uniform() < again { within_s } else { between_s };
                dice.exponential(mean_s)
            }
        }
    }
}

/// One action, as the placement and as a pool know it.
pub struct Function {
    pub want: Want,
    pub rhythm: Rhythm,
    pub run_s: f64,
}

impl Function {
    /// So many that the invokers' memory is busy to the given part.
    pub fn all(seed: u64, scenario: &Scenario) -> Vec<Function> {
        let mut dice = Dice(seed);
        let count = ACTIONS * scenario.invokers as usize;
        // Which of them is popular has nothing to do with its other sides.
        let sides: Vec<(u32, f64)> = (0..count)
            .map(|_| {
                let memory_mb = [128, 128, 128, 256, 256, 512][(dice.bits() % 6) as usize];
                (memory_mb, (-1.0 + 1.3 * dice.normal()).exp().clamp(0.005, 30.0))
            })
            .collect();
        let popularity = |rank: usize| 1.0 / (rank as f64 + 1.0).powf(SKEW);
        let demand: f64 =
            sides.iter().enumerate().map(|(rank, (mb, run_s))| popularity(rank) * f64::from(*mb) * run_s).sum();
        let managed = (f64::from(scenario.invokers) * 0.9).ceil();
        let rate = scenario.load * managed * f64::from(MEMORY_MB) / demand;
        sides
            .into_iter()
            .enumerate()
            .filter_map(|(rank, (memory_mb, run_s))| {
                let rhythm = Rhythm::new(1.0 / (rate * popularity(rank)), &mut dice);
                Function::new(rank, memory_mb, run_s, rhythm)
            })
            .collect()
    }

    fn new(number: usize, memory_mb: u32, run_s: f64, rhythm: Rhythm) -> Option<Function> {
        let (namespace, name) = (format!("ns{}", number % 50), format!("f{number}"));
        let action = Action {
            namespace: namespace.parse().ok()?,
            name: format!("{namespace}/{name}").parse().ok()?,
            version: Version::FIRST,
            memory_mb,
            concurrency: 1,
            blackbox: false,
        };
        Some(Function { want: Want { action: Arc::new(action), time_limit: Duration::from_secs(60) }, rhythm, run_s })
    }
}
