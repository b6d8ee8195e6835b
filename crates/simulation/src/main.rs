//! Lives seeds, and says how to live a failing one again.
//!
//! `whisker-simulation` lives 10,000 seeds, `whisker-simulation FROM COUNT`
//! others, `whisker-simulation SEED` one, and tells what happened.

#![expect(clippy::print_stdout, reason = "this is what the command answers")]

use std::{process::ExitCode, time::Instant};

use whisker_simulation::{Sabotage, Seen, run, tell};

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let (from, count) = match numbers[..] {
        [] => (0, 10_000),
        [seed] => (seed, 1),
        [from, count, ..] => (from, count),
    };
    if count == 1 {
        let (result, story) = tell(from, Sabotage::Nothing);
        story.iter().for_each(|line| println!("{line}"));
        return match result {
            Ok(seen) => {
                println!("{seen:#?}");
                ExitCode::SUCCESS
            }
            Err(broken) => {
                println!("{broken}.");
                ExitCode::FAILURE
            }
        };
    }
    let started = Instant::now();
    let mut seen = Seen::default();
    for seed in from..from.saturating_add(count) {
        match run(seed, Sabotage::Nothing) {
            Ok(more) => seen += more,
            Err(broken) => {
                println!("Seed {seed}: {broken}.");
                println!("To live it again: cargo run --release -p whisker-simulation -- {seed}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{count} seeds from {from} on in {:.1} s: everything held.", started.elapsed().as_secs_f64());
    println!("{seen:#?}");
    ExitCode::SUCCESS
}
