//! The real binary under load: started by the testkit, with limits out of the
//! way that would stop a bench, and everything else as it comes.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use whisker_testkit::{Builder, Client, GUEST, Server, base64};

use crate::client::{self, Load};

/// In a fraction of that a spare container is made in the place of one that was
/// taken.
pub const SPARE: Duration = Duration::from_millis(300);

/// JavaScript that prints a line and greets.
pub const HELLO: &str =
    "function main(params) { console.log('greeting', params.name); return { greeting: `Hello, ${params.name}!` }; }";
/// JavaScript that only greets.
pub const QUIET: &str = "function main(params) { return { greeting: `Hello, ${params.name}!` }; }";
/// Python that prints a line and greets.
pub const PYTHON_HELLO: &str = "def main(params):\n    print('greeting', params['name'])\n    return {'greeting': f\"Hello, {params['name']}!\"}\n";
/// What all of them are asked.
pub const BODY: &str = "{\"name\":\"Whisker\"}";

/// How often the invoker sees to pauses and gauges.
pub const TICK: Duration = Duration::from_millis(250);
/// Longest wait for a state.
const PATIENCE: Duration = Duration::from_secs(60);

/// The settings of a bench. Containers have no network, so that several servers
/// can run side by side; what a warm call costs does not depend on it.
pub fn builder() -> Builder {
    with_limits_away(Builder::default())
}

/// With limits that no bench meets.
pub fn with_limits_away(builder: Builder) -> Builder {
    builder
        .flag("--invocations-per-minute", "4000000000")
        .flag("--concurrent-invocations", "1000000")
        .flag("--queue-max", "1000000")
}

/// The same, with the network that containers have by default.
pub fn networked() -> Builder {
    builder().flag("--network", "nat")
}

/// The header of the user `guest`.
pub fn authorization() -> String {
    format!("Basic {}", base64(GUEST.as_bytes()))
}

/// A request to invoke an action.
pub fn invocation(action: &str, query: &str) -> Vec<u8> {
    let target = format!("/api/v1/namespaces/_/actions/{action}?{query}");
    client::request("POST", &target, &authorization(), BODY)
}

/// A request to read something.
pub fn reading(path: &str) -> Vec<u8> {
    client::request("GET", &format!("/api/v1/namespaces/_/{path}"), &authorization(), "")
}

/// Stores an action.
pub fn create(client: &Client, name: &str, kind: &str, code: &str, limits: Value) {
    let body = json!({"exec": {"kind": kind, "code": code}, "limits": limits});
    client.put(&format!("actions/{name}?overwrite=true"), &body).expect(200);
}

/// The time of one blocking call in ms.
pub fn call_ms(client: &Client, name: &str) -> f64 {
    let began = Instant::now();
    let response = client.post(&format!("actions/{name}?blocking=true"), &json!({"name": "Whisker"}));
    let took = began.elapsed();
    response.expect(200);
    took.as_secs_f64() * 1000.0
}

/// Load on a server.
pub fn load<'a>(server: &Server, requests: &'a [Vec<u8>], connections: usize, status: u16) -> Load<'a> {
    Load { address: server.address(), requests, connections, status }
}

/// What `/metrics` shows of one thing, all of its labels together.
pub fn metric(client: &Client, name: &str, label: &str) -> f64 {
    let text = client.get("/metrics").text();
    let of = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    of.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Waits until a look finds it so.
pub fn wait(what: &str, mut so: impl FnMut() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        if Instant::now() > deadline {
            bail!("waited in vain until {what}");
        }
        whisker_testkit::pause(Duration::from_millis(2));
    }
    Ok(())
}

/// Waits until so many blank containers stand ready. The gauge is set with
/// each tick of the invoker, so that a younger event may not be in it yet.
pub fn wait_for_stems(client: &Client, count: f64) -> anyhow::Result<()> {
    whisker_testkit::pause(2 * TICK);
    wait("blank containers are ready", || metric(client, "invoker_containers_prewarmed", "") >= count)
}

/// How many records the user has.
pub fn records(client: &Client) -> anyhow::Result<u64> {
    client.get("activations?count=true").expect(200)["activations"].as_u64().context("a number of records")
}
