//! Goal 6: the same calls beside a thousand idle containers and beside none, in turns.
//!
//! They are of Python, 6 MB each, each of an action of its own.

use std::thread;

use serde_json::json;

use crate::{Settings, beside::Beside, client::Until, report::Report, server};

/// Idle containers.
const CROWD: usize = 1_000;
/// Clients that fill the server with them.
const CLIENTS: usize = 4;

/// Measures warm calls.
pub fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let alone = server::networked().start();
    // Memory as it is granted, of which they use the least part.
    let crowded = server::networked().flag("--container-memory", "1000GB").flag("--keep-warm", "1h").start();
    for whisker in [&alone, &crowded] {
        server::create(&whisker.guest(), "hello", "nodejs:20", server::HELLO, json!({}));
    }
    thread::scope(|scope| {
        for first in 0..CLIENTS {
            let guest = crowded.guest();
            scope.spawn(move || {
                for number in (first..CROWD).step_by(CLIENTS) {
                    let name = format!("idle-{number}");
                    server::create(&guest, &name, "python:3.11", server::PYTHON_HELLO, json!({}));
                    server::call_ms(&guest, &name);
                }
            });
        }
    });

    let guest = crowded.guest();
    server::wait("the containers to be idle", || {
        server::metric(&guest, "invoker_containers_idle", "") >= CROWD as f64
    })?;

    let call = [server::invocation("hello", "blocking=true")];
    let length = Until::Passed(settings.length());
    let beside = Beside { little: &alone, much: &crowded };
    for _ in settings.rounds() {
        beside.time(report, "1,000 idle containers: warm call", (&call, &call), length)?;
        beside.rate(report, "1,000 idle containers: warm calls, 16 connections", &call, length)?;
    }
    Ok(())
}
