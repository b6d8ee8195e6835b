//! What more invokers bring: blocking calls through one controller, Kafka and
//! PostgreSQL, all on this machine.
//!
//! Functions that compute share the machine's processors, however many invokers
//! there are. What an invoker adds is memory for containers, so the function that
//! waits tells how runs are spread: each invoker has room for four containers, and
//! each of those makes one run at a time.

use serde_json::json;
use whisker_testkit::Cluster;

use crate::{Settings, client::Until, report::show, server};

/// Calls in flight: more than three invokers run at once.
const CONNECTIONS: usize = 32;
/// JavaScript that waits for a twentieth of a second, as for a database.
const WAITS: &str = "function main(params) { return new Promise(done => setTimeout(() => done(params), 50)); }";

/// Measures all of it, and prints a table of its own.
#[expect(clippy::print_stdout, reason = "this is what the command answers")]
pub fn measure(settings: &Settings) -> anyhow::Result<()> {
    println!("{CONNECTIONS} blocking calls in flight, by one controller:\n");
    println!("| invokers | waits 50 ms: calls/s | p50, ms | computes: calls/s | p50, ms |");
    println!("| --- | --- | --- | --- | --- |");
    for invokers in 1..=3 {
        let cluster = Cluster::start(1, invokers);
        let controller = cluster.controller(0);
        let guest = controller.guest();
        server::create(&guest, "waits", "nodejs:20", WAITS, json!({}));
        server::create(&guest, "computes", "nodejs:20", server::HELLO, json!({}));
        let mut cells = Vec::new();
        for action in ["waits", "computes"] {
            let calls = [server::invocation(action, "blocking=true")];
            let load = server::load(controller, &calls, CONNECTIONS, 200);
            // The containers are made meanwhile.
            load.run(Until::Passed(settings.length()))?;
            let times = load.run(Until::Passed(settings.length()))?;
            cells.extend([show(times.rate()), show(times.p50() / 1000.0)]);
        }
        println!("| {invokers} | {} |", cells.join(" | "));
    }
    println!();
    Ok(())
}
