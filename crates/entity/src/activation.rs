//! Activation records: what every run leaves behind.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use crate::{ActivationId, EntityName, EntityPath, Millis, Parameters, QualifiedName, Version};

/// How a run ended, as clients are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// The function answered.
    Success,
    /// The function answered with an `error` member.
    ApplicationError,
    /// The function failed: exception, time-out, crash, nonsense.
    DeveloperError,
    /// The platform failed.
    WhiskError,
}

impl Status {
    const ALL: [Status; 4] = [Status::Success, Status::ApplicationError, Status::DeveloperError, Status::WhiskError];

    /// The number in stored documents.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The status whose [`code`](Self::code) this is.
    pub fn from_code(code: u8) -> Option<Status> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The words of the REST API.
    pub fn words(self) -> &'static str {
        match self {
            Status::Success => "success",
            Status::ApplicationError => "application error",
            Status::DeveloperError => "action developer error",
            Status::WhiskError => "whisk internal error",
        }
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.code().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Status::from_code(u8::deserialize(deserializer)?).ok_or_else(|| de::Error::custom("unknown status code"))
    }
}

/// What a run answered.
#[derive(Clone, Serialize, Deserialize)]
pub struct Response {
    /// How it ended.
    #[serde(rename = "statusCode")]
    pub status: Status,
    /// The result exactly as the function wrote it, numbers included; for
    /// errors an object with the one member `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
    /// Characters of the raw answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

// Results may be secrets, as parameters may.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.result.as_deref().map(|result| result.get().len());
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("result_bytes", &bytes)
            .field("size", &self.size)
            .finish()
    }
}

impl Response {
    /// A response whose result is `{"error": error}`.
    pub fn error(status: Status, error: impl Serialize) -> Self {
        #[derive(Serialize)]
        struct ErrorResult<E> {
            error: E,
        }
        let result = serde_json::value::to_raw_value(&ErrorResult { error }).ok();
        Self { status, size: result.as_deref().map(|r| r.get().chars().count() as u64), result }
    }
}

/// One activation's record, in the shape in which OpenWhisk stores it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Activation {
    /// Of whoever invoked.
    pub namespace: EntityName,
    /// Of the action, trigger or sequence that ran.
    pub name: EntityName,
    /// Who invoked.
    pub subject: String,
    /// Names this record.
    #[serde(rename = "activationId")]
    pub id: ActivationId,
    /// When the run, its initialisation included, began.
    pub start: Millis,
    /// When it ended; 0 for triggers, which have no end.
    pub end: Millis,
    /// The activation that caused this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<ActivationId>,
    /// What it answered.
    pub response: Response,
    /// Its log lines.
    pub logs: Vec<String>,
    /// Of the action that ran.
    pub version: Version,
    /// Always false; clients expect the member.
    pub publish: bool,
    /// Facts about the run.
    pub annotations: Parameters,
    /// Length of the run in ms; absent for triggers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
}

/// Says which record it is; results and log lines are its owner's.
impl fmt::Debug for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Activation")
            .field("id", &self.id)
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("start", &self.start)
            .field("end", &self.end)
            .field("cause", &self.cause)
            .field("response", &self.response)
            .field("log_lines", &self.logs.len())
            .finish_non_exhaustive()
    }
}

impl Activation {
    /// `ns/[pkg/]name` of what ran, by which lists are filtered: the package
    /// of the binding through which it was called, else of its path.
    pub fn filter_name(&self) -> QualifiedName {
        let text = |key| self.annotations.get(key).and_then(|v| v.as_str());
        let package = text("binding")
            .and_then(|b| QualifiedName::parse(b).ok())
            .map(|binding| binding.name)
            .or_else(|| text("path").and_then(|p| QualifiedName::parse(p).ok()).and_then(|name| name.path.package));
        QualifiedName::new(EntityPath { namespace: self.namespace.clone(), package }, self.name.clone())
    }

    /// Bytes of what can be large in a record: its result and its logs.
    pub fn bulk_bytes(&self) -> u64 {
        let result = self.response.result.as_deref().map_or(0, |result| result.get().len());
        let logs: usize = self.logs.iter().map(String::len).sum();
        (result + logs) as u64
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record() -> Activation {
        let mut annotations = Parameters::default();
        annotations.set_value("path", "guest/pkg/hello");
        Activation {
            namespace: "guest".parse().expect("a name"),
            name: "hello".parse().expect("a name"),
            subject: "guest".into(),
            id: ActivationId::new(1, 2),
            start: 10,
            end: 12,
            cause: None,
            response: Response {
                status: Status::Success,
                result: RawValue::from_string("{\"n\":1e400}".into()).ok(),
                size: Some(11),
            },
            logs: vec![],
            version: Version::FIRST,
            publish: false,
            annotations,
            duration: Some(2),
        }
    }

    #[test]
    fn a_record_keeps_its_stored_shape_and_its_numbers() {
        let text = serde_json::to_string(&record()).expect("serialisable");
        assert!(text.contains(r#""response":{"statusCode":0,"result":{"n":1e400},"size":11}"#), "{text}");
        let back: Activation = serde_json::from_str(&text).expect("readable");
        assert_eq!(serde_json::to_string(&back).expect("serialisable"), text);
    }

    #[test]
    fn results_and_logs_do_not_reach_debug_output() {
        let logs = vec!["2026-01-01T00:00:00.000000000Z stdout: s3cret".to_owned()];
        let shown = format!("{:?}", Activation { logs, ..record() });
        assert!(!shown.contains("s3cret") && !shown.contains("1e400"), "{shown}");
    }

    #[test]
    fn the_filter_name_is_that_of_the_package_called_through() {
        let mut activation = record();
        assert_eq!(activation.filter_name().to_string(), "guest/pkg/hello");
        activation.annotations.set_value("binding", "guest/bound");
        assert_eq!(activation.filter_name().to_string(), "guest/bound/hello");
    }

    #[test]
    fn an_error_response_holds_nothing_but_the_error() {
        let response = Response::error(Status::DeveloperError, json!({"a": 1}));
        assert_eq!(response.result.map(|r| r.get().to_owned()), Some(r#"{"error":{"a":1}}"#.into()));
    }
}
