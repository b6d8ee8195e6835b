//! User events and traces, as those who look on see them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod collector;

use std::net::TcpListener;

use collector::{Collector, LONG, attribute};
use serde_json::json;
use whisker_testkit::{Request, Server, eventually};

#[test]
fn a_request_is_traced_from_its_client_to_its_record() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let collector = Collector::start();
    let server = Server::builder().flag("--otlp-endpoint", &collector.url()).start();
    let guest = server.guest();
    guest.node("traced", "function main() { return { secret: 'S3CRET' }; }");
    let target = "/api/v1/namespaces/_/actions/traced?blocking=true&token=S3CRET";
    let request = Request::new("POST", target).header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"));
    let id = guest.send(&request.json(&json!({"name": "S3CRET"}))).expect(200)["activationId"].clone();

    let spans = collector.spans(TRACE, &["POST", "send", "queue", "init", "run", "record"]);
    assert_eq!(spans["POST"]["parentSpanId"], "b7ad6b7169203331");
    assert_eq!(attribute(&spans["POST"], "http.response.status_code"), "200");
    assert_eq!(attribute(&spans["POST"], "url.path"), "/api/v1/namespaces/_/actions/traced");
    assert_eq!(attribute(&spans["run"], "status"), "success");
    for name in ["send", "queue", "init", "run", "record"] {
        assert_eq!(spans[name]["parentSpanId"], spans["POST"]["spanId"], "{name}");
        assert_eq!(attribute(&spans[name], "activation.id"), id, "{name}");
    }
    let time = |name: &str, what: &str| spans[name][what].as_str().unwrap().parse::<u64>().unwrap();
    for name in spans.keys() {
        assert!(time(name, "startTimeUnixNano") <= time(name, "endTimeUnixNano"), "{name}");
    }
    assert!(time("init", "endTimeUnixNano") <= time("run", "startTimeUnixNano"));
    assert!(time("run", "endTimeUnixNano") <= time("record", "startTimeUnixNano"));
    assert!(!format!("{spans:?}").contains("S3CRET"), "{spans:?}");

    // The parts of a sequence belong to its request.
    guest.action("twice", &json!({"exec": {"kind": "sequence", "components": ["/_/traced", "/_/traced"]}}));
    let other = TRACE.replace('0', "1");
    let target = "/api/v1/namespaces/_/actions/twice?blocking=true";
    let request = Request::new("POST", target).header("traceparent", format!("00-{other}-b7ad6b7169203331-01"));
    guest.send(&request.json(&json!({}))).expect(200);
    eventually(LONG, || {
        let all = collector.spans.lock().unwrap().clone();
        let runs = all.iter().filter(|span| span["traceId"] == other.as_str() && span["name"] == "run").count();
        if runs == 2 { Ok(()) } else { Err(format!("{runs} runs")) }
    });
}

#[test]
fn a_collector_that_never_answers_keeps_nobody_waiting() {
    // Connections are taken by the kernel, and nobody reads.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let server = Server::builder().flag("--otlp-endpoint", &endpoint).start();
    let guest = server.guest();
    guest.node("traced", "function main() { return {}; }");
    (0..20).for_each(|_| drop(guest.result("traced", &json!({}))));
    assert!(server.stop().status.success());
}

#[test]
fn user_events_are_metrics_with_openwhisks_names() {
    let server = Server::builder().switch("--user-events").flag("--invocations-per-minute", "3").start();
    let guest = server.guest();
    guest.put("packages/util", &json!({})).expect(200);
    guest.node("util/told", "function main() { return { statusCode: 204 }; }");
    // Refused attempts count, so three are taken within a minute, or more if it ends.
    let mut taken = 0;
    let refused = (0..20).any(|_| {
        let status = guest.invoke("util/told", &json!({})).status();
        taken += u32::from(status == 200);
        status == 429
    });
    assert!(refused && taken >= 3, "{taken} were taken");
    let of = r#"namespace="guest",initiator="guest",action="util/told""#;
    let metrics = eventually(LONG, || {
        let text = server.anyone().get("/metrics").text();
        let all = format!(r#"openwhisk_action_activations_total{{{of},kind="nodejs:20",memory="256"}} {taken}"#);
        if text.lines().any(|line| line == all) { Ok(text) } else { Err(format!("no {all} in\n{text}")) }
    });
    for line in [
        format!(r#"openwhisk_action_status{{{of},status="success"}} {taken}"#),
        format!(r#"openwhisk_action_status_code{{{of},status_code="204"}} {taken}"#),
        format!(r#"openwhisk_action_response_size_bytes_bucket{{{of},le="104857.6"}} {taken}"#),
        format!(r#"openwhisk_action_duration_seconds_count{{{of}}} {taken}"#),
        r#"openwhisk_action_limit_timed_total{namespace="guest"} 1"#.to_owned(),
    ] {
        assert!(metrics.lines().any(|l| l == line), "no {line} in\n{metrics}");
    }
}

#[test]
fn nobody_is_told_of_who_does_what_unasked() {
    let server = Server::start();
    let guest = server.guest();
    guest.node("quiet", "function main() { return {}; }");
    guest.run("quiet", &json!({}));
    let metrics = server.anyone().get("/metrics").text();
    assert!(metrics.contains("invoker_container_start_total") && !metrics.contains("openwhisk_"), "{metrics}");
}
