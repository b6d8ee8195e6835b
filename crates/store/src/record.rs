//! A record in three parts, for members that keep rows.
//!
//! Lists show neither results nor logs, and those are what can be large. So a
//! row keeps the rest as one JSON text, its head, and these two behind it. The
//! result is kept as the function wrote it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use whisker_entity::{Activation, ActivationId, EntityName, Millis, Parameters, Response, Status, Version};

use crate::{Error, Summary};

/// A record without its result and logs; the names are those of OpenWhisk's
/// document.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    namespace: Cow<'a, EntityName>,
    name: Cow<'a, EntityName>,
    subject: Cow<'a, str>,
    activation_id: ActivationId,
    start: Millis,
    end: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<ActivationId>,
    status_code: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    version: Version,
    publish: bool,
    annotations: Cow<'a, Parameters>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
}

/// The head's text.
pub fn head(record: &Activation) -> Result<String, Error> {
    let head = Head {
        namespace: Cow::Borrowed(&record.namespace),
        name: Cow::Borrowed(&record.name),
        subject: Cow::Borrowed(&record.subject),
        activation_id: record.id,
        start: record.start,
        end: record.end,
        cause: record.cause,
        status_code: record.response.status,
        size: record.response.size,
        version: record.version,
        publish: record.publish,
        annotations: Cow::Borrowed(&record.annotations),
        duration: record.duration,
    };
    serde_json::to_string(&head).map_err(|e| corrupt(record.id, e))
}

/// The logs' text.
pub fn logs(record: &Activation) -> Result<String, Error> {
    serde_json::to_string(&record.logs).map_err(|e| corrupt(record.id, e))
}

/// What a list shows, from a head.
pub fn summary(id: ActivationId, head: &str) -> Result<Summary, Error> {
    let head: Head<'_> = serde_json::from_str(head).map_err(|e| corrupt(id, e))?;
    Ok(Summary {
        namespace: head.namespace.into_owned(),
        name: head.name.into_owned(),
        id: head.activation_id,
        start: head.start,
        end: head.end,
        cause: head.cause,
        status: head.status_code,
        version: head.version,
        annotations: head.annotations.into_owned(),
    })
}

/// The whole record, from its parts.
pub fn whole(id: ActivationId, head: &str, result: Option<&str>, logs: &str) -> Result<Activation, Error> {
    let head: Head<'_> = serde_json::from_str(head).map_err(|e| corrupt(id, e))?;
    let result = result.map(|text| RawValue::from_string(text.into())).transpose().map_err(|e| corrupt(id, e))?;
    Ok(Activation {
        namespace: head.namespace.into_owned(),
        name: head.name.into_owned(),
        subject: head.subject.into_owned(),
        id: head.activation_id,
        start: head.start,
        end: head.end,
        cause: head.cause,
        response: Response { status: head.status_code, result, size: head.size },
        logs: serde_json::from_str(logs).map_err(|e| corrupt(id, e))?,
        version: head.version,
        publish: head.publish,
        annotations: head.annotations.into_owned(),
        duration: head.duration,
    })
}

fn corrupt(id: ActivationId, error: serde_json::Error) -> Error {
    Error::Corrupt(id.to_string(), error.into())
}
