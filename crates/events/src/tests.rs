#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use whisker_bus::{Event, EventBody};
use whisker_entity::{AuthKey, NamespaceLimits};

use super::*;

fn who() -> Identity {
    Identity {
        subject: "ann".into(),
        namespace: "team".parse().unwrap(),
        key: AuthKey::parse(&format!("23bc:{}", "k".repeat(64))).unwrap(),
        limits: NamespaceLimits::default(),
    }
}

fn record(path: &str, kind: Option<&str>, result: &str) -> Activation {
    let mut annotations = vec![
        json!({"key": "path", "value": path}),
        json!({"key": "limits", "value": {"timeout": 60000, "memory": 256, "logs": 10, "concurrency": 1}}),
        json!({"key": "waitTime", "value": 33}),
    ];
    annotations.extend(kind.map(|kind| json!({"key": "kind", "value": kind})));
    let record = json!({
        "namespace": "team", "name": "hello", "subject": "ann", "activationId": "44794bd6aab74415b4e42a308d880e5b",
        "start": 1000, "end": 1012, "duration": 12, "logs": ["2026 stdout: SECRET"], "version": "0.0.1",
        "publish": false, "annotations": annotations, "response": {"statusCode": 0, "size": 8},
    });
    let mut record: Activation = serde_json::from_value(record).unwrap();
    record.response.result = Some(serde_json::value::RawValue::from_string(result.to_owned()).unwrap());
    record
}

#[test]
fn the_event_of_a_record_is_what_openwhisk_makes_of_it() {
    let record = record("guest/util/hello", Some("nodejs:20"), r#"{"SECRET":1,"statusCode":204}"#);
    let event = of_activation(&record, &who(), "invoker0".into(), 5).unwrap();
    let expected = json!({
        "source": "invoker0", "subject": "ann", "namespace": "team", "userId": "23bc", "eventType": "Activation",
        "timestamp": 5,
        "body": {
            "name": "guest/util/hello", "activationId": "44794bd6aab74415b4e42a308d880e5b", "statusCode": 0,
            "duration": 12, "waitTime": 33, "initTime": 0, "kind": "nodejs:20", "conductor": false, "memory": 256,
            "size": 8, "userDefinedStatusCode": 204,
        },
    });
    assert_eq!(serde_json::to_value(&event).unwrap(), expected);
}

#[test]
fn a_fire_is_no_run() {
    assert_eq!(of_activation(&record("guest/fired", None, "{}"), &who(), "controller0".into(), 5), None);
}

#[test]
fn a_status_in_a_result_is_found_where_openwhisk_looks() {
    for (result, status) in [
        ("{}", None),
        ("[1]", None),
        (r#"{"statusCode":204}"#, Some(204)),
        (r#"{"statusCode":"404"}"#, Some(404)),
        (r#"{"statusCode":"soon"}"#, Some(400)),
        (r#"{"statusCode":[]}"#, Some(400)),
        (r#"{"error":{"statusCode":502},"statusCode":200}"#, Some(502)),
        (r#"{"error":"none","statusCode":201}"#, Some(201)),
        (r#"{"deep":{"statusCode":201}}"#, None),
        (r#"{"statusCode":1e99,"n":1e400}"#, Some(i32::MAX)),
        (r#"["statusCode"]"#, None),
    ] {
        let event = of_activation(&record("guest/hello", Some("nodejs:20"), result), &who(), String::new(), 0);
        let EventBody::Activation(body) = event.unwrap().body else { panic!("another event") };
        assert_eq!(body.user_defined_status_code, status, "{result}");
    }
}

/// What is exposed of what `act` counts.
fn exposed(act: impl FnOnce()) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, act);
    handle.render()
}

#[test]
fn the_metrics_are_those_of_openwhisks_service() {
    let text = exposed(|| {
        let events = Events::counted();
        events.ended(&record("guest/util/hello", Some("nodejs:20"), r#"{"statusCode":204}"#), &who(), 0);
        events.metric(MetricName::TimedRateLimit, 1, &who(), 0);
        events.metric(MetricName::ConcurrentInvocations, 1, &who(), 0);
    });
    let of = r#"namespace="guest",initiator="team",action="util/hello""#;
    for line in [
        format!(r#"openwhisk_action_activations_total{{{of},kind="nodejs:20",memory="256"}} 1"#),
        format!(r#"openwhisk_action_coldStarts_total{{{of}}} 0"#),
        format!(r#"openwhisk_action_status{{{of},status="success"}} 1"#),
        format!(r#"openwhisk_action_status{{{of},status="whisk_internal_error"}} 0"#),
        format!(r#"openwhisk_action_status_code{{{of},status_code="204"}} 1"#),
        format!(r#"openwhisk_action_memory{{{of}}} 256"#),
        format!(r#"openwhisk_action_duration_seconds_sum{{{of}}} 0.012"#),
        format!(r#"openwhisk_action_waitTime_seconds_count{{{of}}} 1"#),
        format!(r#"openwhisk_action_response_size_bytes_sum{{{of}}} 8"#),
        r#"openwhisk_action_limit_timed_total{namespace="team"} 1"#.to_owned(),
    ] {
        assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
    }
}

#[test]
fn figures_are_bounded_in_number() {
    let text = exposed(|| {
        let meters = Meters::of_few(2);
        for name in ["a/1", "a/2", "a/3", "a/4", "a/1"] {
            let event = of_activation(&record(name, Some("nodejs:20"), "{}"), &who(), String::new(), 0).unwrap();
            let EventBody::Activation(body) = event.body else { panic!("another event") };
            meters.ended(&body, "team");
        }
    });
    let counted: Vec<_> = text.lines().filter(|line| line.starts_with("openwhisk_action_activations_total{")).collect();
    assert_eq!(counted.len(), 3, "{counted:?}");
    let other = r#"{namespace="other",initiator="other",action="other",kind="other",memory="other"} 2"#;
    assert!(counted.iter().any(|line| line.ends_with(other)), "{counted:?}");
}

#[derive(Default)]
struct Bus {
    told: Mutex<Vec<Event>>,
    away: bool,
}

#[async_trait]
impl EventBus for Bus {
    async fn tell(&self, event: &Event) -> Result<(), whisker_bus::Error> {
        if self.away {
            return Err(whisker_bus::Error::Unavailable(None));
        }
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
        Ok(())
    }
}

#[tokio::test]
async fn events_reach_the_bus_also_those_that_wait_at_the_end() {
    let (events, way) = Events::sent("invoker7".into());
    events.ended(&record("guest/hello", Some("nodejs:20"), "{}"), &who(), 5);
    events.metric(MetricName::ConcurrentInvocations, 3, &who(), 6);
    let (bus, cancel) = (Arc::new(Bus::default()), CancellationToken::new());
    cancel.cancel();
    way.run(bus.clone(), cancel).await;
    let told = bus.told.lock().unwrap();
    assert_eq!((told.len(), &*told[0].source), (2, "invoker7"));
    assert!(matches!(&told[1].body, EventBody::Metric(metric) if metric.metric_value == 3));
}

#[tokio::test]
async fn a_bus_that_is_away_holds_nobody_up() {
    let (events, way) = Events::sent("invoker7".into());
    for _ in 0..=QUEUED {
        events.metric(MetricName::ConcurrentInvocations, 3, &who(), 6);
    }
    assert_eq!(way.queue.len(), QUEUED, "one more is dropped");
    let cancel = CancellationToken::new();
    cancel.cancel();
    way.run(Arc::new(Bus { away: true, ..Bus::default() }), cancel).await;
}
