//! What users' activations were and which limits users met, for whoever bills
//! or watches them: OpenWhisk's `EventMessage`, on its topic `events`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use whisker_entity::{ActivationId, Millis};

/// Something that a namespace's owner may want to know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The process that tells: `controller0`, `invoker0`.
    pub source: String,
    /// What happened.
    pub body: EventBody,
    /// Who invoked.
    pub subject: String,
    /// In which namespace.
    pub namespace: String,
    /// The uuid of that namespace's key.
    pub user_id: String,
    /// When it was told.
    pub timestamp: Millis,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventBody {
    /// An activation ended.
    Activation(ActivationEvent),
    /// A number of a namespace has changed.
    Metric(MetricEvent),
}

impl EventBody {
    const fn kind(&self) -> &'static str {
        match self {
            EventBody::Activation(_) => "Activation",
            EventBody::Metric(_) => "Metric",
        }
    }
}

/// An activation, without what it was given and answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivationEvent {
    /// The action, as `namespace/[package/]action`.
    pub name: String,
    /// The activation's id.
    pub activation_id: ActivationId,
    /// How it ended: 0 success, 1 and 2 errors of its developer, 3 of the platform.
    pub status_code: u8,
    /// Initialisation and run, in ms.
    pub duration: u64,
    /// From the request to the beginning of that, in ms.
    pub wait_time: u64,
    /// Initialisation, in ms: 0 in a warm container.
    pub init_time: u64,
    /// The action's kind.
    pub kind: String,
    /// Whether it conducts others.
    pub conductor: bool,
    /// Memory that its container may take, in MB; 0 if it had none.
    pub memory: u64,
    /// `sequence` for a part of something larger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caused_by: Option<String>,
    /// Characters of its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The status that the action itself put into its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_defined_status_code: Option<i32>,
}

/// A number of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricEvent {
    /// Which.
    pub metric_name: MetricName,
    /// How many.
    pub metric_value: u64,
}

/// The numbers of a namespace that are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetricName {
    /// Activations in flight, with each that comes in.
    ConcurrentInvocations,
    /// One was refused, since there were too many in flight.
    ConcurrentRateLimit,
    /// One was refused, since there were too many in this minute.
    TimedRateLimit,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    source: &'a str,
    body: Body<&'a ActivationEvent, &'a MetricEvent>,
    subject: &'a str,
    namespace: &'a str,
    user_id: &'a str,
    event_type: &'a str,
    timestamp: Millis,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Heard {
    source: String,
    body: Body<ActivationEvent, MetricEvent>,
    subject: String,
    namespace: String,
    user_id: String,
    event_type: String,
    timestamp: Millis,
}

/// Told apart by their members, as OpenWhisk does.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Body<A, M> {
    Metric(M),
    Activation(A),
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Told {
            source: &self.source,
            body: match &self.body {
                EventBody::Activation(activation) => Body::Activation(activation),
                EventBody::Metric(metric) => Body::Metric(metric),
            },
            subject: &self.subject,
            namespace: &self.namespace,
            user_id: &self.user_id,
            event_type: self.body.kind(),
            timestamp: self.timestamp,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Heard { source, body, subject, namespace, user_id, event_type, timestamp } =
            Heard::deserialize(deserializer)?;
        let body = match body {
            Body::Activation(activation) => EventBody::Activation(activation),
            Body::Metric(metric) => EventBody::Metric(metric),
        };
        if event_type != body.kind() {
            return Err(de::Error::custom("the event is not of the type that it says"));
        }
        Ok(Self { source, body, subject, namespace, user_id, timestamp })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same(text: &str) -> Event {
        let event: Event = serde_json::from_str(text).expect("readable");
        assert_eq!(serde_json::to_string(&event).expect("serialisable"), text);
        event
    }

    #[test]
    fn events_have_openwhisks_shape_and_read_back() {
        let event = same(concat!(
            r#"{"source":"invoker0","body":{"name":"guest/hello","activationId":"44794bd6aab74415b4e42a308d880e5b","#,
            r#""statusCode":0,"duration":12,"waitTime":33,"initTime":0,"kind":"nodejs:20","conductor":false,"#,
            r#""memory":256,"causedBy":"sequence","size":8,"userDefinedStatusCode":200},"subject":"guest","#,
            r#""namespace":"guest","userId":"23bc","eventType":"Activation","timestamp":1700000000000}"#
        ));
        assert!(matches!(event.body, EventBody::Activation(activation) if activation.memory == 256));
        for name in ["ConcurrentInvocations", "ConcurrentRateLimit", "TimedRateLimit"] {
            same(&format!(
                concat!(
                    r#"{{"source":"controller0","body":{{"metricName":"{}","metricValue":1}},"subject":"guest","#,
                    r#""namespace":"guest","userId":"23bc","eventType":"Metric","timestamp":1}}"#
                ),
                name
            ));
        }
    }

    #[test]
    fn an_event_that_is_not_what_it_says_is_refused() {
        let text = concat!(
            r#"{"source":"controller0","body":{"metricName":"TimedRateLimit","metricValue":1},"subject":"guest","#,
            r#""namespace":"guest","userId":"23bc","eventType":"Activation","timestamp":1}"#
        );
        assert!(serde_json::from_str::<Event>(text).is_err());
    }
}
