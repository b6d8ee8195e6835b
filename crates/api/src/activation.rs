//! Activation records as the REST API shows them.
//!
//! They differ from what is stored: the status has words, and a record without
//! an end (a trigger's) shows neither end nor duration.

use serde::Serialize;
use serde_json::value::RawValue;
use whisker_entity::{Activation, ActivationId, EntityName, Millis, Parameters, Response, Status, Version};

/// A `response` with its status in words.
#[derive(Serialize)]
pub struct ResponseView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    status: &'static str,
    success: bool,
}

impl<'a> From<&'a Response> for ResponseView<'a> {
    fn from(response: &'a Response) -> Self {
        Self {
            result: response.result.as_deref(),
            size: response.size,
            status: response.status.words(),
            success: response.status == Status::Success,
        }
    }
}

/// A whole record.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivationView<'a> {
    namespace: &'a EntityName,
    name: &'a EntityName,
    version: Version,
    subject: &'a str,
    activation_id: ActivationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<ActivationId>,
    start: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
    publish: bool,
    annotations: &'a Parameters,
    logs: &'a [String],
    response: ResponseView<'a>,
}

impl<'a> From<&'a Activation> for ActivationView<'a> {
    fn from(activation: &'a Activation) -> Self {
        Self {
            namespace: &activation.namespace,
            name: &activation.name,
            version: activation.version,
            subject: &activation.subject,
            activation_id: activation.id,
            cause: activation.cause,
            start: activation.start,
            end: Some(activation.end).filter(|&end| end != 0),
            duration: activation.duration,
            publish: activation.publish,
            annotations: &activation.annotations,
            logs: &activation.logs,
            response: (&activation.response).into(),
        }
    }
}

/// A record in a list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivationListed {
    /// Of whoever invoked.
    pub namespace: EntityName,
    /// Of what ran.
    pub name: EntityName,
    /// Of what ran.
    pub version: Version,
    /// Always false.
    pub publish: bool,
    /// Facts about the run.
    pub annotations: Parameters,
    /// Names the record.
    pub activation_id: ActivationId,
    /// When it began.
    pub start: Millis,
    /// When it ended, if it has an end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Millis>,
    /// `end` minus `start`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// How it ended; a trigger's record has this too.
    pub status_code: Status,
    /// The activation that caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<ActivationId>,
}
