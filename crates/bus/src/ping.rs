//! Signs of life, and what controllers tell each other.

use serde::{Deserialize, Serialize};

use crate::{ControllerId, Incarnation, InvokerInstance};

/// An invoker lives, and takes work or not: OpenWhisk's `PingMessage`, sent
/// once a second. One that stops says so once, then is silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvokerPing {
    /// Who.
    #[serde(rename = "name")]
    pub instance: InvokerInstance,
    /// Whether it takes work.
    #[serde(rename = "isEnabled", default = "yes")]
    pub enabled: bool,
    /// Which life of it. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
}

/// A controller lives, and takes requests or not. Ours, in the manner of
/// [`InvokerPing`]: OpenWhisk's controllers find each other by other means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ControllerPing {
    /// Who.
    #[serde(rename = "name")]
    pub controller: ControllerId,
    /// Whether it takes requests.
    #[serde(rename = "isEnabled", default = "yes")]
    pub enabled: bool,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// What it has just forgotten since another one changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<CacheInvalidation>,
}

fn yes() -> bool {
    true
}

/// What a controller may have read before has changed: OpenWhisk's
/// `CacheInvalidationMessage`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheInvalidation {
    /// What.
    pub key: CacheKey,
    /// Who changed it, such as `controller0`: it needs no telling.
    pub instance_id: String,
}

/// The second half of a key may be a secret.
impl std::fmt::Debug for CacheInvalidation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheInvalidation")
            .field("main_id", &self.key.main_id)
            .field("instance_id", &self.instance_id)
            .finish_non_exhaustive()
    }
}

/// OpenWhisk's `CacheKey`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheKey {
    /// A document's id, a namespace's name, or the first half of a key.
    pub main_id: String,
    /// A revision, or the second half of a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary_id: Option<String>,
}

/// What a controller hears of the others, itself included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// An invoker pinged.
    Invoker(InvokerPing),
    /// A controller pinged.
    Controller(ControllerPing),
    /// A controller changed something.
    Changed(CacheInvalidation),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use whisker_entity::ByteSize;

    use super::*;
    use crate::InvokerId;

    #[test]
    fn a_ping_has_openwhisks_shape_and_reads_back() {
        let text = concat!(
            r#"{"name":{"instance":3,"userMemory":"2048 MB","busyMemory":"256 MB","instanceType":"invoker","tags":["gpu"],"#,
            r#""dedicatedNamespaces":["guest"],"uniqueName":"host-3","displayedName":"10.0.0.3"},"isEnabled":true}"#
        );
        let ping: InvokerPing = serde_json::from_str(text).unwrap();
        assert_eq!(ping.instance.id, InvokerId(3));
        assert_eq!(ping.instance.user_memory, "2048 MB".parse::<ByteSize>().unwrap());
        assert_eq!(serde_json::to_string(&ping).unwrap(), text);
    }

    #[test]
    fn a_ping_without_a_word_about_it_is_enabled() {
        let text = r#"{"name":{"instance":0,"userMemory":"1024 MB","instanceType":"invoker","tags":[],"dedicatedNamespaces":[]}}"#;
        let ping: InvokerPing = serde_json::from_str(text).unwrap();
        let instance = InvokerInstance::new(InvokerId(0), "1024 MB".parse().unwrap());
        assert_eq!(ping, InvokerPing { instance, enabled: true, incarnation: None });
    }

    #[test]
    fn others_are_no_invokers() {
        let text = r#"{"name":{"instance":0,"userMemory":"1024 MB","instanceType":"scheduler"},"isEnabled":true}"#;
        assert!(serde_json::from_str::<InvokerPing>(text).is_err());
    }

    #[test]
    fn a_controllers_ping_reads_back() {
        let ping = ControllerPing {
            controller: ControllerId("a".into()),
            enabled: false,
            incarnation: Incarnation(0xab),
            heard: None,
        };
        let text = serde_json::to_string(&ping).unwrap();
        assert_eq!(
            text,
            r#"{"name":{"asString":"a","instanceType":"controller"},"isEnabled":false,"incarnation":"00000000000000ab"}"#
        );
        assert_eq!(serde_json::from_str::<ControllerPing>(&text).unwrap(), ping);
        let key = CacheKey { main_id: "guest/hello".into(), secondary_id: None };
        let heard = CacheInvalidation { key, instance_id: "controllerb".into() };
        let ping = ControllerPing { heard: Some(heard), ..ping };
        let text = serde_json::to_string(&ping).unwrap();
        assert!(text.ends_with(r#","heard":{"key":{"mainId":"guest/hello"},"instanceId":"controllerb"}}"#), "{text}");
        assert_eq!(serde_json::from_str::<ControllerPing>(&text).unwrap(), ping);
    }

    #[test]
    fn an_invalidation_has_openwhisks_shape_and_keeps_keys_to_itself() {
        for text in [
            r#"{"key":{"mainId":"guest/hello"},"instanceId":"controller0"}"#,
            r#"{"key":{"mainId":"23bc46b1","secondaryId":"s3cret"},"instanceId":"controller1"}"#,
        ] {
            let read: CacheInvalidation = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
            assert!(!format!("{read:?}").contains("s3cret"));
        }
    }
}
