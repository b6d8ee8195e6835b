//! What a role says when something that it needs is not there.

use std::time::{Duration, Instant};

use serde_json::Value;
use whisker_testkit::{Builder, Client, Cluster, Kafka, Postgres, Server, eventually};

#[test]
fn a_cluster_needs_a_store_for_all_and_kafka() {
    let shared = "postgres://nobody@127.0.0.1:1/none?sslmode=disable";
    for settings in [Builder::default().controller("0"), Builder::default().invoker("host")] {
        let (status, said) = settings.clone().flag("--kafka", "127.0.0.1:1").refused();
        assert!(!status.success() && said.contains("--store") && said.contains("SQLite"), "{said}");
        let (status, said) = settings.clone().flag("--store", shared).refused();
        assert!(!status.success() && said.contains("--kafka"), "{said}");
    }
    let (status, said) = Builder::default().controller("a b").flag("--kafka", "127.0.0.1:1").refused();
    assert!(!status.success() && said.contains("--id"), "{said}");
}

/// What it waits for has a name, and it ends when it is asked to.
#[test]
fn readiness_names_what_is_missing() {
    let nowhere = "postgres://nobody@127.0.0.1:1/none?sslmode=disable";
    for settings in [Builder::default().controller("0"), Builder::default().invoker("host")] {
        let settings = settings.flag("--kafka", "127.0.0.1:1").flag("--store", nowhere);
        let waiting: Server = settings.start_waiting();
        let anyone: Client = waiting.anyone();
        assert_eq!(anyone.get("/ping").text(), "pong");
        let missing: Value = eventually(Duration::from_secs(30), || {
            let ready = anyone.get("/ready").expect(503);
            let missing = ready["missing"].clone();
            if missing.to_string().contains("store") { Ok(missing) } else { Err(ready.to_string()) }
        });
        assert_eq!(missing, serde_json::json!(["the store does not answer"]));
        assert!(anyone.get("/metrics").status() == 200);
        let refused = anyone.get("/api/v1/namespaces");
        assert_eq!(refused.status(), 503, "{}", refused.text());
        let stopped = waiting.stop();
        assert!(stopped.status.success(), "{}", stopped.output);
    }
}

/// Kafka and the database are gone for good, with work under way, and it ends
/// all the same.
#[test]
fn a_role_ends_without_kafka_and_store() {
    let (kafka, database) = (Kafka::start(), Postgres::start());
    let store = database.database();
    let settings = || database.serving(&store).flag("--kafka", &kafka.brokers()).flag("--shutdown-grace", "2s");
    let invoker = settings().invoker("host").flag("--network", "host").switch("--no-prewarm");
    let roles = [settings().controller("0").start(), invoker.start()];
    let guest = roles[0].guest();
    guest.node("naps", "function main() { return new Promise(done => setTimeout(() => done({}), 5000)); }");
    eventually(Duration::from_secs(60), || match guest.post("actions/naps", &serde_json::json!({})).status() {
        202 => Ok(()),
        status => Err(status.to_string()),
    });
    kafka.kill(0);
    database.stop();
    for role in roles {
        // Whoever does not end in time fails the test.
        let asked = Instant::now();
        role.stop();
        eprintln!("without Kafka and the store a role ended after {:?}", asked.elapsed());
    }
}

/// The one that came later gives way, and says why.
#[test]
fn a_second_controller_of_the_same_name_gives_way() {
    let cluster = Cluster::shared();
    let cluster = Cluster::whole(&cluster);
    let (status, said) = cluster.twin_of_controller(0).refused();
    assert!(!status.success() && said.contains("another controller lives that has the --id 0"), "{said}");
    assert_eq!(cluster.controller(0).anyone().get("/ready").status(), 200);
}

#[test]
fn every_process_of_a_whole_cluster_is_ready() {
    let cluster = Cluster::shared();
    let cluster = Cluster::whole(&cluster);
    let controllers = (0..cluster.controllers()).map(|index| cluster.controller(index));
    for server in controllers.chain((0..cluster.invokers()).map(|index| cluster.invoker(index))) {
        eventually(Duration::from_secs(30), || match server.anyone().get("/ready") {
            ready if ready.status() == 200 => Ok(()),
            ready => Err(ready.text()),
        });
    }
}
