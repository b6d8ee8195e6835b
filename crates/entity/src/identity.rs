//! Who may do what: subjects, their namespaces and keys.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use subtle::ConstantTimeEq;

use crate::{ByteSize, EntityName};

/// `uuid:key`: user name and password of HTTP basic authentication.
#[derive(Clone)]
pub struct AuthKey {
    uuid: Arc<str>,
    key: Arc<str>,
}

/// A text that is no `uuid:key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a uuid and a key of 64 characters, joined by a colon")]
pub struct InvalidAuthKey;

impl AuthKey {
    /// Characters of a key.
    pub const KEY_CHARS: usize = 64;

    /// Splits `uuid:key`.
    pub fn parse(text: &str) -> Result<Self, InvalidAuthKey> {
        let (uuid, key) = text.split_once(':').ok_or(InvalidAuthKey)?;
        if uuid.is_empty() || key.chars().count() != Self::KEY_CHARS {
            return Err(InvalidAuthKey);
        }
        Ok(Self { uuid: uuid.into(), key: key.into() })
    }

    /// The namespace's id: no secret.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// The whole secret, `uuid:key`. Named so that its uses can be found.
    pub fn expose(&self) -> String {
        format!("{}:{}", self.uuid, self.key)
    }

    /// Whether both are the same, in a time that does not depend on where they differ.
    pub fn matches(&self, other: &AuthKey) -> bool {
        (self.uuid.as_bytes().ct_eq(other.uuid.as_bytes()) & self.key.as_bytes().ct_eq(other.key.as_bytes())).into()
    }
}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:…", self.uuid)
    }
}

/// One namespace of a subject, as its document lists it.
#[derive(Debug, Clone)]
pub struct Namespace {
    /// Unique across subjects.
    pub name: EntityName,
    /// Id and key of this namespace.
    pub key: AuthKey,
}

#[derive(Serialize, Deserialize)]
struct StoredNamespace {
    name: EntityName,
    uuid: String,
    key: String,
}

impl Serialize for Namespace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        StoredNamespace { name: self.name.clone(), uuid: self.key.uuid.to_string(), key: self.key.key.to_string() }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Namespace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = StoredNamespace::deserialize(deserializer)?;
        let key = AuthKey::parse(&format!("{}:{}", stored.uuid, stored.key)).map_err(de::Error::custom)?;
        Ok(Self { name: stored.name, key })
    }
}

/// A subject: a person or a service that owns namespaces.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Subject {
    /// Its name, 5 characters or more.
    pub subject: String,
    /// What it owns.
    pub namespaces: Vec<Namespace>,
    /// A blocked subject cannot authenticate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blocked: bool,
}

/// Limits of one namespace that differ from the operator's (document
/// `NAMESPACE/limits`); absent members mean the default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespaceLimits {
    /// Invocations a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invocations_per_minute: Option<u32>,
    /// Activations in flight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_invocations: Option<u32>,
    /// Trigger fires a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fires_per_minute: Option<u32>,
    /// Kinds that may be created; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_kinds: Option<Vec<String>>,
    /// Whether records are stored at all; absent: they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_activations: Option<bool>,
    /// Least memory of an action, in MB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_action_memory: Option<u32>,
    /// Most memory of an action, in MB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_action_memory: Option<u32>,
    /// Least log of an activation, in MB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_action_logs: Option<u32>,
    /// Most log of an activation, in MB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_action_logs: Option<u32>,
    /// Shortest time limit of an action, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_action_timeout: Option<u64>,
    /// Longest time limit of an action, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_action_timeout: Option<u64>,
    /// Fewest runs that an action's container may overlap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_action_concurrency: Option<u32>,
    /// Most runs that an action's container may overlap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_action_concurrency: Option<u32>,
    /// Most that parameters, and annotations, of an entity take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parameter_size: Option<ByteSize>,
    /// Longest payload, and longest result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_payload_size: Option<ByteSize>,
    /// How much is kept of a longer result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncation_size: Option<ByteSize>,
    /// Kept for OpenWhisk's scheduler: containers to keep beyond their time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmed_container_keeping_count: Option<u32>,
    /// Kept for OpenWhisk's scheduler: for how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmed_container_keeping_timeout: Option<String>,
    /// Kept for OpenWhisk's scheduler: containers of an action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_action_instances: Option<u32>,
}

/// Who makes a request: a subject, in one of its namespaces.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The subject's name.
    pub subject: Arc<str>,
    /// The namespace whose key was shown.
    pub namespace: EntityName,
    /// That key.
    pub key: AuthKey,
    /// What differs for this namespace.
    pub limits: NamespaceLimits,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_whole_and_never_shown() {
        let text = format!("uuid:{}", "k".repeat(64));
        let key = AuthKey::parse(&text).expect("a key");
        assert!(key.matches(&AuthKey::parse(&text).expect("a key")));
        assert!(!key.matches(&AuthKey::parse(&format!("uuid:{}x", "k".repeat(63))).expect("a key")));
        assert_eq!(format!("{key:?}"), "uuid:…");
        for bad in ["", "uuid", ":k", "uuid:short"] {
            assert!(AuthKey::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_keep_their_stored_shape() {
        let text = concat!(
            r#"{"invocationsPerMinute":1,"concurrentInvocations":2,"firesPerMinute":3,"allowedKinds":["nodejs:20"],"#,
            r#""storeActivations":false,"minActionMemory":4,"maxActionMemory":5,"minActionLogs":6,"maxActionLogs":7,"#,
            r#""minActionTimeout":8,"maxActionTimeout":9,"minActionConcurrency":10,"maxActionConcurrency":11,"#,
            r#""maxParameterSize":"1 MB","maxPayloadSize":"2 KB","truncationSize":"3 B","#,
            r#""warmedContainerKeepingCount":12,"warmedContainerKeepingTimeout":"10 minutes","maxActionInstances":13}"#
        );
        let limits: NamespaceLimits = serde_json::from_str(text).expect("readable");
        assert_eq!(serde_json::to_string(&limits).expect("serialisable"), text);
        let none: NamespaceLimits = serde_json::from_str("{}").expect("readable");
        assert_eq!(none, NamespaceLimits::default());
        assert_eq!(serde_json::to_string(&none).expect("serialisable"), "{}");
    }

    #[test]
    fn a_subject_keeps_its_stored_shape() {
        let text = format!(
            r#"{{"subject":"guest","namespaces":[{{"name":"guest","uuid":"u-1","key":"{}"}}]}}"#,
            "k".repeat(64)
        );
        let subject: Subject = serde_json::from_str(&text).expect("readable");
        assert_eq!(serde_json::to_string(&subject).expect("serialisable"), text);
    }
}
