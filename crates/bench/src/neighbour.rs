//! Row 17 of the faults: a warm call, alone and beside an action that takes all
//! the memory it may have and dies of it, over and over; and beside one that
//! computes without end. With two processors there is one for each of them.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::Context;
use serde_json::json;
use whisker_testkit::Server;

use crate::{
    Settings,
    client::Until,
    latencies::Latencies,
    report::{Figure, Report, Wanted},
    server,
};

/// Takes a megabyte after the other, and writes to it.
const GREEDY: &str = "def main(args):\n    kept = []\n    while True: kept.append(bytearray(b'1') * (1 << 20))";
/// Computes for a second.
const BUSY: &str = "import time\ndef main(args):\n    end = time.monotonic() + 1\n    while time.monotonic() < end: pass\n    return {}";

/// Measures all of it.
pub fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let whisker = server::builder().start();
    let guest = whisker.guest();
    let limits = json!({"memory": 128, "timeout": 20000});
    server::create(&guest, "hello", "nodejs:20", server::HELLO, json!({}));
    server::create(&guest, "greedy", "python:default", GREEDY, limits.clone());
    server::create(&guest, "busy", "python:default", BUSY, limits);
    let hello = [server::invocation("hello", "blocking=true")];
    let load = |until| server::load(&whisker, &hello, 1, 200).run(until);
    load(Until::Sent(3_000))?;
    let length = Until::Passed(settings.length());
    let figure = |what, wanted| Figure { goal: 0, what, unit: "µs", wanted };
    for _ in settings.rounds() {
        let alone = load(length)?;
        let greedy = beside(&whisker, "greedy", 502, || load(length))?;
        let busy = beside(&whisker, "busy", 200, || load(length))?;
        let add =
            |report: &mut Report, what, wanted, of: f64, than: f64| report.add(figure(what, wanted), Some(than), of);
        add(report, "beside one out of memory, p50", Wanted::Nothing, greedy.p50(), alone.p50());
        add(report, "beside one out of memory, p99", Wanted::AtMostTimes(1.1), greedy.p99(), alone.p99());
        add(report, "beside one that computes, p50", Wanted::Nothing, busy.p50(), alone.p50());
        add(report, "beside one that computes, p99", Wanted::Nothing, busy.p99(), alone.p99());
    }
    Ok(())
}

/// Invokes an action over and over, which has to answer this status, while
/// something is measured.
fn beside(
    whisker: &Server,
    action: &str,
    status: u16,
    measured: impl FnOnce() -> anyhow::Result<Latencies>,
) -> anyhow::Result<Latencies> {
    let over = AtomicBool::new(false);
    let invoke = || {
        let guest = whisker.guest();
        let mut runs = 0;
        while !over.load(Ordering::Relaxed) {
            guest.post(&format!("actions/{action}?blocking=true"), &json!({})).expect(status);
            runs += 1;
        }
        runs
    };
    thread::scope(|scope| {
        let other = scope.spawn(invoke);
        let times = measured();
        over.store(true, Ordering::Relaxed);
        let runs = other.join().ok().with_context(|| format!("{action} did not answer {status}"))?;
        eprintln!("{runs} runs of {action} meanwhile");
        times
    })
}
