//! Controllers and invokers as processes of their own, on a real Kafka and a
//! real PostgreSQL, behind NGINX; and what a `202` promises while they die.
//!
//! One cluster serves all tests but those that need settings of their own, one
//! test at a time. `make test-cluster` runs these alone; rows are those of the
//! table of faults.

mod brokers;
mod limits;
mod load;
mod looks;
#[path = "../playing/mod.rs"]
#[allow(dead_code, reason = "each test target uses a part of it")]
mod playing;
mod roles;
mod tally;
mod tenants;
mod torture;

use std::{
    ffi::OsStr,
    path::Path,
    time::{Duration, Instant},
};

use load::{Load, recorded};
use serde_json::{Value, json};
use tally::Tally;
use whisker_testkit::{Client, Cluster, Server, eventually, pause, source};

/// Longest that what was accepted may take to be recorded, after whatever
/// happened: a busy machine adds to the 30 s that are promised.
const SETTLED: Duration = Duration::from_secs(150);

/// Documents of scenarios that are played on CouchDB as well.
const COUCHDB: [&str; 6] = ["actions", "packages", "bindings", "triggers", "rules", "sequences"];

#[test]
fn scenarios_hold_on_a_cluster() {
    let cluster = Cluster::shared();
    let cluster = Cluster::whole(&cluster);
    let failures = playing::failures_on_cluster(&cluster.origin(), playing::plain());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What entities and records are about, on the other store that servers may share.
#[test]
fn entities_are_the_same_on_a_cluster_with_couchdb() {
    let cluster = Cluster::on_couchdb(2, 1);
    let named = |path: &Path, names: &[&str]| {
        path.file_stem().and_then(OsStr::to_str).is_some_and(|name| names.contains(&name))
    };
    let mut paths = playing::plain();
    paths.retain(|path| named(path, &COUCHDB));
    assert_eq!(paths.len(), COUCHDB.len());
    let failures = playing::failures_on_cluster(&cluster.origin(), paths);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    crossing(&cluster);
}

#[test]
fn what_one_controller_has_written_the_other_serves() {
    let cluster = Cluster::shared();
    crossing(&Cluster::whole(&cluster));
}

/// An action is written by one controller and invoked at once by the other.
#[track_caller]
fn crossing(cluster: &Cluster) {
    let (first, second) = (cluster.controller(0).guest(), cluster.controller(1).guest());
    let code = |version: u32| format!("def main(args): return {{'version': {version}}}");
    first.action("crossing", &source("python:default", &code(0)));
    for version in 1..=20 {
        assert_eq!(second.result("crossing", &json!({}))["version"], version - 1);
        first.action("crossing", &source("python:default", &code(version)));
    }
    first.delete("actions/crossing").expect(200);
    assert_eq!(second.get("actions/crossing").status(), 404);
}

/// Row 4: what waited for an invoker that died runs elsewhere, once.
#[test]
fn work_of_a_killed_invoker_runs_elsewhere_once() {
    let cluster = Cluster::shared();
    let mut cluster = Cluster::whole(&cluster);
    let (tally, guest) = (Tally::start(), cluster.guest());
    // Two of them fill an invoker, so that others wait for those.
    let slow = json!({"exec": {"kind": "python:default", "code": tally.function(3.0)}, "limits": {"memory": 512}});
    guest.action("waits", &slow);
    let ids: Vec<String> = (0..12).map(|_| guest.accept("waits", &json!({}))).collect();
    eventually(Duration::from_secs(60), || match tally.runs().len() {
        began if began >= 2 => Ok(()),
        began => Err(format!("{began} began")),
    });
    drop(cluster.kill_invoker(0));
    let (took, statuses) = recorded(&guest, &ids, SETTLED);
    let runs = tally.runs();
    let interrupted = statuses.iter().filter(|status| *status != "success").count();
    eprintln!("12 accepted, an invoker killed: all recorded after {} ms, {interrupted} interrupted", took.as_millis());
    assert!(interrupted <= 2, "no more were running there: {statuses:?}");
    for (id, status) in ids.iter().zip(&statuses) {
        let ran = runs.get(id).copied().unwrap_or_default();
        assert!(ran <= 1, "{id} ran {ran} times");
        assert!(status != "success" || ran == 1, "{id}: {status}, and ran {ran} times");
    }
}

/// Row 12, scaled: what was accepted while no invoker lived, before anybody
/// knew of that.
#[test]
fn what_waits_for_the_invokers_return_runs_then() {
    let cluster = Cluster::shared();
    let mut cluster = Cluster::whole(&cluster);
    let (tally, guest) = (Tally::start(), cluster.guest());
    guest.action("pending", &source("python:default", &tally.function(0.0)));
    (0..cluster.invokers()).for_each(|index| drop(cluster.kill_invoker(index)));
    let mut ids = Vec::new();
    while ids.len() < 300 {
        let answer = guest.post("actions/pending", &json!({}));
        match answer.status() {
            202 => ids.push(answer.json()["activationId"].as_str().expect("an id").to_owned()),
            // It took so long that the invokers' silence was noticed.
            503 if !ids.is_empty() => break,
            status => panic!("{status} {}", answer.text()),
        }
    }
    (0..cluster.invokers()).for_each(|index| cluster.start_invoker(index));
    let (took, statuses) = recorded(&guest, &ids, SETTLED);
    eprintln!(
        "{} waited for invokers that were all away: recorded {} ms after their start",
        ids.len(),
        took.as_millis()
    );
    assert!(statuses.iter().all(|status| status == "success"), "{statuses:?}");
    let runs = tally.runs();
    assert!(ids.iter().all(|id| runs.get(id) == Some(&1)), "each once: {runs:?}");
}

/// Row 5: what had begun is recorded as interrupted, and not run again.
#[test]
fn a_run_under_way_when_its_invoker_dies_is_recorded_as_interrupted() {
    let cluster = Cluster::shared();
    let mut cluster = Cluster::whole(&cluster);
    let (tally, guest) = (Tally::start(), cluster.guest());
    guest.action("long", &source("python:default", &tally.function(50.0)));
    let id = guest.accept("long", &json!({}));
    eventually(Duration::from_secs(60), || {
        if tally.runs().is_empty() { Err("it did not begin".to_owned()) } else { Ok(()) }
    });
    (0..cluster.invokers()).for_each(|index| drop(cluster.kill_invoker(index)));
    cluster.start_invoker(1);
    let record = guest.record_within(SETTLED, &id);
    assert_eq!(record["response"]["status"], "whisk internal error", "{record}");
    let said = record["response"]["result"]["error"].as_str().unwrap_or_default();
    assert!(said.contains("interrupted"), "{record}");
    assert_eq!(tally.runs().get(&id), Some(&1));
}

/// Row 14, seen from one invoker: it hangs, others take up its work, and it
/// comes back; at once, or after `WHISKER_PARTITION_SECONDS`.
#[test]
fn an_invoker_that_hangs_and_comes_back_runs_nothing_twice() {
    let cluster = Cluster::shared();
    let cluster = Cluster::whole(&cluster);
    let (tally, guest) = (Tally::start(), cluster.guest());
    let body = json!({"exec": {"kind": "python:default", "code": tally.function(0.5)}, "limits": {"memory": 256}});
    guest.action("hangs", &body);
    let ids: Vec<String> = (0..30).map(|_| guest.accept("hangs", &json!({}))).collect();
    let (length, hung) = (std::env::var("WHISKER_PARTITION_SECONDS"), Instant::now());
    let length = length.map_or(0, |seconds| seconds.parse().expect("a number"));
    cluster.invoker(2).freeze();
    // The others have taken up all of it.
    let (took, _) = recorded(&guest, &ids, SETTLED);
    pause(Duration::from_secs(length).saturating_sub(hung.elapsed()));
    cluster.invoker(2).thaw();
    let back = Instant::now();
    cluster.await_invokers(cluster.controller(0), 3);
    let healed = back.elapsed();
    let more: Vec<String> = (0..10).map(|_| guest.accept("hangs", &json!({}))).collect();
    recorded(&guest, &more, SETTLED);
    let doubled: Vec<(String, usize)> = tally.runs().into_iter().filter(|(_, runs)| *runs > 1).collect();
    eprintln!(
        "an invoker hung for {} s: 30 recorded after {} ms; used again {} ms after it came back",
        (back - hung).as_secs(),
        took.as_millis(),
        healed.as_millis()
    );
    assert!(doubled.is_empty(), "{doubled:?}");
}

/// Rows 2 and 3: under load, beside OpenWhisk's bar.
#[test]
fn a_killed_controller_loses_nothing_that_it_accepted() {
    let cluster = Cluster::shared();
    let mut cluster = Cluster::whole(&cluster);
    let (tally, guest) = (Tally::start(), cluster.guest());
    guest.action("counts", &source("python:default", &tally.function(0.0)));
    let load = Load::default();
    load.during(&guest, "counts", 4, || {
        load.accept_more(100);
        drop(cluster.kill_controller(0));
        load.accept_more(100);
        cluster.start_controller(0);
        cluster.await_invokers(cluster.controller(0), 3);
        load.accept_more(100);
    });
    settle(&guest, &load, &tally, "a killed controller");
    assert!(load.refused().len() <= 5, "OpenWhisk's bar: {:?}", load.refused());
}

/// Row 16.
#[test]
fn controllers_are_replaced_one_after_the_other_and_no_read_fails() {
    let cluster = Cluster::shared();
    let mut cluster = Cluster::whole(&cluster);
    let (tally, guest) = (Tally::start(), cluster.guest());
    guest.action("rolls", &source("python:default", &tally.function(0.0)));
    let load = Load::default();
    load.during(&guest, "rolls", 4, || {
        for index in 0..cluster.controllers() {
            load.accept_more(50);
            let stopped = cluster.stop_controller(index);
            assert!(stopped.status.success(), "{}", stopped.output);
            load.accept_more(50);
            cluster.start_controller(index);
            // NGINX leaves a server that failed alone for a while: the next one
            // must not go before it has found this one again.
            eventually(SETTLED, || match posts_served(cluster.controller(index)) {
                0 => Err("NGINX sends it nothing".to_owned()),
                _ => Ok(()),
            });
        }
    });
    settle(&guest, &load, &tally, "a rolling restart of controllers");
    assert!(load.refused().len() <= 5, "OpenWhisk's bar: {:?}", load.refused());
}

/// Invocations that a controller answered.
fn posts_served(controller: &Server) -> u64 {
    let metrics = controller.anyone().get("/metrics").text();
    let counts =
        metrics.lines().filter(|line| line.starts_with("controller_http_seconds_count{") && line.contains("POST"));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// An invoker that is asked to end finishes what it runs, and leaves the rest.
#[test]
fn invokers_are_replaced_one_after_the_other_and_nothing_is_interrupted() {
    let cluster = Cluster::shared();
    let mut cluster = Cluster::whole(&cluster);
    let (tally, guest) = (Tally::start(), cluster.guest());
    guest.action("drains", &source("python:default", &tally.function(0.2)));
    let load = Load::default();
    load.during(&guest, "drains", 2, || {
        for index in 0..cluster.invokers() {
            load.accept_more(20);
            let stopped = cluster.stop_invoker(index);
            assert!(stopped.status.success(), "{}", stopped.output);
            load.accept_more(20);
            cluster.start_invoker(index);
            cluster.await_invokers(cluster.controller(0), 3);
        }
    });
    let statuses = settle(&guest, &load, &tally, "a rolling restart of invokers");
    assert!(statuses.iter().all(|status| status == "success"), "{statuses:?}");
}

/// All that was accepted has a record, no read failed, and nothing ran twice.
#[track_caller]
fn settle(guest: &Client, load: &Load, tally: &Tally, what: &str) -> Vec<String> {
    let accepted = load.accepted();
    let (took, statuses) = recorded(guest, &accepted, SETTLED);
    let doubled = tally.runs().into_values().filter(|runs| *runs > 1).count();
    eprintln!(
        "{what}: {} accepted, 0 without a record after {} ms, {doubled} ran twice, {} invocations refused {:?}, {} of {} reads failed",
        accepted.len(),
        took.as_millis(),
        load.refused().len(),
        load.refused_kinds(),
        load.unread().len(),
        load.read_count() + load.unread().len(),
    );
    assert_eq!(doubled, 0);
    assert!(load.unread().is_empty(), "{:?}", load.unread());
    statuses
}

/// A blocking call through NGINX, Kafka and back; and the record of it.
/// What a blocking call comes to, and how long it took. The test before this one
/// may have killed an invoker: while partitions go from hand to hand a call may be
/// told as interrupted, and its caller asks again.
fn answered(guest: &Client, n: u64) -> (Value, Duration) {
    const TRIES: usize = 5;
    for _ in 0..TRIES {
        let began = Instant::now();
        let answer = guest.post("actions/echo?blocking=true&result=true", &json!({ "n": n }));
        let took = began.elapsed();
        if answer.status() == 500 && answer.text().contains("interrupted") {
            continue;
        }
        return (answer.expect(200), took);
    }
    panic!("{TRIES} calls in a row were interrupted");
}

#[test]
fn a_blocking_call_is_answered_by_whichever_controller_was_asked() {
    let cluster = Cluster::shared();
    let cluster = Cluster::whole(&cluster);
    cluster.guest().action("echo", &source("python:default", "def main(args): return args"));
    for index in 0..cluster.controllers() {
        let guest = cluster.controller(index).guest();
        let mut times: Vec<Duration> = Vec::new();
        for n in 0..20 {
            let (answer, took) = answered(&guest, n);
            assert_eq!(answer, json!({"n": n}));
            times.push(took);
        }
        times.sort();
        eprintln!("a blocking call through Kafka: {} µs in the middle", times[times.len() / 2].as_micros());
        let record: Value = guest.run("echo", &json!({"n": "recorded"}));
        assert_eq!(record["response"]["result"], json!({"n": "recorded"}));
    }
}
