//! Goal 7: what is built of actions costs what its actions cost. A sequence of
//! three beside three warm calls, and the answer to a fire of ten rules beside
//! that of one.

use std::time::Instant;

use serde_json::json;
use whisker_testkit::Client;

use crate::{
    Settings,
    client::Until,
    floor::bare::ms,
    report::{Figure, Report, Wanted},
    server,
};

/// Actions in the sequence.
const LENGTH: u64 = 3;
/// Rules of the larger trigger.
const RULES: u64 = 10;
/// Fires of each trigger in a round.
const FIRES: usize = 50;

/// Measures both.
pub fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let whisker = server::builder().start();
    let guest = whisker.guest();
    server::create(&guest, "hello", "nodejs:20", server::HELLO, json!({}));
    let components: Vec<_> = (0..LENGTH).map(|_| "/_/hello").collect();
    let sequence = json!({"exec": {"kind": "sequence", "components": components}});
    guest.put("actions/three", &sequence).expect(200);
    for (trigger, rules) in [("one", 1), ("ten", RULES)] {
        guest.put(&format!("triggers/{trigger}"), &json!({})).expect(200);
        for n in 0..rules {
            let rule = json!({"trigger": format!("/_/{trigger}"), "action": "/_/hello"});
            guest.put(&format!("rules/{trigger}-{n}"), &rule).expect(200);
        }
    }

    let (single, three) =
        ([server::invocation("hello", "blocking=true")], [server::invocation("three", "blocking=true")]);
    let p50 =
        |requests, until| -> anyhow::Result<f64> { Ok(server::load(&whisker, requests, 1, 200).run(until)?.p50()) };
    for requests in [&single, &three] {
        p50(requests, Until::Sent(3_000))?;
    }
    let length = Until::Passed(settings.length());
    let figure = |what, wanted| Figure { goal: 7, what, unit: "µs", wanted };
    for _ in settings.rounds() {
        let floor = LENGTH as f64 * p50(&single, length)?;
        let sequence = figure("a sequence of three, p50, beside three warm calls", Wanted::AtMostTimes(1.0));
        report.add(sequence, Some(floor), p50(&three, length)?);
        let (one, ten) = (fire(&guest, "one", 1)?, fire(&guest, "ten", RULES)?);
        let fired = figure("a trigger with ten rules answers, p50, beside one with one", Wanted::AtMostTimes(1.2));
        report.add(fired, Some(one), ten);
    }
    Ok(())
}

/// Median time in µs to the answer of a fire. Each begins when everything that
/// the last one set off is recorded: what a fire sets off costs what it costs.
fn fire(guest: &Client, trigger: &str, rules: u64) -> anyhow::Result<f64> {
    let mut times = Vec::with_capacity(FIRES);
    for _ in 0..FIRES {
        let before = server::records(guest)?;
        let began = Instant::now();
        let answer = guest.post(&format!("triggers/{trigger}"), &json!({"name": "Whisker"}));
        times.push(1000.0 * ms(began.elapsed()));
        answer.expect(202);
        server::wait("the fire and its runs are recorded", || {
            server::records(guest).is_ok_and(|records| records > before + rules)
        })?;
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
