//! Failed activations that run again, and what hears of those that failed for
//! good: `docs/functions.md`, "Retries and dead letters".
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use whisker_testkit::{Client, Server, eventually, pause};

/// Longest that anything here may take on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Fails with the status that its argument names.
const FAILS: &str = "function main(p) { console.log('a run'); if (p.how == 'throw') throw new Error('thrown'); \
                     if (p.how == 'error') return { error: 'no luck' }; return { ok: true } }";

fn annotated(guest: &Client, name: &str, code: &str, annotations: Value) {
    let list: Vec<Value> =
        annotations.as_object().unwrap().iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
    guest.action(name, &json!({"exec": {"kind": "nodejs:20", "code": code}, "annotations": list}));
}

fn annotation<'a>(record: &'a Value, key: &str) -> Option<&'a Value> {
    let list = record["annotations"].as_array().unwrap();
    list.iter().find(|annotation| annotation["key"] == key).map(|annotation| &annotation["value"])
}

/// A trigger whose rule runs an action that keeps what it was told as its result.
fn trigger(guest: &Client, name: &str, action: &str) {
    guest.put(&format!("triggers/{name}"), &json!({})).expect(200);
    let rule = json!({"trigger": format!("/_/{name}"), "action": format!("/_/{action}")});
    guest.put(&format!("rules/{name}-{action}"), &rule).expect(200);
}

/// Records of an action, once there are so many.
fn records(guest: &Client, name: &str, count: usize) -> Vec<Value> {
    eventually(LONG, || {
        let list = guest.get(&format!("activations?name={name}&docs=true&limit=100")).expect(200);
        let list = list.as_array().unwrap().clone();
        if list.len() >= count { Ok(list) } else { Err(format!("{} records of {name}", list.len())) }
    })
}

#[test]
fn a_failed_activation_runs_again_and_has_one_record_that_tells_it_all() {
    let server = Server::start();
    let guest = server.guest();
    let policy = json!({"whisker-retries": {"count": 2, "backoff": "100ms"}});
    annotated(&guest, "fails", FAILS, policy);
    for (how, status) in [("throw", "action developer error"), ("error", "application error")] {
        let id = guest.accept("fails", &json!({"how": how}));
        let record = guest.record_within(LONG, &id);
        assert_eq!(record["response"]["status"], status, "{record}");
        assert_eq!(annotation(&record, "attempts"), Some(&json!(3)), "{record}");
        assert_eq!(annotation(&record, "gaveUp"), Some(&json!("retries exhausted")), "{record}");
        let earlier = annotation(&record, "earlierAttempts").and_then(Value::as_array).unwrap();
        assert!(earlier.len() == 2 && earlier.iter().all(|attempt| attempt["status"] == status), "{earlier:?}");
        // Each run's own log, and between them how it ended.
        let logs = record["logs"].to_string();
        assert_eq!(logs.matches("a run").count(), 3, "{logs}");
        assert!(logs.contains("Attempt 2 ended after"), "{logs}");
        assert_eq!(annotation(&record, "deadLetter"), None);
    }
    assert_eq!(records(&guest, "fails", 2).len(), 2, "one record each");

    // Whoever waits hears of it at once; so does one who never asked.
    let record = guest.run("fails", &json!({"how": "throw"}));
    assert_eq!((annotation(&record, "attempts"), record["logs"].to_string().matches("a run").count()), (None, 1));
    guest.node("plain", FAILS);
    let plain = guest.record_within(LONG, &guest.accept("plain", &json!({"how": "throw"})));
    assert_eq!(annotation(&plain, "attempts"), None, "{plain}");
    // What succeeds has nothing to tell.
    let fine = guest.record_within(LONG, &guest.accept("fails", &json!({})));
    assert_eq!((annotation(&fine, "attempts"), &fine["response"]["result"]), (None, &json!({"ok": true})));
}

#[test]
fn only_the_outcomes_that_were_named_are_retried_and_only_for_so_long() {
    let server = Server::start();
    let guest = server.guest();
    annotated(
        &guest,
        "named",
        FAILS,
        json!({"whisker-retries": {"count": 1, "backoff": "100ms", "on": ["developer"]}}),
    );
    let error = guest.record_within(LONG, &guest.accept("named", &json!({"how": "error"})));
    assert_eq!(annotation(&error, "attempts"), Some(&json!(1)), "{error}");
    assert_eq!(annotation(&error, "gaveUp"), Some(&json!("not retried after this outcome")));
    let thrown = guest.record_within(LONG, &guest.accept("named", &json!({"how": "throw"})));
    assert_eq!(annotation(&thrown, "attempts"), Some(&json!(2)), "{thrown}");

    annotated(&guest, "aged", FAILS, json!({"whisker-retries": {"count": 10, "backoff": "10s", "max-age": "2s"}}));
    let aged = guest.record_within(LONG, &guest.accept("aged", &json!({"how": "throw"})));
    assert_eq!(annotation(&aged, "gaveUp"), Some(&json!("too old")), "{aged}");
}

#[test]
fn wishes_that_cannot_be_understood_are_refused_and_strangers_are_not() {
    let server = Server::start();
    let guest = server.guest();
    let put = |annotations: Value| {
        guest.put(
            "actions/put?overwrite=true",
            &json!({"exec": {"kind": "nodejs:20", "code": FAILS}, "annotations": annotations}),
        )
    };
    for (key, value, words) in [
        ("whisker-retries", json!("many"), "The annotation 'whisker-retries' is malformed"),
        ("whisker-retries", json!({"count": 11}), "'count' is a whole number from 0 to 10"),
        ("whisker-dead-letter", json!("/whisk.system/theirs"), "The annotation 'whisker-dead-letter' is malformed"),
    ] {
        let told = put(json!([{"key": key, "value": value}])).refusal(400);
        assert!(told.contains(words), "{told}");
    }
    // What other tools write is theirs.
    put(json!([{"key": "retries", "value": "many"}, {"key": "dead-letter", "value": {}}])).expect(200);
    let sequence = json!({"exec": {"kind": "sequence", "components": ["/_/put"]},
        "annotations": [{"key": "whisker-retries", "value": 1}]});
    let told = guest.put("actions/sequence", &sequence).refusal(400);
    assert!(told.starts_with("Sequences and conductors are not retried"), "{told}");
}

#[test]
fn what_failed_for_good_fires_its_trigger_once_and_that_goes_round_no_circles() {
    let server = Server::start();
    let guest = server.guest();
    // What hears of it fails as well, and names the same trigger.
    let hears = "function main(p) { throw new Error('me too') }";
    annotated(&guest, "hears", hears, json!({"whisker-dead-letter": "failed"}));
    trigger(&guest, "failed", "hears");
    guest.action(
        "fails",
        &json!({
            "exec": {"kind": "nodejs:20", "code": FAILS},
            "parameters": [{"key": "password", "value": "s3cret"}],
            "annotations": [{"key": "whisker-retries", "value": {"count": 1, "backoff": "100ms"}},
                {"key": "whisker-dead-letter", "value": "/_/failed"}],
        }),
    );
    let id = guest.accept("fails", &json!({"how": "error", "order": 17}));
    let record = guest.record_within(LONG, &id);
    assert_eq!(annotation(&record, "deadLetter"), Some(&json!("/guest/failed")), "{record}");

    let fire = &records(&guest, "failed", 1)[0];
    assert_eq!(fire["cause"], json!(id), "{fire}");
    let heard = &fire["response"]["result"];
    assert_eq!(heard["activationId"], json!(id));
    assert_eq!((&heard["action"], &heard["status"]), (&json!("/guest/fails"), &json!("application error")), "{heard}");
    assert_eq!((&heard["error"], &heard["attempts"]), (&json!("no luck"), &json!(2)), "{heard}");
    assert_eq!(heard["reason"], "retries exhausted");
    // The action's own parameters stay where they are.
    assert_eq!(heard["arguments"], json!({"how": "error", "order": 17}), "{heard}");

    let told = &records(&guest, "hears", 1)[0];
    assert_eq!(told["response"]["status"], "action developer error", "{told}");
    assert_eq!(annotation(told, "deadLetter"), None, "{told}");
    // One more activation of the ordinary kind has come and gone after that: no second letter did.
    guest.record_within(LONG, &guest.accept("fails", &json!({})));
    assert_eq!((records(&guest, "failed", 1).len(), records(&guest, "hears", 1).len()), (1, 1));
}

#[test]
fn retries_and_letters_that_wait_survive_a_kill() {
    let server = Server::start();
    let guest = server.guest();
    // Long enough to be killed in, on any machine.
    let policy = json!({"count": 1, "backoff": "4s", "max-backoff": "4s"});
    annotated(&guest, "fails", FAILS, json!({"whisker-retries": policy, "whisker-dead-letter": "failed"}));
    guest.node("hears", "function main(p) { return { about: p.activationId } }");
    let ids: Vec<String> = (0..5).map(|n| guest.accept("fails", &json!({"how": "throw", "n": n}))).collect();
    eventually(LONG, || match metric(&server, "invoker_retries_total") {
        n if n >= 5.0 => Ok(()),
        n => Err(format!("{n} wait")),
    });
    // None holds a place, or a record, while it waits.
    assert_eq!(guest.get("/activation/count").json(), json!(0));
    guest.get(&format!("activations/{}", ids[0])).refusal(404);
    let server = server.kill().start();
    let guest = server.guest();
    trigger(&guest, "failed", "hears");
    for id in &ids {
        let record = guest.record_within(LONG, id);
        assert_eq!(annotation(&record, "attempts"), Some(&json!(2)), "{record}");
        assert_eq!(record["logs"].to_string().matches("a run").count(), 2, "also of the life before: {record}");
    }
    let heard = records(&guest, "hears", 5);
    let mut of: Vec<&str> = heard.iter().map(|told| told["response"]["result"]["about"].as_str().unwrap()).collect();
    of.sort_unstable();
    of.dedup();
    assert_eq!(of.len(), 5, "{heard:?}");
}

/// faults.md 5: killed in the middle of a run, an activation is recorded as
/// interrupted, or runs again where its action asks for retries.
#[test]
fn a_run_that_a_kill_cut_off_runs_again_where_that_was_asked_for() {
    // Counts the runs, from outside of the server that is killed.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (begins, begun) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut name = String::new();
            if BufReader::new(stream).read_line(&mut name).is_err() || begins.send(name.trim().to_owned()).is_err() {
                return;
            }
        }
    });
    let server = Server::builder().flag("--network", "host").start();
    let guest = server.guest();
    let code = format!(
        "const net = require('net');
         function main(p) {{
             return new Promise(done => {{
                 const s = net.connect({port}, '127.0.0.1', () => s.end(p.name + '\\n', () => setTimeout(() => done({{ ran: p.name }}), p.ms)));
             }});
         }}"
    );
    annotated(&guest, "asked", &code, json!({"whisker-retries": {"count": 3, "backoff": "100ms", "on": ["platform"]}}));
    guest.node("unasked", &code);
    let asked = guest.accept("asked", &json!({"name": "asked", "ms": 3000}));
    let unasked = guest.accept("unasked", &json!({"name": "unasked", "ms": 3000}));
    let mut runs = vec![begun.recv_timeout(LONG).unwrap(), begun.recv_timeout(LONG).unwrap()];
    let server = server.kill().start();
    let guest = server.guest();

    let record = guest.record_within(LONG, &asked);
    assert_eq!(record["response"]["result"], json!({"ran": "asked"}), "{record}");
    assert_eq!(annotation(&record, "attempts"), Some(&json!(2)), "{record}");
    let earlier = &annotation(&record, "earlierAttempts").unwrap()[0];
    assert_eq!(earlier["error"], "The platform was interrupted while the action was running.", "{earlier}");
    let record = guest.record_within(LONG, &unasked);
    assert_eq!(record["response"]["status"], "whisk internal error", "{record}");
    pause(Duration::from_millis(200));
    runs.extend(begun.try_iter());
    let count = |name: &str| runs.iter().filter(|run| *run == name).count();
    assert_eq!((count("asked"), count("unasked")), (2, 1), "{runs:?}");
    eprintln!(
        "killed in the middle of a run: {} runs where retries are asked for, {} where not",
        count("asked"),
        count("unasked")
    );
}

fn metric(server: &Server, name: &str) -> f64 {
    let text = server.anyone().get("/metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or(0.0)
}
