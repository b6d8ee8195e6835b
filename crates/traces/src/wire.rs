//! Spans as OTLP's JSON (`ExportTraceServiceRequest`).

use serde_json::{Value, json};

use crate::span::Ended;

/// The status of what went wrong (`STATUS_CODE_ERROR`).
const ERROR: u8 = 2;

/// The body of one request.
pub(crate) fn request(instance: &str, version: &str, spans: &[Ended]) -> Vec<u8> {
    let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let span = |ended: &Ended| {
        let attributes: Vec<Value> = ended.attributes.iter().map(|(key, value)| attribute(key, value)).collect();
        let mut span = json!({
            "traceId": format!("{:032x}", ended.trace),
            "spanId": format!("{:016x}", ended.span),
            "name": ended.name,
            "kind": ended.kind as u8,
            "startTimeUnixNano": ended.began_ns.to_string(),
            "endTimeUnixNano": ended.ended_ns.to_string(),
            "attributes": attributes,
        });
        if let Some(parent) = ended.parent {
            span["parentSpanId"] = format!("{parent:016x}").into();
        }
        if let Some(state) = &ended.state {
            span["traceState"] = state.as_str().into();
        }
        if ended.failed {
            span["status"] = json!({"code": ERROR});
        }
        span
    };
    let spans: Vec<Value> = spans.iter().map(span).collect();
    let resource = [
        attribute("service.name", "whisker"),
        attribute("service.instance.id", instance),
        attribute("service.version", version),
    ];
    json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": {"name": "whisker", "version": version}, "spans": spans}],
    }]})
    .to_string()
    .into_bytes()
}
