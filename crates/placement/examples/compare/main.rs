//! What each way of choosing invokers costs, and what it saves: made-up traffic
//! through the real placement, to invokers that are no more than their
//! containers (`pool.rs`), on a clock of its own.
//!
//! The traffic is skewed (popularity by Zipf's law: few actions have most runs)
//! and bursty (`traffic.rs`). All policies meet the same.
//!
//! `cargo run --release -p whisker-placement --example compare [SEED]`

#![expect(clippy::print_stdout, reason = "this is what the command answers")]

mod decision;
mod pool;
mod traffic;
mod world;

use whisker_placement::Policy;

use crate::{
    traffic::Function,
    world::{Scenario, World},
};

const POLICIES: [(&str, Policy); 2] = [("sharding", Policy::Sharding), ("bounded", Policy::Bounded)];

fn main() {
    let seed = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(1);
    let scenario = |invokers, controllers, load, seconds| Scenario { invokers, controllers, load, seconds, joins: 0 };
    let scenarios = [
        scenario(10, 1, 0.2, 900.0),
        scenario(10, 1, 0.4, 900.0),
        scenario(10, 1, 0.6, 900.0),
        Scenario { joins: 3, ..scenario(10, 1, 0.4, 900.0) },
        scenario(10, 2, 0.4, 900.0),
        scenario(100, 1, 0.4, 420.0),
        scenario(100, 3, 0.4, 420.0),
        scenario(1000, 1, 0.4, 120.0),
        scenario(1000, 3, 0.4, 120.0),
    ];
    println!("Seed {seed}.\n");
    println!(
        "| invokers | controllers | load | policy | runs | cold | queued | wait p99, ms | forced | busiest / average |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for scenario in scenarios {
        let functions = Function::all(seed, &scenario);
        for (name, policy) in POLICIES {
            let mut counted = World::new(&functions, seed, policy, &scenario).run();
            let wait_ms = counted.wait_ms(0.99);
            let percent = |part: u64| part as f64 / counted.runs as f64 * 100.0;
            let joined = if scenario.joins > 0 { format!(" + {}", scenario.joins) } else { String::new() };
            println!(
                "| {}{joined} | {} | {:.0} % | {name} | {} | {:.2} % | {:.2} % | {:.0} | {:.2} % | {:.2} |",
                scenario.invokers,
                scenario.controllers,
                scenario.load * 100.0,
                counted.runs,
                percent(counted.cold),
                percent(counted.queued),
                wait_ms,
                percent(counted.forced),
                counted.busiest(),
            );
        }
    }
    println!();
    decision::print();
}
