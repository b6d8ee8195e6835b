//! How an event is made: of a record, or of a limit. Pure.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use whisker_bus::{ActivationEvent, Event, EventBody, MetricEvent, MetricName};
use whisker_entity::{Activation, Identity, Millis};

/// What a status in a result is taken for that is no number (`BadRequest`).
const NO_NUMBER: i32 = 400;

/// The event of a record; `None` for the records of triggers, which are no runs.
pub fn of_activation(record: &Activation, who: &Identity, source: String, now: Millis) -> Option<Event> {
    Some(of_body(EventBody::Activation(activation(record)?), who, source, now))
}

/// The event of a number of a namespace.
pub fn of_metric(name: MetricName, value: u64, who: &Identity, source: String, now: Millis) -> Event {
    of_body(EventBody::Metric(MetricEvent { metric_name: name, metric_value: value }), who, source, now)
}

pub(crate) fn of_body(body: EventBody, who: &Identity, source: String, now: Millis) -> Event {
    Event {
        source,
        body,
        subject: who.subject.to_string(),
        namespace: who.namespace.to_string(),
        user_id: who.key.uuid().to_owned(),
        timestamp: now,
    }
}

pub(crate) fn activation(record: &Activation) -> Option<ActivationEvent> {
    let annotation = |key: &str| record.annotations.get(key);
    let text = |key: &str| annotation(key).and_then(Value::as_str).map(str::to_owned);
    let number = |key: &str| annotation(key).and_then(Value::as_u64).unwrap_or_default();
    Some(ActivationEvent {
        name: text("path")?,
        activation_id: record.id,
        status_code: record.response.status.code(),
        duration: record.duration.unwrap_or_default(),
        wait_time: number("waitTime"),
        init_time: number("initTime"),
        kind: text("kind")?,
        conductor: annotation("conductor").and_then(Value::as_bool).unwrap_or_default(),
        memory: annotation("limits").and_then(|limits| limits["memory"].as_u64()).unwrap_or_default(),
        caused_by: text("causedBy"),
        size: record.response.size,
        user_defined_status_code: record.response.result.as_deref().and_then(status_of),
    })
}

/// The `statusCode` that a result has, in its `error` or beside it. The rest of
/// a result is passed over and not kept.
fn status_of(result: &RawValue) -> Option<i32> {
    #[derive(Deserialize)]
    struct Result {
        #[serde(default)]
        error: Option<Value>,
        #[serde(default, rename = "statusCode")]
        status: Option<Value>,
    }
    // Most results say so without being parsed.
    if !result.get().contains("statusCode") {
        return None;
    }
    let Result { error, status } = serde_json::from_str(result.get()).ok()?;
    let status = error.and_then(|mut error| error.get_mut("statusCode").map(Value::take)).or(status)?;
    let number = match &status {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    // Beyond the range it is the nearest number there is.
    Some(number.map_or(NO_NUMBER, |number: f64| number as i32))
}
