//! A disk that is full: what cannot be kept is refused with 503 at once and
//! `/ready` says why, reading goes on, and so does everything once there is
//! room. Needs root, for a file system of its own. (faults.md 11)
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;
use whisker_testkit::{Client, Server, eventually};

/// Longest that a call may take while the disk is full.
const AT_ONCE: Duration = Duration::from_secs(20);

/// A small file system over a folder, until dropped.
struct Small(PathBuf);

impl Small {
    fn over(folder: &Path) -> Small {
        std::fs::create_dir_all(folder).unwrap();
        run("mount", &["-t", "tmpfs", "-o", "size=24m,mode=755", "tmpfs", folder.to_str().unwrap()]);
        Small(folder.to_owned())
    }

    /// Takes all the room there is.
    fn fill(&self) {
        // It ends with an error, as it should.
        let _ =
            Command::new("dd").args(["if=/dev/zero", "bs=64k"]).arg(format!("of={}/filler", self.0.display())).output();
        // What was reserved by the page.
        let _ =
            Command::new("dd").args(["if=/dev/zero", "bs=1"]).arg(format!("of={}/crumbs", self.0.display())).output();
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: the server may be ending still.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A call that must be answered soon; its status.
fn soon(what: &str, call: impl FnOnce() -> u16) -> u16 {
    let asked = Instant::now();
    let status = call();
    assert!(asked.elapsed() < AT_ONCE, "{what} took {:?}", asked.elapsed());
    status
}

#[test]
fn a_full_disk_refuses_and_says_so_and_recovers_by_itself() {
    // Containers that are made meanwhile would take and leave crumbs of room.
    let builder = Server::builder().flag("--spare-containers", "0");
    let small = Small::over(&builder.data_dir());
    let server = builder.start();
    let guest = server.guest();
    // A result of most of a megabyte, so that a few records are more than is left.
    guest.node("large", "function main(p) { return { n: p.n, large: 'x'.repeat(900000) } }");
    guest.result("large", &json!({"n": 0}));
    assert_eq!(server.anyone().get("/ready").status(), 200);
    let before = server.resident_bytes();
    small.fill();

    let large = |n: u64| guest.post("actions/large?blocking=true", &json!({"n": n})).status();
    // The first few may still be answered, out of memory; then it is over.
    let mut answered = 0;
    eventually(Duration::from_secs(60), || match soon("a blocking call", || large(1)) {
        503 => Ok(()),
        status => {
            answered += u64::from(status == 200);
            Err(format!("still {status}"))
        }
    });
    let refused = (0..200).filter(|n| soon("a blocking call", || large(*n)) == 503).count();
    let ready = server.anyone().get("/ready");
    assert_eq!(ready.status(), 503, "{}", ready.text());
    assert!(ready.text().contains("is the disk full?"), "{}", ready.text());
    assert_eq!(soon("accepting", || guest.post("actions/large", &json!({})).status()), 503);
    assert_eq!(
        soon("writing", || guest
            .put("actions/new", &json!({"exec": {"kind": "nodejs:20", "code": "x".repeat(90000)}}))
            .status()),
        503
    );
    assert_eq!(soon("reading", || guest.get("actions/large").status()), 200);
    assert_eq!(soon("listing", || guest.get("activations").status()), 200);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 150 << 20, "the server grew by {} MB", grown >> 20);
    eprintln!("disk full: {answered} calls answered, {refused} of 200 refused, memory +{} MB", grown >> 20);

    small.make_room();
    let back = Instant::now();
    eventually(Duration::from_secs(60), || match server.anyone().get("/ready") {
        ready if ready.status() == 200 => Ok(()),
        ready => Err(ready.text()),
    });
    eprintln!("disk full: ready again {:?} after there was room", back.elapsed());
    recovered(&guest);
    drop(server);
}

fn recovered(guest: &Client) {
    let id = guest.accept("large", &json!({"n": 7}));
    assert_eq!(guest.record(&id)["response"]["result"]["n"], 7);
}
