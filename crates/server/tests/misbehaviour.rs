//! User code that misbehaves: its own activation says what happened, and a
//! neighbour does not notice.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use whisker_testkit::{Archive, Client, Server, binary, eventually};

/// Longest that any single call of the neighbour may take. Generous, since the
/// machine is shared with whatever misbehaves: what it must catch is a wait.
const NEIGHBOUR: Duration = Duration::from_secs(5);

/// Runs something while a neighbour is invoked over and over; each of the
/// neighbour's calls must succeed.
fn beside_a_neighbour<T>(server: &Server, what: impl FnOnce(&Client) -> T) -> T {
    let guest = server.guest();
    guest.node("neighbour", "let runs = 0; function main(p) { return { n: p.n, runs: ++runs } }");
    guest.result("neighbour", &json!({"n": 0}));
    let (over, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let n = calls.fetch_add(1, Ordering::Relaxed);
                let asked = Instant::now();
                let result = guest.result("neighbour", &json!({"n": n}));
                assert_eq!(result["n"], json!(n));
                assert!(asked.elapsed() < NEIGHBOUR, "call {n} took {:?}", asked.elapsed());
            }
        });
        // The neighbour's loop ends even if this panics.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _over = Over(&over);
        what(&server.guest())
    })
}

/// Creates an action with limits.
fn limited(guest: &Client, name: &str, kind: &str, code: &str, limits: Value) {
    guest.action(name, &json!({"exec": {"kind": kind, "code": code}, "limits": limits}));
}

fn error(record: &Value) -> String {
    record["response"]["result"]["error"].as_str().unwrap_or_else(|| panic!("no error: {record}")).to_owned()
}

#[test]
fn an_endless_loop_ends_at_its_time_limit() {
    let server = Server::start();
    beside_a_neighbour(&server, |guest| {
        for (name, kind, code) in [
            ("loop-node", "nodejs:20", "function main() { for (;;); }"),
            ("loop-python", "python:3.11", "def main(args):\n    while True: pass"),
            ("never-node", "nodejs:20", "function main() { return new Promise(() => setInterval(() => {}, 1000)) }"),
            (
                "deaf-python",
                "python:3.11",
                "import signal, time\ndef main(args):\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    time.sleep(60)",
            ),
        ] {
            limited(guest, name, kind, code, json!({"timeout": 1000}));
            let asked = Instant::now();
            let record = guest.run(name, &json!({}));
            assert!(asked.elapsed() < Duration::from_secs(10), "{name}: {:?}", asked.elapsed());
            assert_eq!(error(&record), "The action exceeded its time limits of 1000 milliseconds.", "{record}");
            assert_eq!(record["response"]["status"], "action developer error", "{record}");
        }
    });
}

#[test]
fn a_loop_while_loading_ends_at_the_time_limit_too() {
    let server = Server::start();
    beside_a_neighbour(&server, |guest| {
        limited(guest, "loading", "nodejs:20", "for (;;);", json!({"timeout": 1000}));
        let record = guest.run("loading", &json!({}));
        assert!(error(&record).starts_with("The action exceeded its time limits of 1000 milliseconds"), "{record}");
    });
}

#[test]
fn memory_beyond_the_limit_ends_its_own_action() {
    let server = Server::start();
    beside_a_neighbour(&server, |guest| {
        let node = "function main() { const kept = []; for (;;) kept.push(Buffer.alloc(1 << 20, 1)) }";
        let python = "def main(args):\n    kept = []\n    while True: kept.append(bytearray(b'1') * (1 << 20))";
        for (name, kind, code) in [("hog-node", "nodejs:20", node), ("hog-python", "python:3.11", python)] {
            limited(guest, name, kind, code, json!({"memory": 128, "timeout": 20000}));
            let record = guest.run(name, &json!({}));
            let words = error(&record);
            assert!(words.contains("memory") || words.contains("exited unexpectedly"), "{name}: {record}");
            assert_eq!(record["response"]["success"], false);
        }
        // Files in /tmp are memory, and count.
        let files = "def main(args):\n    with open('/tmp/f', 'wb') as f:\n        for _ in range(2048): f.write(b'1' * (1 << 20))\n    return {}";
        limited(guest, "hog-files", "python:3.11", files, json!({"memory": 128, "timeout": 20000}));
        let record = guest.run("hog-files", &json!({}));
        assert_eq!(record["response"]["success"], false, "{record}");
    });
}

#[test]
fn forks_without_end_stop_at_the_containers_limit() {
    let server = Server::start();
    let bomb = "import os, time\ndef main(args):\n    while True:\n        try:\n            os.fork()\n        except OSError:\n            pass";
    beside_a_neighbour(&server, |guest| {
        limited(guest, "bomb", "python:3.11", bomb, json!({"timeout": 3000}));
        let record = guest.run("bomb", &json!({}));
        assert_eq!(record["response"]["success"], false, "{record}");
    });
    // Nothing of it is left: the cgroup of the server holds no such crowd.
    eventually(Duration::from_secs(10), || match descendants(server.pid()) {
        n if n < 100 => Ok(()),
        n => Err(format!("{n} processes")),
    });
}

/// Processes below this one, however deep.
fn descendants(pid: u32) -> usize {
    let children = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten().flat_map(|task| {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
    });
    children.map(|child| 1 + descendants(child)).sum()
}

#[test]
fn a_flood_of_log_is_cut_at_its_limit_with_a_notice() {
    let server = Server::start();
    let before = server.resident_bytes();
    beside_a_neighbour(&server, |guest| {
        let node =
            "function main() { for (let i = 0; i < 400000; i++) console.log('x'.repeat(100)); return { done: true } }";
        limited(guest, "flood-node", "nodejs:20", node, json!({"logs": 1, "timeout": 60000}));
        let python = "import sys\ndef main(args):\n    sys.stdout.write('y' * (30 << 20))\n    return {'done': True}";
        limited(guest, "flood-python", "python:3.11", python, json!({"logs": 1, "timeout": 60000}));
        for name in ["flood-node", "flood-python"] {
            let record = guest.run(name, &json!({}));
            assert_eq!(record["response"]["result"], json!({"done": true}), "{}", record["response"]);
            let logs: Vec<&str> = record["logs"].as_array().expect("logs").iter().filter_map(Value::as_str).collect();
            let bytes: usize = logs.iter().map(|line| line.len()).sum();
            assert!((1 << 19..3 << 20).contains(&bytes), "{name}: {bytes} bytes of log");
            let notice = "Logs were truncated because the total bytes size exceeds the limit of 1048576 bytes.";
            assert!(logs.last().is_some_and(|line| line.ends_with(notice)), "{name}: {:?}", logs.last());
        }
    });
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 300 << 20, "the server grew by {} MB", grown >> 20);
}

#[test]
fn killing_ones_runtime_is_told_and_the_next_run_is_fine() {
    let server = Server::start();
    beside_a_neighbour(&server, |guest| {
        for (name, kind, code) in [
            ("exit-node", "nodejs:20", "function main(p) { if (p.die) process.exit(0); return { alive: true } }"),
            (
                "kill-node",
                "nodejs:20",
                "function main(p) { if (p.die) process.kill(process.pid, 'SIGKILL'); return { alive: true } }",
            ),
            (
                "exit-python",
                "python:3.11",
                "import os\ndef main(args):\n    if args.get('die'): os._exit(3)\n    return {'alive': True}",
            ),
            (
                "kill-python",
                "python:3.11",
                "import os, signal\ndef main(args):\n    if args.get('die'): os.kill(os.getpid(), signal.SIGKILL)\n    return {'alive': True}",
            ),
        ] {
            guest.action(name, &whisker_testkit::source(kind, code));
            for _ in 0..2 {
                assert_eq!(guest.result(name, &json!({})), json!({"alive": true}), "{name}");
                let record = guest.run(name, &json!({"die": true}));
                let told = "The action did not produce a valid response and exited unexpectedly.";
                assert_eq!(error(&record), told, "{name}: {record}");
                assert_eq!(record["response"]["status"], "action developer error", "{name}");
            }
        }
    });
}

#[test]
fn nonsense_on_the_runtimes_own_channel_is_the_actions_fault() {
    let server = Server::start();
    beside_a_neighbour(&server, |guest| {
        // Descriptor 3 is how a launcher answers. User code that finds it can
        // spoil its own runs and nothing else.
        let code = "const fs = require('fs'); function main(p) { fs.writeSync(3, p.bytes); return { answer: 1 } }";
        guest.node("forger", code);
        for bytes in [
            "nonsense\n",
            "{\"ok\":true}\n",
            "R 0 {}\n",
            "R ffffffffffffffffffffffffffffffff {\"forged\":1}\n",
            "\u{0}\n",
            "O x x x\n",
        ] {
            let response = guest.invoke("forger", &json!({"bytes": bytes}));
            assert!(matches!(response.status(), 200 | 502), "{bytes:?}: {} {}", response.status(), response.text());
        }
        let endless = "const fs = require('fs'); function main() { const b = Buffer.alloc(1 << 20, 120); for (;;) fs.writeSync(3, b) }";
        limited(guest, "endless", "nodejs:20", endless, json!({"timeout": 5000}));
        let record = guest.run("endless", &json!({}));
        assert_eq!(record["response"]["success"], false, "{record}");
    });
    assert!(server.resident_bytes() < 500 << 20, "{} MB", server.resident_bytes() >> 20);
}

#[test]
fn results_that_are_no_object_or_too_large_are_told() {
    let server = Server::start();
    let guest = server.guest();
    for (name, code) in [
        ("text", "function main() { return 'text' }"),
        ("number", "function main() { return 5 }"),
        ("circle", "function main() { const a = {}; a.a = a; return a }"),
        ("large", "function main() { return { large: 'x'.repeat(2 << 20) } }"),
        ("throws", "function main() { throw new Error('no') }"),
        ("rejects", "function main() { return Promise.reject({ why: 'no' }) }"),
        ("syntax", "function main( { return {} }"),
        ("nomain", "function other() { return {} }"),
    ] {
        guest.node(name, code);
        let response = guest.invoke(name, &json!({}));
        assert_eq!(response.status(), 502, "{name}: {}", response.text());
        let record = guest.record(response.json()["activationId"].as_str().expect("an id"));
        assert_eq!(record["response"]["success"], false, "{name}: {record}");
        assert!(record["response"]["result"].get("error").is_some(), "{name}: {record}");
    }
}

#[test]
fn archives_without_code_are_told() {
    let server = Server::start();
    let guest = server.guest();
    for (name, kind, archive) in [
        ("empty", "nodejs:20", Archive::default()),
        ("nothing", "nodejs:20", Archive::default().file("readme.md", "nothing here")),
        (
            "badjson",
            "nodejs:20",
            Archive::default().file("package.json", "{").file("index.js", "exports.main = p => p"),
        ),
        ("nomain", "python:3.11", Archive::default().file("other.py", "def main(a): return a")),
    ] {
        let put = guest.put(&format!("actions/{name}"), &binary(kind, &archive.base64()));
        if put.status() == 200 {
            let record = guest.run(name, &json!({}));
            assert_eq!(record["response"]["status"], "action developer error", "{name}: {record}");
        } else {
            put.refusal(400);
        }
    }
}
