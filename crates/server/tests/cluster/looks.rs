//! What a cluster shows of itself to those who look on.

use std::time::Duration;

use serde_json::json;
use whisker_testkit::{Cluster, Request, eventually};

#[path = "../collector/mod.rs"]
mod collector;
#[path = "../dashboard/mod.rs"]
#[allow(dead_code, reason = "each test target uses a part of it")]
mod dashboard;

use collector::{Collector, attribute};

#[test]
fn a_cluster_is_seen_by_traces_and_on_the_dashboard() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let collector = Collector::start();
    let url = collector.url();
    let cluster = Cluster::with(1, 1, |settings| settings.flag("--otlp-endpoint", &url).switch("--user-events"));
    let guest = cluster.guest();
    guest.node("shown", "function main() { return {}; }");
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let request = Request::new("POST", "/api/v1/namespaces/_/actions/shown").header("traceparent", parent);
    let id = guest.send(&request.json(&json!({}))).expect(202)["activationId"].clone();
    guest.record(id.as_str().unwrap());

    // One trace of two processes, joined by the message between them.
    let spans = collector.spans(TRACE, &["POST", "send", "queue", "run", "record"]);
    assert_eq!(spans["POST"]["parentSpanId"], "b7ad6b7169203331");
    for name in ["send", "queue", "run", "record"] {
        assert_eq!(spans[name]["parentSpanId"], spans["POST"]["spanId"], "{name}");
        assert_eq!(attribute(&spans[name], "activation.id"), id, "{name}");
    }

    eventually(Duration::from_secs(60), || {
        let processes = [cluster.controller(0), cluster.invoker(0)];
        let exposed: String = processes.iter().map(|process| process.anyone().get("/metrics").text()).collect();
        let mut missing = dashboard::missing(dashboard::metrics(true), &exposed);
        // Events went out as they came.
        let told = |line: &str| line.starts_with("bus_sent_total{") && line.contains("-events\"}");
        missing.extend((!exposed.lines().any(told)).then(|| "bus_sent_total of the topic events".to_owned()));
        if missing.is_empty() { Ok(()) } else { Err(format!("not exposed: {missing:?}\n{exposed}")) }
    });
}
