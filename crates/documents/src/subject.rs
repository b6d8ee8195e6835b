//! Subjects and limits in the shapes in which OpenWhisk stores them.

use serde_json::{Map, Value};
use whisker_entity::{EntityName, NamespaceLimits, Subject};
use whisker_store::{Error, Registered};

use crate::{corrupt, keys::Keys};

/// How the ids of limits end.
pub const LIMITS: &str = "/limits";

#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error("it is neither a subject nor limits of a namespace")]
    Kind,
    #[error("it is subject {0:?}")]
    Name(String),
}

/// A subject, or limits of a namespace, by the id of its document.
pub fn registered(keys: &Keys, id: &str, document: Value) -> Result<Registered, Error> {
    if let Some(namespace) = id.strip_suffix(LIMITS) {
        let namespace = EntityName::new(namespace).map_err(|e| corrupt(id, e))?;
        let limits = serde_json::from_value(document).map_err(|e| corrupt(id, e))?;
        return Ok(Registered::Limits(namespace, limits));
    }
    match document {
        Value::Object(document) if document.contains_key("namespaces") => {
            read_subject(keys, id, document).map(Registered::Subject)
        }
        _ => Err(corrupt(id, Unknown::Kind)),
    }
}

/// The subject of a document that has one, with its keys in clear.
pub fn read_subject(keys: &Keys, id: &str, mut document: Map<String, Value>) -> Result<Subject, Error> {
    keys.open(id, &mut document)?;
    let subject: Subject = serde_json::from_value(Value::Object(document)).map_err(|e| corrupt(id, e))?;
    if subject.subject != id {
        return Err(corrupt(id, Unknown::Name(subject.subject)));
    }
    Ok(subject)
}

/// Limits that cannot be read are the operator's, as in OpenWhisk: a typing
/// error in one of them does not lock a namespace out.
pub fn lenient(id: &str, document: Value) -> NamespaceLimits {
    serde_json::from_value(document).unwrap_or_else(|error| {
        tracing::warn!(document = id, %error, "limits that cannot be read do not count");
        NamespaceLimits::default()
    })
}

/// Limits of which each has a value, for their names.
pub fn every_limit() -> NamespaceLimits {
    NamespaceLimits {
        invocations_per_minute: Some(0),
        concurrent_invocations: Some(0),
        fires_per_minute: Some(0),
        allowed_kinds: Some(Vec::new()),
        store_activations: Some(false),
        min_action_memory: Some(0),
        max_action_memory: Some(0),
        min_action_logs: Some(0),
        max_action_logs: Some(0),
        min_action_timeout: Some(0),
        max_action_timeout: Some(0),
        min_action_concurrency: Some(0),
        max_action_concurrency: Some(0),
        max_parameter_size: "0 B".parse().ok(),
        max_payload_size: "0 B".parse().ok(),
        truncation_size: "0 B".parse().ok(),
        warmed_container_keeping_count: Some(0),
        warmed_container_keeping_timeout: Some(String::new()),
        max_action_instances: Some(0),
    }
}
