//! Goal 4: what a call costs beyond a warm one, when its container has to be
//! filled, made or thawed first.

use serde_json::{Value, json};
use whisker_testkit::{Client, Server, pause};

use crate::{
    Settings,
    floor::bare::{self, NODE, PYTHON},
    latencies::median,
    report::{Figure, Report, Wanted},
    server,
};

/// First calls of one round, of each kind.
const FIRST_CALLS: usize = 10;
/// Warm calls that are timed beside each.
const WARM_CALLS: usize = 20;
/// Blank containers that the embedded manifest asks for.
const STEMS: f64 = 3.0;
/// Those of a server that is to have none.
const NO_STEMS: f64 = 0.0;

/// How an action meets its container.
struct Case {
    name: &'static str,
    kind: &'static str,
    code: &'static str,
    limits: Value,
    /// What the server calls it in its metrics.
    state: &'static str,
}

/// Measures all of it.
pub fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let whisker = server::networked().flag("--keep-warm", "1s").start();
    let case = |name, kind, code, limits, state| Case { name, kind, code, limits, state };
    let node = case("node", "nodejs:20", server::HELLO, json!({}), "prewarmed");
    let python = case("python", "python:default", server::PYTHON_HELLO, json!({}), "prewarmed");
    let cold = case("cold", "nodejs:20", server::HELLO, json!({}), "cold");
    let bare_handed = server::networked().flag("--keep-warm", "1s").switch("--no-prewarm").start();
    let over = |what, wanted| Figure { goal: 4, what, unit: "ms", wanted };
    let resuming = server::builder().flag("--pause-grace", "50ms").start();
    let mut number = 0;
    for _ in settings.rounds() {
        let floor = bare::several(5, || NODE.inject_ms())?;
        let first = over_warm(&whisker, STEMS, &node, &mut number)?;
        report.add(over("prewarmed Node, over a warm call", Wanted::AtMost(3.0)), Some(floor), first);
        let floor = bare::several(5, || PYTHON.inject_ms())?;
        let first = over_warm(&whisker, STEMS, &python, &mut number)?;
        report.add(over("prewarmed Python, over a warm call", Wanted::AtMost(3.0)), Some(floor), first);
        let floor = bare::several(5, || NODE.start_ms())?;
        let first = over_warm(&bare_handed, NO_STEMS, &cold, &mut number)?;
        report.add(over("Node not prewarmed, over a warm call", Wanted::AtMostTimes(1.2)), Some(floor), first);
        let resumed = resumed(&resuming)?;
        report.add(over("paused container resumed, over a warm call", Wanted::AtMost(2.0)), None, resumed);
    }
    Ok(())
}

fn over_warm(whisker: &Server, stems: f64, case: &Case, number: &mut usize) -> anyhow::Result<f64> {
    let guest = whisker.guest();
    let (mut first, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..FIRST_CALLS {
        *number += 1;
        let name = format!("{}-{number}", case.name);
        server::create(&guest, &name, case.kind, case.code, case.limits.clone());
        server::wait_for_stems(&guest, stems)?;
        if stems == NO_STEMS {
            pause(server::SPARE);
        }
        let before = starts(&guest, case.state);
        let took = server::call_ms(&guest, &name);
        if starts(&guest, case.state) > before {
            first.push(took);
        }
        warm.extend((0..WARM_CALLS).map(|_| server::call_ms(&guest, &name)));
    }
    anyhow::ensure!(first.len() > FIRST_CALLS / 2, "most first calls were not {}", case.state);
    Ok(median(&first) - median(&warm))
}

fn resumed(whisker: &Server) -> anyhow::Result<f64> {
    let guest = whisker.guest();
    server::create(&guest, "paused", "nodejs:20", server::HELLO, json!({}));
    server::call_ms(&guest, "paused");
    let (mut first, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..FIRST_CALLS {
        warm.extend((0..WARM_CALLS).map(|_| server::call_ms(&guest, "paused")));
        // Whether the pause came is seen afterwards.
        pause(3 * server::TICK);
        let before = starts(&guest, "paused");
        let took = server::call_ms(&guest, "paused");
        if starts(&guest, "paused") > before {
            first.push(took);
        }
    }
    anyhow::ensure!(first.len() > FIRST_CALLS / 2, "most containers were not paused");
    Ok(median(&first) - median(&warm))
}

fn starts(guest: &Client, state: &str) -> f64 {
    server::metric(guest, "invoker_container_start_total", &format!("\"{state}\""))
}
