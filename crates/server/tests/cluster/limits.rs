//! Row 15, and limits of namespaces that several controllers keep together.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use serde_json::json;
use whisker_testkit::{Client, Cluster, eventually, pause, source, within_a_minute};

use crate::brokers::metric;

/// Invocations a minute of whoever bursts.
const A_MINUTE: usize = 30;
/// The same of both controllers together, each of which grants a fifth more
/// than its half.
const GRANTED: usize = 36;
/// Activations in flight of whoever has many of them.
const IN_FLIGHT: usize = 10;
/// The same of both controllers together.
const IN_FLIGHT_GRANTED: usize = 12;

#[test]
fn two_controllers_grant_one_limit_and_a_burst_is_forgotten_within_a_minute() {
    let cluster = Cluster::copied();
    let mut cluster = Cluster::whole(&cluster);
    let bursty = cluster.user("bursty", &format!("--invocationsPerMinute {A_MINUTE}"));
    let crowded = cluster.user("crowded", &format!("--concurrentInvocations {IN_FLIGHT}"));
    let clients = |key: &str| [0, 1].map(|index| Client::new(cluster.controller(index).address(), Some(key)));
    let (bursty, crowded) = (clients(&bursty), clients(&crowded));
    bursty[0].action("quick", &source("python:default", "def main(args): return {}"));
    // Whoever is not let go on waits for good.
    let gate = TcpListener::bind("127.0.0.1:0").unwrap();
    let waits = format!(
        "import socket\ndef main(args):\n    try:\n        socket.create_connection(('127.0.0.1', {}), 50).recv(1)\n    \
         except OSError:\n        pass\n    return {{}}\n",
        gate.local_addr().unwrap().port()
    );
    crowded[0].action("waits", &json!({"exec": {"kind": "python:default", "code": waits}, "limits": {"memory": 128}}));

    // In flight: the second controller has heard of the user as well.
    let (granted, refusals) = burst(&crowded, "waits", 20);
    eprintln!("{IN_FLIGHT} may be in flight: two controllers granted {granted} of 40");
    assert!((IN_FLIGHT..=IN_FLIGHT_GRANTED).contains(&granted), "{granted} granted");
    assert!(refusals.iter().all(|words| words.contains("allowed: 6")), "{refusals:?}");

    let (granted, refusals) = within_a_minute(|| burst(&bursty, "quick", 40));
    let quiet = Instant::now();
    eprintln!("{A_MINUTE} a minute: two controllers granted {granted} of 80");
    assert!((A_MINUTE..=GRANTED).contains(&granted), "{granted} granted");
    assert!(refusals.iter().all(|words| words.contains("allowed: 18")), "{refusals:?}");

    // One that is alone grants all of it, as soon as the other said goodbye.
    cluster.stop_controller(1);
    eventually(Duration::from_secs(60), || match bursty[0].post("actions/quick", &json!({})).text() {
        words if words.contains("allowed: 30") => Ok(()),
        words => Err(words),
    });
    cluster.start_controller(1);

    // All runs end, and then nothing counts any more.
    drop(gate);
    for index in 0..2 {
        eventually(Duration::from_secs(60), || {
            let left =
                ["controller_in_flight", "controller_booked_bytes"].map(|name| metric(cluster.controller(index), name));
            if left == [0.0, 0.0] { Ok(()) } else { Err(format!("{left:?} on controller {index}")) }
        });
    }
    eventually(Duration::from_secs(130), || {
        // Each refused one counts in its minute only.
        pause(Duration::from_millis(500));
        match bursty[0].post("actions/quick", &json!({})) {
            answer if answer.status() == 202 => Ok(()),
            answer => Err(answer.text()),
        }
    });
    eprintln!("after the burst the throttle was back at zero within {} ms", quiet.elapsed().as_millis());
}

/// So many requests to each of them, one to each in turn: how many were
/// accepted, and what the others were told.
#[track_caller]
fn burst(clients: &[Client; 2], action: &str, each: usize) -> (usize, Vec<String>) {
    let mut refusals = Vec::new();
    for _ in 0..each {
        for client in clients {
            let answer = client.post(&format!("actions/{action}"), &json!({}));
            match answer.status() {
                202 => {}
                429 => refusals.push(answer.refusal(429)),
                status => panic!("{status} {}", answer.text()),
            }
        }
    }
    (2 * each - refusals.len(), refusals)
}
