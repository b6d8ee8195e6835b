//! Several runs in one container, where an action asks for it.

use std::thread;

use serde_json::{Value, json};
use whisker_testkit::Server;

/// Runs that overlap.
const RUNS: usize = 10;

/// Answers how many runs its container has had under way at once.
const CODE: &str = "
let running = 0, most = 0;
function main(p) {
  most = Math.max(most, ++running);
  console.log(`begin ${p.n}`);
  return new Promise(done => setTimeout(() => { console.log(`end ${p.n}`); running--; done({ n: p.n, most, pid: process.pid, id: process.env.__OW_ACTIVATION_ID }) }, 500));
}";

fn together(server: &Server, name: &str) -> Vec<Value> {
    let guest = server.guest();
    thread::scope(|scope| {
        let runs: Vec<_> = (0..RUNS)
            .map(|n| {
                let guest = &guest;
                scope.spawn(move || guest.run(name, &json!({"n": n})))
            })
            .collect();
        runs.into_iter().map(|run| run.join().expect("it is answered")).collect()
    })
}

#[test]
fn runs_of_a_concurrent_action_overlap_in_one_container_and_keep_their_logs_apart() {
    let server = Server::builder().flag("--action-concurrency-max", "20").start();
    let guest = server.guest();
    guest.action("shared", &json!({"exec": {"kind": "nodejs:20", "code": CODE}, "limits": {"concurrency": 10}}));
    // The first run makes the container in which the others meet.
    guest.result("shared", &json!({"n": -1}));
    let records = together(&server, "shared");
    for (n, record) in records.iter().enumerate() {
        assert_eq!(record["response"]["result"]["n"], json!(n), "{record}");
        let logs: Vec<&str> = record["logs"].as_array().expect("logs").iter().filter_map(Value::as_str).collect();
        assert_eq!(logs.len(), 2, "{record}");
        assert!(logs[0].ends_with(&format!("begin {n}")) && logs[1].ends_with(&format!("end {n}")), "{record}");
    }
    let most = records.iter().filter_map(|record| record["response"]["result"]["most"].as_u64()).max();
    assert!(most > Some(1), "they overlap: {most:?}");
}

#[test]
fn runs_of_other_actions_have_a_container_each() {
    let server = Server::start();
    server.guest().node("alone", CODE);
    for record in together(&server, "alone") {
        assert_eq!(record["response"]["result"]["most"], 1, "{record}");
    }
}

#[test]
fn concurrency_beyond_the_limit_is_refused() {
    let server = Server::start();
    let body = json!({"exec": {"kind": "nodejs:20", "code": CODE}, "limits": {"concurrency": 2}});
    let words = server.guest().put("actions/many", &body).refusal(400);
    assert!(words.contains("concurrency 2 exceeds allowed threshold of 1"), "{words}");
}
