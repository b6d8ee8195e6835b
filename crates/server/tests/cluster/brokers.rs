//! Rows 1 and 8: what brokers do to what is on its way to them, on three of
//! them that copy to each other.

use std::time::Duration;

use serde_json::json;
use whisker_testkit::{Cluster, Server, eventually, source};

use crate::{
    SETTLED,
    load::{Load, recorded},
    settle,
    tally::Tally,
};

/// Clients that invoke while nobody takes it.
const CLIENTS: usize = 8;

/// Row 8.
#[test]
fn of_three_brokers_one_dies_under_load_and_nothing_is_lost() {
    let cluster = Cluster::copied();
    let cluster = Cluster::whole(&cluster);
    let (tally, guest) = (Tally::start(), cluster.guest());
    guest.action("copied", &source("python:default", &tally.function(0.0)));
    let load = Load::default();
    load.during(&guest, "copied", 4, || {
        load.accept_more(100);
        cluster.kafka().kill(0);
        load.accept_more(100);
        cluster.kafka().resume(0);
        load.accept_more(100);
    });
    settle(&guest, &load, &tally, "one of three brokers killed");
}

/// Row 1: the brokers are gone, so that nothing leaves the controllers.
#[test]
fn what_no_broker_had_when_its_controller_was_killed_never_runs() {
    let cluster = Cluster::copied();
    let mut cluster = Cluster::whole(&cluster);
    let (tally, guest) = (Tally::start(), cluster.guest());
    guest.action("unsent", &source("python:default", &tally.function(0.0)));
    cluster.kafka().kill_all();
    let load = killed_while_waiting(&mut cluster, "unsent");
    cluster.kafka().resume_all();
    cluster.heal();
    let ran = after(&cluster, &tally);
    eprintln!("controllers killed while no broker was there: {} errors, {ran} phantom runs", load.refused().len());
    assert_eq!(ran, 0);
}

/// The other half of row 1, which nobody can promise: the brokers had it, and
/// their word did not arrive. It runs once at most, and has its record.
#[test]
fn what_the_brokers_took_in_silence_runs_once_or_never_and_is_recorded() {
    let cluster = Cluster::copied();
    let mut cluster = Cluster::whole(&cluster);
    let (tally, guest) = (Tally::start(), cluster.guest());
    guest.action("silent", &source("python:default", &tally.function(0.0)));
    cluster.kafka().freeze_all();
    let load = killed_while_waiting(&mut cluster, "silent");
    cluster.kafka().thaw_all();
    cluster.heal();
    let ran = after(&cluster, &tally);
    eprintln!("controllers killed while the brokers hung: {} errors, {ran} of those ran", load.refused().len());
    let runs = tally.runs();
    assert!(runs.values().all(|times| *times == 1), "{runs:?}");
    let ids: Vec<String> = runs.into_keys().collect();
    let (_, statuses) = recorded(&guest, &ids, SETTLED);
    assert!(statuses.iter().all(|status| status == "success"), "{statuses:?}");
}

/// Has clients invoke an action until some wait for the brokers' word, then
/// kills all controllers. Nobody was told that anything is accepted.
#[track_caller]
fn killed_while_waiting(cluster: &mut Cluster, action: &str) -> Load {
    let (guest, load) = (cluster.guest(), Load::default());
    load.during(&guest, action, CLIENTS, || {
        for index in 0..cluster.controllers() {
            // What is refused since it took too long is asked for again.
            eventually(Duration::from_secs(60), || match metric(cluster.controller(index), "controller_in_flight") {
                0.0 => Err("nothing is on its way".to_owned()),
                _ => Ok(()),
            });
        }
        (0..cluster.controllers()).for_each(|index| drop(cluster.kill_controller(index)));
    });
    assert_eq!(load.accepted(), [""; 0], "202 without a broker");
    assert!(!load.refused().is_empty());
    load
}

/// How often runs were counted, once what is sent now to every invoker has run
/// and nothing is left for anyone.
#[track_caller]
fn after(cluster: &Cluster, tally: &Tally) -> usize {
    for index in 0..cluster.controllers() {
        let guest = cluster.controller(index).guest();
        guest.action("later", &source("python:default", "def main(args): return {}"));
        for _ in 0..8 {
            // Those that just came back may be gone again for a moment.
            eventually(SETTLED, || match guest.invoke("later", &json!({})).status() {
                503 => Err("nobody takes it".to_owned()),
                _ => Ok(()),
            });
        }
    }
    eventually(SETTLED, || {
        let invokers = (0..cluster.invokers()).map(|index| cluster.invoker(index));
        let left: Vec<f64> =
            invokers.flat_map(|invoker| ["bus_held", "bus_queue_length"].map(|name| metric(invoker, name))).collect();
        if left.iter().all(|count| *count == 0.0) { Ok(()) } else { Err(format!("{left:?} are left")) }
    });
    tally.runs().values().sum()
}

/// The sum of a metric over its labels.
pub fn metric(server: &Server, name: &str) -> f64 {
    let metrics = server.anyone().get("/metrics").text();
    let named = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
    metrics.lines().filter(named).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
