//! Goals 1 and 2: blocking calls of an action that is warm, its log line
//! collected and its record stored.

use crate::{
    Settings,
    client::{Load, Until, request},
    floor::{Floor, Kind},
    latencies::Latencies,
    report::{Figure, Report, Wanted},
    server,
};

/// What runs once before anything is timed, so that both sides are warm.
const WARM_UP: Until = Until::Sent(3_000);

/// Measures all of it.
pub fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let whisker = server::builder().flag("--action-concurrency-max", "100").start();
    let guest = whisker.guest();
    let none = serde_json::json!({});
    server::create(&guest, "hello", "nodejs:20", server::HELLO, none.clone());
    server::create(&guest, "quiet", "nodejs:20", server::QUIET, none.clone());
    server::create(&guest, "python", "python:default", server::PYTHON_HELLO, none);
    server::create(&guest, "shared", "nodejs:20", server::HELLO, serde_json::json!({"concurrency": 64}));
    let calls = |name: &str| [server::invocation(name, "blocking=true")];
    let (hello, quiet, python, shared) = (calls("hello"), calls("quiet"), calls("python"), calls("shared"));
    let [one, four] = [Floor::start(Kind::Node)?, Floor::start(Kind::Node4)?];
    let [python_one, python_four] = [Floor::start(Kind::Python)?, Floor::start(Kind::Python4)?];
    let plain = [request("POST", "/", "", server::BODY)];

    let subject =
        |requests: &[Vec<u8>], connections, until| server::load(&whisker, requests, connections, 200).run(until);
    let floor = |floor: &Floor, connections, until| {
        Load { address: floor.address, requests: &plain, connections, status: 200 }.run(until)
    };
    for requests in [&hello, &quiet, &python, &shared] {
        subject(requests, 1, WARM_UP)?;
    }
    for requests in [&hello, &python, &shared] {
        subject(requests, 64, WARM_UP)?;
    }
    for each in [&one, &four, &python_one, &python_four] {
        floor(each, 16, WARM_UP)?;
    }

    let length = Until::Passed(settings.length());
    for _ in settings.rounds() {
        let (floor_1, whisker_1) = (floor(&one, 1, length)?, subject(&hello, 1, length)?);
        report.add(p50("Node hello, 1 connection, p50", 1, 1.6), Some(floor_1.p50()), whisker_1.p50());
        report.add(p50("Node hello, 1 connection, p99", 1, 3.0), Some(floor_1.p99()), whisker_1.p99());
        let quiet = subject(&quiet, 1, length)?;
        report.add(free("… without a log line, p50", "µs"), Some(floor_1.p50()), quiet.p50());
        many(report, (16, &floor(&four, 16, length)?, &subject(&hello, 16, length)?));
        many(report, (64, &floor(&four, 64, length)?, &subject(&hello, 64, length)?));
        let overlapping = subject(&shared, 16, length)?;
        report.add(free("… 64 runs overlap in one container, 16 connections", "/s"), None, overlapping.rate());
        let (floor_1, whisker_1) = (floor(&python_one, 1, length)?, subject(&python, 1, length)?);
        report.add(free("Python hello, 1 connection, p50", "µs"), Some(floor_1.p50()), whisker_1.p50());
        report.add(free("Python hello, 1 connection, p99", "µs"), Some(floor_1.p99()), whisker_1.p99());
        let (floor_16, whisker_16) = (floor(&python_four, 16, length)?, subject(&python, 16, length)?);
        report.add(free("Python hello, 16 connections", "/s"), Some(floor_16.rate()), whisker_16.rate());
    }
    Ok(())
}

fn many(report: &mut Report, (connections, floor, whisker): (usize, &Latencies, &Latencies)) {
    let at_16 = connections == 16;
    let (rate, half, most) = if at_16 {
        ("Node hello, 16 connections", "Node hello, 16 connections, p50", "Node hello, 16 connections, p99")
    } else {
        ("Node hello, 64 connections", "Node hello, 64 connections, p50", "Node hello, 64 connections, p99")
    };
    let wanted = if at_16 { Wanted::AtLeastTimes(0.4) } else { Wanted::Nothing };
    let goal = if at_16 { 2 } else { 0 };
    report.add(Figure { goal, what: rate, unit: "/s", wanted }, Some(floor.rate()), whisker.rate());
    report.add(free(half, "µs"), Some(floor.p50()), whisker.p50());
    report.add(free(most, "µs"), Some(floor.p99()), whisker.p99());
}

fn p50(what: &'static str, goal: u8, times: f64) -> Figure {
    Figure { goal, what, unit: "µs", wanted: Wanted::AtMostTimes(times) }
}

fn free(what: &'static str, unit: &'static str) -> Figure {
    Figure { goal: 0, what, unit, wanted: Wanted::Nothing }
}
