//! What users may ask for each on their own: a topic, another try, and to hear
//! of what failed for good.

use std::{net::TcpListener, time::Duration};

use serde_json::json;
use whisker_testkit::{Client, Cluster, TENANT, eventually, source};

use crate::{SETTLED, brokers::metric, load::recorded};

/// Activations of one namespace that wait; a second of each of them.
const BACKLOG: usize = 200;

#[test]
fn one_tenants_backlog_delays_nobody_else() {
    let cluster = Cluster::copied();
    let cluster = Cluster::whole(&cluster);
    let tenant = Client::at(cluster.origin(), Some(&cluster.user(TENANT, "--invocationsPerMinute 100000")));
    let gate = TcpListener::bind("127.0.0.1:0").unwrap();
    // A second each, until the gate is no more.
    let slow = format!(
        "import socket\ndef main(args):\n    try:\n        socket.create_connection(('127.0.0.1', {}), 1).recv(1)\n    \
         except OSError:\n        pass\n    return {{}}\n",
        gate.local_addr().unwrap().port()
    );
    tenant.action("slow", &json!({"exec": {"kind": "python:default", "code": slow}, "limits": {"memory": 512}}));
    let guest = cluster.guest();
    guest.action("prompt", &source("python:default", "def main(args): return args"));
    let ids: Vec<String> = (0..BACKLOG).map(|_| tenant.accept("slow", &json!({}))).collect();
    assert_eq!(guest.result("prompt", &json!({"n": 1})), json!({"n": 1}));
    let waiting = ids.iter().filter(|id| tenant.get(&format!("activations/{id}")).status() == 404).count();
    eprintln!("{BACKLOG} of one tenant were accepted; {waiting} of them waited when another's call was answered");
    assert!(waiting > 0);
    drop(gate);
    recorded(&tenant, &ids, SETTLED);
    let sent = (0..cluster.controllers()).map(|index| {
        let metrics = cluster.controller(index).anyone().get("/metrics").text();
        let own = metrics.lines().filter(|line| line.starts_with("bus_sent_total{") && line.contains("tenant-jobs\"}"));
        own.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum::<usize>()
    });
    assert_eq!(sent.sum::<usize>(), BACKLOG, "by their own topic");
}

#[test]
fn what_fails_is_tried_again_and_its_letter_is_posted_though_its_controller_died() {
    let cluster = Cluster::copied();
    let mut cluster = Cluster::whole(&cluster);
    let guest = cluster.controller(1).guest();
    guest.action("told", &source("python:default", "def main(args): return {'heard': args}"));
    guest.put("triggers/lost?overwrite=true", &json!({})).expect(200);
    let rule = json!({"trigger": "/_/lost", "action": "/_/told"});
    guest.put("rules/lost-told?overwrite=true", &rule).expect(200);
    let fails = json!({
        "exec": {"kind": "python:default", "code": "def main(args): raise Exception('on purpose')"},
        "annotations": [
            {"key": "whisker-retries", "value": {"count": 2, "backoff": "1s"}},
            {"key": "whisker-dead-letter", "value": "lost"},
        ],
    });
    guest.action("fails", &fails);
    let id = cluster.controller(0).guest().accept("fails", &json!({"order": 7}));
    drop(cluster.kill_controller(0));
    let record = guest.record_within(SETTLED, &id);
    let annotation = |key: &str| {
        let list = record["annotations"].as_array().unwrap();
        list.iter().find(|annotation| annotation["key"] == key).map(|annotation| annotation["value"].clone())
    };
    assert_eq!(annotation("attempts"), Some(json!(3)), "{record}");
    let told = eventually(SETTLED, || {
        let found = guest.get("activations?name=told&docs=true").expect(200);
        if found[0].is_object() { Ok(found) } else { Err(found.to_string()) }
    });
    assert!(told[0]["response"]["result"].to_string().contains(&id), "{told}");
    // Nothing of it is left to be tried or posted.
    eventually(Duration::from_secs(60), || match metric(cluster.invoker(0), "bus_held") {
        0.0 => Ok(()),
        held => Err(format!("{held} held")),
    });
}
