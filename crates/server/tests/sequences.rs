//! What a 202 promises of sequences and compositions, which no invoker
//! records: exactly one record, whatever is killed.

use std::{collections::BTreeMap, thread, time::Duration};

use serde_json::{Value, json};
use whisker_testkit::{Client, Request, Server, eventually};

/// How often the server is killed.
const ROUNDS: u64 = 5;
/// Longest that the records of a round may take to be complete after a restart.
const SETTLED: Duration = Duration::from_secs(60);

/// A sequence and a composition of short naps, and a sequence of both.
fn set_up(guest: &Client) {
    let nap = "function main(p) { return new Promise(done => setTimeout(() => done({ n: (p.n || 0) + 1 }), 20)) }";
    guest.node("nap", nap);
    let conductor = "function main(p) { return p.n > 2 ? { params: p } : { action: 'nap', params: { n: p.n } } }";
    let mut composition = whisker_testkit::source("nodejs:20", conductor);
    composition["annotations"] = json!([{"key": "conductor", "value": true}]);
    guest.action("composition", &composition);
    let sequence = |components: &[&str]| json!({"exec": {"kind": "sequence", "components": components}});
    guest.action("sequence", &sequence(&["/_/nap", "/_/nap"]));
    guest.action("both", &sequence(&["/_/sequence", "/_/composition"]));
}

/// Invokes until the server is gone, without waiting or not for long enough;
/// the ids that it accepted. Then it waits for one, so that some have ended
/// and some run at any moment.
fn load(guest: &Client) -> Vec<String> {
    let targets = ["sequence", "composition", "both?blocking=true&timeout=5", "both?blocking=true"];
    let mut accepted = Vec::new();
    for target in targets.iter().cycle() {
        let request = Request::new("POST", guest.target(&format!("actions/{target}"))).json(&json!({}));
        let Ok(response) = guest.try_send(&request) else { break };
        if response.status() == 202 {
            accepted.push(response.json()["activationId"].as_str().expect("an id").to_owned());
        }
    }
    accepted
}

fn topmost(record: &Value) -> bool {
    record["annotations"].as_array().is_some_and(|all| all.contains(&json!({"key": "topmost", "value": true})))
}

#[test]
fn what_was_accepted_has_exactly_one_record_however_often_the_server_is_killed() {
    let mut server = Server::start();
    set_up(&server.guest());
    assert_eq!(server.guest().result("both", &json!({})), json!({"n": 3}));
    let mut accepted: Vec<String> = Vec::new();
    for round in 0..ROUNDS {
        let guest = server.guest();
        let stopped = thread::scope(|scope| {
            let client = scope.spawn(|| load(&guest));
            // Another moment of the server's work each time.
            whisker_testkit::pause(Duration::from_millis(400 + 130 * round));
            let stopped = server.kill();
            accepted.extend(client.join().expect("the client does not panic"));
            stopped
        });
        server = stopped.start();
    }
    assert!(!accepted.is_empty(), "none was accepted");
    let guest = server.guest();
    let mut endings: BTreeMap<String, usize> = BTreeMap::new();
    for id in &accepted {
        let record = guest.record_within(SETTLED, id);
        assert!(topmost(&record), "{record}");
        let response = &record["response"];
        match response["status"].as_str() {
            Some("success") => assert!(response["result"]["n"].is_number(), "{record}"),
            _ => {
                let words = response["result"]["error"].as_str().unwrap_or_default();
                assert!(words.contains("interrupted"), "{record}");
            }
        }
        *endings.entry(response["status"].to_string()).or_default() += 1;
    }
    eprintln!("{ROUNDS} rounds, {} accepted: {endings:?}", accepted.len());
    let mut listed = Vec::new();
    for skip in (0..).step_by(200) {
        let page = guest.get(&format!("activations?limit=200&skip={skip}")).expect(200);
        let page = page.as_array().expect("a list").clone();
        let whole = page.len() == 200;
        listed.extend(page.iter().map(|record| record["activationId"].to_string()));
        if !whole {
            break;
        }
    }
    let records = listed.len();
    listed.sort_unstable();
    listed.dedup();
    assert_eq!(listed.len(), records, "no record is there twice");
}

#[test]
fn an_asked_server_finishes_the_sequences_that_run() {
    let server = Server::start();
    let guest = server.guest();
    let slow = "function main(p) { return new Promise(done => setTimeout(() => done({ n: (p.n || 0) + 1 }), 700)) }";
    guest.node("slow", slow);
    guest.action("s", &json!({"exec": {"kind": "sequence", "components": ["/_/slow", "/_/slow"]}}));
    let id = guest.accept("s", &json!({}));
    eventually(Duration::from_secs(10), || match server.anyone().get("/activation/count").text().as_str() {
        "1" => Ok(()),
        other => Err(other.to_owned()),
    });
    let stopped = server.stop();
    assert!(stopped.status.success(), "{}", stopped.output);
    let record = stopped.start().guest().record(&id);
    assert_eq!(record["response"]["result"], json!({"n": 2}), "{record}");
}
