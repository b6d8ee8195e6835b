//! The figures of faults.md that are about user code, on the sandbox: each test
//! prints what it measured (`--nocapture`). What has no figure is tested in
//! `misbehaviour`, `isolation`, `hostile` and the sandbox's own tests; which
//! row is where stands in CONTRIBUTING.md.
//!
//! Bounds on times are wide, since the machine may be anybody's. They catch
//! what waits for a limit or for ever.
#![allow(clippy::unwrap_used, reason = "tests")]

mod rows;

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use whisker_testkit::{Archive, Client, Server, binary, eventually, pause};

const CALLS: usize = 200;

fn limited(guest: &Client, name: &str, kind: &str, code: &str, limits: Value) {
    guest.action(name, &json!({"exec": {"kind": kind, "code": code}, "limits": limits}));
}

/// The time that 99 of 100 warm calls take at most.
fn p99(guest: &Client) -> Duration {
    let mut times: Vec<Duration> = (0..CALLS)
        .map(|n| {
            let asked = Instant::now();
            assert_eq!(guest.result("neighbour", &json!({"n": n})), json!({"n": n}));
            asked.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[CALLS * 99 / 100]
}

/// Does something over and over while a neighbour is called.
fn meanwhile<T>(what: impl Fn() + Sync, call: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                what();
            }
        });
        // The loop ends even if this panics.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _over = Over(&over);
        call()
    })
}

#[test]
fn row_17_who_exceeds_its_memory_dies_alone() {
    let server = Server::start();
    let guest = server.guest();
    guest.node("neighbour", "function main(p) { return p }");
    let hog = "def main(args):\n    kept = []\n    while True: kept.append(bytearray(b'1') * (1 << 20))";
    limited(&guest, "hog", "python:3.11", hog, json!({"memory": 128, "timeout": 20000}));
    let alone = p99(&guest);
    let beside = meanwhile(
        || {
            let record = server.guest().run("hog", &json!({}));
            assert_eq!(record["response"]["status"], "action developer error", "{record}");
        },
        || p99(&guest),
    );
    eprintln!("row 17: a neighbour's p99 {alone:?} alone, {beside:?} beside one that exceeds its memory");
    assert!(beside < Duration::from_secs(5), "{beside:?}");
}

#[test]
fn row_18_after_a_fork_bomb_all_is_well_within_seconds() {
    let server = Server::start();
    let guest = server.guest();
    guest.node("neighbour", "function main(p) { return p }");
    guest.result("neighbour", &json!({}));
    let bomb = "import os\ndef main(args):\n    while True:\n        try:\n            os.fork()\n        except OSError:\n            pass";
    limited(&guest, "bomb", "python:3.11", bomb, json!({"timeout": 2000}));
    let record = guest.run("bomb", &json!({}));
    assert_eq!(record["response"]["success"], false, "{record}");
    let over = Instant::now();
    eventually(Duration::from_secs(30), || match descendants(server.pid()) {
        n if n < 100 => Ok(()),
        n => Err(format!("{n} processes")),
    });
    guest.result("neighbour", &json!({}));
    eprintln!("row 18: recovered {:?} after the bomb's end", over.elapsed());
}

/// Processes below this one, however deep.
fn descendants(pid: u32) -> usize {
    let children = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten().flat_map(|task| {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
    });
    children.map(|child| 1 + descendants(child)).sum()
}

#[test]
fn row_19_endless_logs_take_bounded_disk() {
    const CAP: u64 = 2 << 20;
    let server = Server::start();
    let guest = server.guest();
    let flood = "function main() { for (;;) console.log('x'.repeat(1000)) }";
    limited(&guest, "flood", "nodejs:20", flood, json!({"logs": 2, "timeout": 5000}));
    let before = disk_bytes(&server.data_dir());
    let most = std::sync::atomic::AtomicU64::new(0);
    let record = meanwhile(
        || {
            most.fetch_max(disk_bytes(&server.data_dir()).saturating_sub(before), Ordering::Relaxed);
            pause(Duration::from_millis(50));
        },
        || guest.post("actions/flood?blocking=true", &json!({})),
    );
    let while_running = most.load(Ordering::Relaxed);
    let record = guest.record(record.json()["activationId"].as_str().unwrap());
    let logs = record["logs"].as_array().unwrap();
    let kept: usize = logs.iter().filter_map(Value::as_str).map(str::len).sum();
    let notice = "Logs were truncated because the total bytes size exceeds the limit of 2097152 bytes.";
    assert!(logs.iter().any(|line| line.as_str().is_some_and(|line| line.ends_with(notice))), "no notice");
    eprintln!("row 19: of a cap of {CAP} bytes {kept} are kept; the disk grew by {while_running} while it ran");
    assert!(while_running <= 2 * CAP, "{while_running}");
}

fn disk_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    // What is gone by now took nothing.
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => std::os::unix::fs::MetadataExt::blocks(&metadata) * 512,
        Err(_) => 0,
    };
    entries.map(size).sum()
}

#[test]
fn row_20_who_never_answers_is_killed_at_its_limit_and_its_place_is_free() {
    // Room for one container alone.
    let server = Server::builder().flag("--container-memory", "256 MB").switch("--no-prewarm").start();
    let guest = server.guest();
    let deaf = "import signal, time\ndef main(args):\n    for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(s, signal.SIG_IGN)\n    time.sleep(600)";
    limited(&guest, "deaf", "python:3.11", deaf, json!({"timeout": 1000}));
    guest.node("next", "function main(p) { return p }");
    let record = guest.run("deaf", &json!({}));
    assert_eq!(
        record["response"]["result"]["error"], "The action exceeded its time limits of 1000 milliseconds.",
        "{record}"
    );
    let over = Instant::now();
    assert_eq!(guest.result("next", &json!({"n": 1})), json!({"n": 1}));
    eprintln!(
        "row 20: ended after {} ms of 1000; its place was used again {:?} later",
        record["duration"],
        over.elapsed()
    );
    assert!(record["duration"].as_u64().unwrap() < 6000, "{record}");
}

#[test]
fn row_22_user_code_cannot_initialise_its_container_again() {
    let server = Server::start();
    let guest = server.guest();
    // Everything that a function can reach of its launcher: its pipes.
    let code = "import os\ndef main(args):\n    for fd in (0, 1, 2, 3) if args.get('forge') else ():\n        try:\n            os.write(fd, b'{\"init\": {\"code\": \"def main(args): return {}\"}}\\n')\n        except OSError:\n            pass\n    return {'mine': True}";
    guest.python("second", code);
    // Its own run it may spoil; the code stays what it is.
    let spoilt = guest.invoke("second", &json!({"forge": true}));
    assert!(matches!(spoilt.status(), 200 | 502), "{}", spoilt.text());
    let answers: Vec<Value> = (0..3).map(|_| guest.result("second", &json!({}))).collect();
    assert!(answers.iter().all(|answer| *answer == json!({"mine": true})), "{answers:?}");
    eprintln!("row 22: after a forged init 3 of 3 runs are answered by the code that was put");
}

#[test]
fn row_23_an_endless_response_is_cut_in_little_memory() {
    let server = Server::start();
    let guest = server.guest();
    let code = "const fs = require('fs'); function main(p) { if (p.warm) return {}; const b = Buffer.alloc(1 << 16, 120); \
                fs.writeSync(3, 'R ' + process.env.__OW_ACTIVATION_ID + ' {\"x\":\"'); for (;;) fs.writeSync(3, b) }";
    limited(&guest, "endless", "nodejs:20", code, json!({"timeout": 3000}));
    guest.invoke("endless", &json!({"warm": true}));
    let before = server.resident_bytes();
    let most = std::sync::atomic::AtomicU64::new(0);
    let answer = meanwhile(
        || {
            most.fetch_max(server.resident_bytes().saturating_sub(before), Ordering::Relaxed);
            pause(Duration::from_millis(20));
        },
        || guest.invoke("endless", &json!({})),
    );
    assert_eq!(answer.status(), 502, "{}", answer.text());
    let most = most.load(Ordering::Relaxed);
    eprintln!("row 23: the server grew by {} KB while a response without end came", most >> 10);
    assert!(most < 32 << 20, "{} MB", most >> 20);
}

#[test]
fn row_24_a_bomb_of_an_archive_is_refused_at_once() {
    let server = Server::start();
    let guest = server.guest();
    let bomb = Archive::default().file("index.js", "exports.main = p => p").zeros("zeros", 2 << 30);
    let body = binary("nodejs:20", &bomb.base64());
    let before = server.resident_bytes();
    let asked = Instant::now();
    let told = guest.put("actions/bomb", &body).refusal(400);
    let (took, grown) = (asked.elapsed(), server.resident_bytes().saturating_sub(before));
    eprintln!(
        "row 24: 2 GB of zeros in {} KB refused after {took:?}, memory +{} MB: {told}",
        body.to_string().len() >> 10,
        grown >> 20
    );
    assert!(took < Duration::from_secs(10) && grown < 100 << 20, "{took:?}, {} MB", grown >> 20);
}

#[test]
fn row_36_metacharacters_are_text_wherever_they_come() {
    rows::metacharacters_are_text(&Server::start());
}

#[test]
fn row_38_nothing_is_left_for_another_action_or_namespace() {
    rows::nothing_is_left_for_others(Server::builder());
}
