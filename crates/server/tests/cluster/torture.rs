//! Every process of a cluster is killed at random, for a given time, under load.
//!
//! `make torture` runs it; `WHISKER_TORTURE_SECONDS` says for how long,
//! `WHISKER_TORTURE_SEED` repeats a choice of victims. `docs/reliability.md`
//! has a run's report.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use whisker_dice::Dice;
use whisker_testkit::{Cluster, eventually, pause, source};

use crate::{
    load::{Load, recorded},
    tally::Tally,
};

/// How long it goes on, unless the variable says otherwise.
const SECONDS: u64 = 300;
/// Activations that are accepted at least, however long that takes.
const ACCEPTED: usize = 10_000;
/// Clients that invoke at the same time, and as many that read.
const CLIENTS: usize = 8;
/// Longest that all records may take to be there at the end.
const SETTLED: Duration = Duration::from_secs(300);

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Controller,
    Invoker,
    /// Two invokers at once, or an invoker and a controller.
    Two,
    Kafka,
    Database,
}

fn victim(dice: &mut Dice) -> Victim {
    match dice.below(10) {
        0..3 => Victim::Controller,
        3..7 => Victim::Invoker,
        7 => Victim::Two,
        8 => Victim::Kafka,
        _ => Victim::Database,
    }
}

/// Up to so many seconds.
fn moment(dice: &mut Dice, seconds: u64) -> Duration {
    Duration::from_millis(dice.below(1000 * seconds))
}

#[test]
#[ignore = "takes minutes: make torture"]
fn nothing_accepted_is_lost_or_doubled_whatever_is_killed() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seconds = number("WHISKER_TORTURE_SECONDS").unwrap_or(SECONDS);
    let seed = number("WHISKER_TORTURE_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let mut dice = Dice(seed);
    let mut cluster = Cluster::durable(2, 3);
    let (tally, guest) = (Tally::start(), cluster.guest());
    let code = tally.function_taking("1.0 if random.random() < 0.05 else 0.0");
    guest.action("tortured", &source("python:default", &code));
    let (load, mut kills, began) = (Load::default(), BTreeMap::new(), Instant::now());
    load.during(&guest, "tortured", CLIENTS, || {
        while began.elapsed().as_secs() < seconds || load.accepted().len() < ACCEPTED {
            pause(moment(&mut dice, 4));
            let victim = victim(&mut dice);
            *kills.entry(victim).or_insert(0_u32) += 1;
            kill(&mut cluster, &mut dice, victim);
            eprintln!(
                "{} s: {victim:?} killed and started again; {} accepted, {} ran, {} refused",
                began.elapsed().as_secs(),
                load.accepted().len(),
                tally.runs().len(),
                load.refused().len()
            );
        }
    });
    cluster.heal();
    let accepted = load.accepted();
    let (took, statuses) = recorded(&guest, &accepted, SETTLED);
    let runs = tally.runs();
    let interrupted = statuses.iter().filter(|status| *status != "success").count();
    let doubled: Vec<_> = runs.iter().filter(|(_, runs)| **runs > 1).collect();
    let succeeded = accepted.iter().zip(&statuses).filter(|(_, status)| *status == "success");
    let never: Vec<_> = succeeded.filter(|(id, _)| !runs.contains_key(*id)).collect();
    eprintln!(
        "seed {seed}, {} s, killed {kills:?}: {} accepted, 0 lost, {} doubled, {interrupted} interrupted, all recorded \
         {} ms after the end; {} invocations refused {:?}; {} of {} reads failed",
        began.elapsed().as_secs(),
        accepted.len(),
        doubled.len(),
        took.as_millis(),
        load.refused().len(),
        load.refused_kinds(),
        load.unread().len(),
        load.unread().len() + load.read_count(),
    );
    assert!(doubled.is_empty(), "ran twice: {doubled:?}");
    assert!(never.is_empty(), "recorded as a success, and never ran: {never:?}");
}

fn kill(cluster: &mut Cluster, dice: &mut Dice, victim: Victim) {
    let mut one_of = |count: usize| dice.below(count as u64) as usize;
    let (controller, invoker) = (one_of(cluster.controllers()), one_of(cluster.invokers()));
    let away = moment(dice, 3);
    match victim {
        Victim::Controller => {
            drop(cluster.kill_controller(controller));
            pause(away);
            cluster.start_controller(controller);
        }
        Victim::Invoker => {
            drop(cluster.kill_invoker(invoker));
            // Now and then for so long that others take up its work.
            pause(if dice.below(3) == 0 { away * 6 } else { away });
            cluster.start_invoker(invoker);
        }
        Victim::Two => {
            let other = (invoker + 1) % cluster.invokers();
            drop(cluster.kill_invoker(invoker));
            if dice.below(2) == 0 {
                drop(cluster.kill_invoker(other));
                pause(away);
                cluster.start_invoker(other);
            } else {
                drop(cluster.kill_controller(controller));
                pause(away);
                cluster.start_controller(controller);
            }
            cluster.start_invoker(invoker);
        }
        Victim::Kafka => {
            cluster.kafka().kill(0);
            pause(away);
            cluster.kafka().resume(0);
        }
        Victim::Database => {
            cluster.database().stop();
            pause(away);
            cluster.database().resume();
            // Those that were there see it again by themselves.
            eventually(SETTLED, || match cluster.guest().get("actions").status() {
                200 => Ok(()),
                status => Err(status.to_string()),
            });
        }
    }
}
