//! How long a decision takes, with its booking and its end, beside what any
//! bookkeeping of the same activations costs.

#![expect(clippy::print_stdout, reason = "this is what the command answers")]

use std::{
    collections::{BTreeSet, HashMap},
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use whisker_dice::Dice;
use whisker_entity::{ActivationId, Version};
use whisker_placement::{Action, Config, End, Event, Invoker, Placement, Policy, Want};

use crate::POLICIES;

const PLACES: u64 = 16;
const ROUNDS: usize = 200;
const BATCH: u64 = 500;

pub fn print() {
    let floor = floor();
    println!("Floor (a map of what is under way and an order of its time-outs, in and out): {floor:.2} µs.\n");
    println!("| invokers | booked | policy | book, median of batches, µs | book and end, µs | × floor |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for invokers in [10, 100, 1000] {
        for full in [0.0, 0.5, 0.9, 1.0] {
            for (name, policy) in POLICIES {
                let (book, both) = measure(policy, invokers, full);
                let part = full * 100.0;
                println!("| {invokers} | {part:.0} % | {name} | {book:.2} | {both:.2} | {:.1} |", both / floor);
            }
        }
    }
}

fn id(number: u64) -> ActivationId {
    ActivationId::from_bytes((u128::from(number) << 64 | u128::from(number)).to_be_bytes())
}

/// Actions of one container each, of which some are much more popular.
fn wants() -> Vec<Want> {
    let want = |number: usize| {
        Some(Want {
            action: Arc::new(Action {
                namespace: format!("ns{}", number % 50).parse().ok()?,
                name: format!("ns{}/f{number}", number % 50).parse().ok()?,
                version: Version::FIRST,
                memory_mb: 128,
                concurrency: 1,
                blackbox: false,
            }),
            time_limit: Duration::from_secs(60),
        })
    };
    (0..2000).filter_map(want).collect()
}

/// Microseconds to book one, and to book one and end it.
fn measure(policy: Policy, invokers: u32, full: f64) -> (f64, f64) {
    let now = Duration::ZERO;
    let mut placement = Placement::new(Config { policy, max_in_flight: usize::MAX, ..Config::default() });
    for invoker in (0..invokers).map(Invoker) {
        placement.on(now, Event::Ping { invoker, memory_mb: PLACES * 128, busy_mb: None, enabled: true, life: 1 });
        placement.on(now, Event::Tested { invoker, end: End::Success });
    }
    let wants = wants();
    let mut dice = Dice(7);
    let mut pick = move || {
        let skewed = dice.uniform() * dice.uniform() * dice.uniform();
        (skewed * wants.len() as f64) as usize
    };
    let wants = self::wants();
    let managed = (u64::from(invokers) * 9).div_ceil(10);
    let standing = (managed as f64 * PLACES as f64 * full) as u64;
    for number in 0..standing {
        black_box(placement.book(now, id(number), &wants[pick()], number)).ok();
    }
    let (mut books, mut boths) = (Vec::new(), Vec::new());
    let mut next = standing;
    for _ in 0..ROUNDS {
        let mut placed = Vec::new();
        // As many at a time as keep the load what it is.
        let batch = BATCH.min((managed * PLACES / 20).max(1));
        let chosen: Vec<usize> = (0..batch).map(|_| pick()).collect();
        let started = Instant::now();
        for action in chosen {
            next += 1;
            if let Ok(to) = placement.book(now, id(next), &wants[action], next.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
                placed.push((next, to.invoker));
            }
        }
        let booked = started.elapsed();
        for (number, invoker) in placed {
            placement.on(now, Event::Ended { activation: id(number), invoker, end: End::Success });
        }
        books.push(booked.as_secs_f64() * 1e6 / batch as f64);
        boths.push(started.elapsed().as_secs_f64() * 1e6 / batch as f64);
    }
    (median(books), median(boths))
}

fn floor() -> f64 {
    let mut bookings = HashMap::new();
    let mut deadlines = BTreeSet::new();
    let standing = 10_000;
    for number in 0..standing {
        bookings.insert(id(number), number);
        deadlines.insert((Duration::from_micros(number), id(number)));
    }
    let mut times = Vec::new();
    let mut next = standing;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for number in next..next + BATCH {
            bookings.insert(id(number), number);
            deadlines.insert((Duration::from_micros(number), id(number)));
        }
        for number in next..next + BATCH {
            black_box(bookings.remove(&id(number)));
            deadlines.remove(&(Duration::from_micros(number), id(number)));
        }
        times.push(started.elapsed().as_secs_f64() * 1e6 / BATCH as f64);
        next += BATCH;
    }
    median(times)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
