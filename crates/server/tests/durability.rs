//! What a 202 promises: exactly one record, whatever is killed.
//!
//! `WHISKER_KILL_ROUNDS=200` makes it the long test that is run by hand.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use whisker_testkit::{Client, Request, Server, eventually, pause};

/// Rounds unless the variable says otherwise.
const ROUNDS: u64 = 10;
/// Clients that invoke at the same time.
const CLIENTS: usize = 4;
/// Longest that the records of a round may take to be complete after a restart.
const SETTLED: Duration = Duration::from_secs(60);

/// Invokes without waiting until the server is gone; the ids that it accepted.
fn load(guest: &Client, enough: &AtomicUsize, over: &AtomicBool) -> Vec<String> {
    let mut accepted = Vec::new();
    let request = Request::new("POST", guest.target("actions/work")).json(&json!({"n": 1}));
    while !over.load(Ordering::Relaxed) {
        let Ok(response) = guest.try_send(&request) else { return accepted };
        // A server that is being killed may refuse; it then promised nothing.
        if response.status() == 202 {
            accepted.push(response.json()["activationId"].as_str().expect("an id").to_owned());
            enough.fetch_add(1, Ordering::Relaxed);
        }
    }
    accepted
}

/// All records by id, with how often each is listed.
fn listed(guest: &Client) -> BTreeMap<String, usize> {
    let mut listed = BTreeMap::new();
    for skip in (0..).step_by(200) {
        let page = guest.get(&format!("activations?limit=200&skip={skip}")).expect(200);
        let page = page.as_array().expect("a list");
        for record in page {
            *listed.entry(record["activationId"].as_str().expect("an id").to_owned()).or_default() += 1;
        }
        if page.len() < 200 {
            break;
        }
    }
    listed
}

fn count(guest: &Client) -> u64 {
    guest.get("activations?count=true").expect(200)["activations"].as_u64().expect("a number")
}

#[test]
fn what_was_accepted_has_exactly_one_record_however_often_the_server_is_killed() {
    let rounds = std::env::var("WHISKER_KILL_ROUNDS").map_or(ROUNDS, |n| n.parse().expect("a number of rounds"));
    let mut server = Server::start();
    server.guest().node("work", "function main(p) { console.log('one line'); return p }");
    let mut accepted: Vec<String> = Vec::new();
    for round in 0..rounds {
        let (enough, over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let guest = server.guest();
        let stopped = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| load(&guest, &enough, &over))).collect();
            // Another moment of the server's work each time: right after the
            // first accepts, and with more and more behind it.
            let moment = usize::try_from(1 + round * 37 % 400).expect("a small number");
            eventually(Duration::from_secs(30), || match enough.load(Ordering::Relaxed) {
                n if n >= moment => Ok(()),
                n => Err(format!("{n} accepted of {moment}")),
            });
            let stopped = server.kill();
            over.store(true, Ordering::Relaxed);
            accepted.extend(clients.into_iter().flat_map(|client| client.join().expect("no client panics")));
            stopped
        });
        server = stopped.start();
    }

    let guest = server.guest();
    // Requests that were cut off may have been accepted too, so there may be
    // more records than answers; there is never a second one.
    eventually(SETTLED, || match count(&guest) {
        n if n >= accepted.len() as u64 => Ok(()),
        n => Err(format!("{n} records of {}", accepted.len())),
    });
    eventually(SETTLED, || {
        let (before, waiting) = (count(&guest), guest.get("/activation/count").text());
        pause(Duration::from_millis(200));
        if count(&guest) == before {
            Ok(())
        } else {
            Err(format!("{before} records and more come; in flight: {waiting}"))
        }
    });
    let listed = listed(&guest);
    let missing: Vec<_> = accepted.iter().filter(|id| !listed.contains_key(*id)).collect();
    assert!(missing.is_empty(), "{} of {} have no record: {missing:?}", missing.len(), accepted.len());
    let doubled: Vec<_> = listed.iter().filter(|(_, times)| **times != 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");

    // Each ended in its result, or says what interrupted it.
    let mut endings: BTreeMap<String, usize> = BTreeMap::new();
    for id in accepted.iter().step_by(accepted.len() / 200 + 1) {
        let record = guest.get(&format!("activations/{id}")).expect(200);
        let response = &record["response"];
        match response["status"].as_str() {
            Some("success") => assert_eq!(response["result"], json!({"n": 1}), "{record}"),
            _ => assert!(response["result"]["error"].is_string(), "{record}"),
        }
        *endings.entry(response["status"].to_string()).or_default() += 1;
    }
    eprintln!("{rounds} rounds, {} accepted, {} records; of a sample {endings:?}", accepted.len(), listed.len());

    // The store is whole: it still takes and gives everything.
    assert_eq!(guest.result("work", &json!({"n": 2})), json!({"n": 2}));
    let data = server.data_dir();
    let stopped = server.stop();
    assert!(stopped.status.success(), "{}", stopped.output);
    assert_eq!(integrity(&data), "ok");
}

/// What SQLite itself says of every database file below this folder.
fn integrity(folder: &std::path::Path) -> String {
    let script = "
import pathlib, sqlite3, sys
files = [f for f in pathlib.Path(sys.argv[1]).rglob('*') if f.is_file() and f.open('rb').read(15) == b'SQLite format 3']
assert files, 'no database below ' + sys.argv[1]
for f in files:
    for check in ('integrity_check', 'foreign_key_check'):
        rows = sqlite3.connect(f).execute('pragma ' + check).fetchall()
        if rows not in ([], [('ok',)]): sys.exit(f'{f}: {rows}')
print('ok', end='')
";
    let output = std::process::Command::new("python3").args(["-c", script]).arg(folder).output().expect("python3 runs");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn a_wait_that_ran_out_promises_the_record_too() {
    let server = Server::start();
    let guest = server.guest();
    guest.node("slow", "function main() { return new Promise(done => setTimeout(() => done({ ok: true }), 1500)) }");
    let body: Value = guest.post("actions/slow?blocking=true&timeout=300", &json!({})).expect(202);
    let id = body["activationId"].as_str().expect("an id").to_owned();
    let server = server.kill().start();
    let record = server.guest().record(&id);
    // It had begun, so it is not run a second time: its record says what happened.
    assert!(record["response"]["result"]["error"].is_string(), "{record}");
    assert_eq!(record["response"]["status"], "whisk internal error", "{record}");
}

#[test]
fn what_waited_for_its_turn_runs_after_a_restart() {
    // Room for one container, which a first run occupies.
    let server = Server::builder().flag("--container-memory", "256 MB").switch("--no-prewarm").start();
    let guest = server.guest();
    guest.node("first", "function main() { return new Promise(done => setTimeout(done, 20000)) }");
    guest.node("second", "function main(p) { return p }");
    guest.accept("first", &json!({}));
    let waiting: Vec<_> = (0..5).map(|n| guest.accept("second", &json!({"n": n}))).collect();
    let server = server.kill().start();
    for (n, id) in waiting.iter().enumerate() {
        let record = server.guest().record(id);
        assert_eq!(record["response"]["result"], json!({"n": n}), "{record}");
    }
}
