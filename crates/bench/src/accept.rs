//! Goal 3: non-blocking invocations, each answered 202 once it is durable, and
//! how long after the last of a burst all records are there.

use std::time::Instant;

use serde_json::json;

use crate::{
    Settings,
    client::{Load, Until, request},
    floor::{Floor, Kind, bare::ms},
    report::{Figure, Report, Wanted},
    server,
};

/// Invocations of one burst: a second's worth of what is wanted.
const BURST: usize = 20_000;

struct Case {
    durability: &'static str,
    floor: Kind,
    connections: usize,
    rate: Figure,
    lag: Figure,
}

/// Measures both durabilities.
pub fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let rate = |what, wanted| Figure { goal: 3, what, unit: "/s", wanted };
    let lag = |what| Figure { goal: 3, what, unit: "ms", wanted: Wanted::AtMost(1000.0) };
    let cases = [
        Case {
            durability: "process",
            floor: Kind::Write,
            connections: 64,
            rate: rate("accepted, durable against kill -9, 64 connections", Wanted::AtLeast(20_000.0)),
            lag: lag("… the last of 20,000 records appears after"),
        },
        Case {
            durability: "power",
            floor: Kind::Sync,
            connections: 64,
            rate: rate("accepted, durable against loss of power, 64 connections", Wanted::AtLeast(20_000.0)),
            lag: lag("… the last of 20,000 records appears after, then"),
        },
        Case {
            durability: "process",
            floor: Kind::Write,
            connections: 16,
            rate: Figure { goal: 0, ..rate("accepted, durable against kill -9, 16 connections", Wanted::Nothing) },
            lag: Figure { goal: 0, ..lag("… the last of 20,000 records appears after, with 16") },
        },
    ];
    for case in cases {
        let whisker = server::builder().flag("--durability", case.durability).start();
        let guest = whisker.guest();
        server::create(&guest, "hello", "nodejs:20", server::HELLO, json!({}));
        let call = [server::invocation("hello", "blocking=true")];
        server::load(&whisker, &call, 16, 200).run(Until::Sent(3_000))?;
        let floor = Floor::start(case.floor)?;
        let plain = [request("POST", "/", "", server::BODY)];
        let accept = [server::invocation("hello", "blocking=false")];
        for _ in settings.rounds() {
            let floor = Load { address: floor.address, requests: &plain, connections: case.connections, status: 202 };
            let floor = floor.run(Until::Sent(BURST))?;
            settle(&guest)?;
            let before = server::records(&guest)?;
            let accepted = server::load(&whisker, &accept, case.connections, 202).run(Until::Sent(BURST))?;
            let last = Instant::now();
            server::wait("every record is there", || {
                server::records(&guest).is_ok_and(|records| records >= before + BURST as u64)
            })?;
            report.add(case.rate, Some(floor.rate()), accepted.rate());
            report.add(case.lag, None, ms(last.elapsed()));
        }
    }
    Ok(())
}

/// Waits until the records of what ran before are written.
fn settle(guest: &whisker_testkit::Client) -> anyhow::Result<()> {
    let mut last = u64::MAX;
    server::wait("records are settled", || {
        whisker_testkit::pause(server::TICK);
        let now = server::records(guest).unwrap_or(0);
        std::mem::replace(&mut last, now) == now
    })
}
