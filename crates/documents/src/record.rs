//! Activation records in the shape in which OpenWhisk stores them.

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Value, value::RawValue};
use whisker_entity::{Activation, ActivationId, EntityName, Millis, Parameters, Response, Status, Version};
use whisker_store::{Error, Summary};

use crate::{corrupt, shape, storable::Keeping};

/// The id of a record's document.
pub fn id_of(namespace: &EntityName, id: ActivationId) -> String {
    format!("{namespace}/{id}")
}

/// A record as its document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    #[serde(rename = "_id")]
    id: String,
    entity_type: &'static str,
    updated: Millis,
    namespace: &'a EntityName,
    name: &'a EntityName,
    subject: &'a str,
    activation_id: ActivationId,
    start: Millis,
    end: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<ActivationId>,
    response: Answer<'a>,
    logs: &'a [String],
    version: Version,
    publish: bool,
    annotations: &'a Parameters,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    status_code: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    /// A result that CouchDB would refuse, change or spell otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

/// The document of a record. It is dated by the record, since a store reads no
/// clock.
pub fn write(record: &Activation) -> Result<String, Error> {
    let result = record.response.result.as_deref();
    let keeping = result.map_or(Keeping::Value, |result| Keeping::of(result.get()));
    let written = Written {
        id: id_of(&record.namespace, record.id),
        entity_type: "activation",
        updated: record.start.max(record.end),
        namespace: &record.namespace,
        name: &record.name,
        subject: &record.subject,
        activation_id: record.id,
        start: record.start,
        end: record.end,
        cause: record.cause,
        response: Answer {
            status_code: record.response.status,
            result: result.filter(|_| keeping != Keeping::Text),
            result_text: result.filter(|_| keeping != Keeping::Value).map(RawValue::get),
            size: record.response.size,
        },
        logs: &record.logs,
        version: record.version,
        publish: record.publish,
        annotations: &record.annotations,
        duration: record.duration,
    };
    serde_json::to_string(&written).map_err(|e| corrupt(&written.id, e))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    namespace: EntityName,
    name: EntityName,
    subject: String,
    activation_id: ActivationId,
    #[serde(deserialize_with = "date")]
    start: Millis,
    #[serde(deserialize_with = "date")]
    end: Millis,
    cause: Option<ActivationId>,
    response: ReadAnswer,
    #[serde(default)]
    logs: Vec<String>,
    version: Version,
    publish: bool,
    annotations: Parameters,
    duration: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadAnswer {
    status_code: Status,
    result: Option<Box<RawValue>>,
    result_text: Option<String>,
    size: Option<u64>,
}

fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Millis, D::Error> {
    shape::millis(&Value::deserialize(deserializer)?).ok_or_else(|| de::Error::custom("no date"))
}

/// The record of a document.
pub fn read(id: &str, document: &[u8]) -> Result<Activation, Error> {
    let read: Read = serde_json::from_slice(document).map_err(|e| corrupt(id, e))?;
    let result = match read.response.result_text {
        Some(text) => Some(RawValue::from_string(text).map_err(|e| corrupt(id, e))?),
        None => read.response.result,
    };
    Ok(Activation {
        namespace: read.namespace,
        name: read.name,
        subject: read.subject,
        id: read.activation_id,
        start: read.start,
        end: read.end,
        cause: read.cause,
        response: Response { status: read.response.status_code, result, size: read.response.size },
        logs: read.logs,
        version: read.version,
        publish: read.publish,
        annotations: read.annotations,
        duration: read.duration,
    })
}

/// A row of OpenWhisk's views of records.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    namespace: EntityName,
    name: EntityName,
    activation_id: ActivationId,
    #[serde(deserialize_with = "date")]
    start: Millis,
    /// Absent for triggers, as is their status.
    #[serde(default, deserialize_with = "date")]
    end: Millis,
    cause: Option<ActivationId>,
    status_code: Option<Status>,
    version: Version,
    annotations: Parameters,
}

/// The summary that a view has of a record.
pub fn summary(id: &str, value: Value) -> Result<Summary, Error> {
    let listed: Listed = serde_json::from_value(value).map_err(|e| corrupt(id, e))?;
    Ok(Summary {
        namespace: listed.namespace,
        name: listed.name,
        id: listed.activation_id,
        start: listed.start,
        end: listed.end,
        cause: listed.cause,
        status: listed.status_code.unwrap_or(Status::Success),
        version: listed.version,
        annotations: listed.annotations,
    })
}
