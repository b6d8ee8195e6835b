//! Activation messages: everything an invoker needs to know to run one.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;
use whisker_entity::{
    ActivationId, AuthKey, EntityName, EntityPath, Identity, Millis, NamespaceLimits, QualifiedName, TransactionId,
    Version,
};

use crate::transid::Transid;

/// Names a controller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ControllerId(pub Arc<str>);

/// Numbers an invoker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InvokerId(pub u32);

impl fmt::Display for InvokerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invoker{}", self.0)
    }
}

/// One accepted (or merely sent) activation. Its JSON is OpenWhisk's
/// `ActivationMessage` (`core/connector/Message.scala`), field for field.
#[derive(Clone)]
pub struct ActivationMessage {
    /// The request it belongs to.
    pub transaction: TransactionId,
    /// When that request began.
    pub began: Millis,
    /// The action to run.
    pub action: QualifiedName,
    /// Its version when it was resolved.
    pub version: Version,
    /// The binding through which it was called.
    pub binding: Option<QualifiedName>,
    /// Its document's revision; `None` makes the invoker read what is stored.
    pub revision: Option<Arc<str>>,
    /// Who invokes.
    pub user: Arc<Identity>,
    /// The id of the run.
    pub activation: ActivationId,
    /// Who waits for the outcome.
    pub controller: ControllerId,
    /// Whether a client waits for the result.
    pub blocking: bool,
    /// All merged arguments, an object or array, on one line.
    pub content: Arc<RawValue>,
    /// Names of those that go to the container's environment.
    pub init_args: Vec<String>,
    /// Names of those that are encrypted, with their algorithms.
    pub locked_args: BTreeMap<String, String>,
    /// The activation that caused this one.
    pub cause: Option<ActivationId>,
    /// What tracing passes along, as it came.
    pub trace_context: Option<BTreeMap<String, String>>,
    /// Whether it was started by the dead letter of another one: it leaves
    /// none itself, so that letters cannot go round in circles. Ours.
    pub of_letter: bool,
}

/// Says which activation it is. What it was given is nobody else's business.
impl fmt::Debug for ActivationMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActivationMessage")
            .field("activation", &self.activation)
            .field("transaction", &self.transaction)
            .field("action", &self.action)
            .field("user", &self.user)
            .field("blocking", &self.blocking)
            .field("content_bytes", &self.content.get().len())
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    transid: Transid,
    action: WireAction,
    revision: Option<String>,
    user: WireIdentity,
    activation_id: ActivationId,
    root_controller_index: ControllerId,
    blocking: bool,
    content: Option<Box<RawValue>>,
    #[serde(default)]
    init_args: Vec<String>,
    #[serde(default)]
    locked_args: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<ActivationId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace_context: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    of_letter: bool,
}

#[derive(Serialize, Deserialize)]
struct WireAction {
    path: EntityPath,
    name: EntityName,
    #[serde(default = "first")]
    version: Version,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    binding: Option<QualifiedName>,
}

/// What an action is whose version nobody said.
fn first() -> Version {
    Version::FIRST
}

#[derive(Serialize, Deserialize)]
struct WireIdentity {
    subject: String,
    namespace: WireNamespace,
    authkey: WireKey,
    rights: Vec<String>,
    limits: NamespaceLimits,
}

#[derive(Serialize, Deserialize)]
struct WireNamespace {
    name: EntityName,
    uuid: String,
}

#[derive(Serialize, Deserialize)]
struct WireKey {
    api_key: String,
}

impl Serialize for ActivationMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Wire {
            transid: Transid { id: self.transaction.clone(), began: self.began },
            action: WireAction {
                path: self.action.path.clone(),
                name: self.action.name.clone(),
                version: self.version,
                binding: self.binding.clone(),
            },
            revision: self.revision.as_deref().map(str::to_owned),
            user: WireIdentity {
                subject: self.user.subject.to_string(),
                namespace: WireNamespace { name: self.user.namespace.clone(), uuid: self.user.key.uuid().to_owned() },
                authkey: WireKey { api_key: self.user.key.expose() },
                rights: ["READ", "PUT", "DELETE", "ACTIVATE"].map(str::to_owned).into(),
                limits: self.user.limits.clone(),
            },
            activation_id: self.activation,
            root_controller_index: self.controller.clone(),
            blocking: self.blocking,
            content: RawValue::from_string(self.content.get().to_owned()).ok(),
            init_args: self.init_args.clone(),
            locked_args: self.locked_args.clone(),
            cause: self.cause,
            trace_context: self.trace_context.clone(),
            of_letter: self.of_letter,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ActivationMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let content = match wire.content {
            Some(content) => content,
            None => RawValue::from_string("{}".into()).map_err(de::Error::custom)?,
        };
        Ok(Self {
            transaction: wire.transid.id,
            began: wire.transid.began,
            action: QualifiedName::new(wire.action.path, wire.action.name),
            version: wire.action.version,
            binding: wire.action.binding,
            revision: wire.revision.map(Into::into),
            user: Arc::new(Identity {
                subject: wire.user.subject.into(),
                namespace: wire.user.namespace.name,
                key: AuthKey::parse(&wire.user.authkey.api_key).map_err(de::Error::custom)?,
                limits: wire.user.limits,
            }),
            activation: wire.activation_id,
            controller: wire.root_controller_index,
            blocking: wire.blocking,
            content: content.into(),
            init_args: wire.init_args,
            locked_args: wire.locked_args,
            cause: wire.cause,
            trace_context: wire.trace_context,
            of_letter: wire.of_letter,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_openwhisks_shape_and_reads_back() {
        let key = "k".repeat(64);
        let text = format!(
            concat!(
                r#"{{"transid":["abc",1700000000000],"#,
                r#""action":{{"path":"guest/pkg","name":"hello","version":"0.0.1","binding":"guest/bound"}},"#,
                r#""revision":"1-d41d8c","user":{{"subject":"guest","namespace":{{"name":"guest","uuid":"u"}},"#,
                r#""authkey":{{"api_key":"u:{key}"}},"rights":["READ","PUT","DELETE","ACTIVATE"],"limits":{{}}}},"#,
                r#""activationId":"44794bd6aab74415b4e42a308d880e5b","#,
                r#""rootControllerIndex":{{"asString":"0","instanceType":"controller"}},"blocking":true,"#,
                r#""content":{{"name":"Ann","n":1e400}},"initArgs":["TOKEN"],"lockedArgs":{{"name":"aes-128"}},"#,
                r#""cause":"00000000000000000000000000000001","traceContext":{{"traceparent":"00-0af7-b7ad-01"}}}}"#
            ),
            key = key
        );
        let message: ActivationMessage = serde_json::from_str(&text).expect("readable");
        assert_eq!(serde_json::to_string(&message).expect("serialisable"), text);
        let shown = format!("{message:?}");
        assert!(
            !shown.contains(&key) && !shown.contains("Ann"),
            "keys and arguments stay out of debug output: {shown}"
        );
    }

    #[test]
    fn what_openwhisk_may_leave_out_is_not_missed() {
        let text = concat!(
            r#"{"transid":["abc",1,["parent",0]],"action":{"path":"guest","name":"hello"},"revision":null,"#,
            r#""user":{"subject":"guest","namespace":{"name":"guest","uuid":"u"},"authkey":{"api_key":"u:KEY"},"#,
            r#""rights":[],"limits":{}},"activationId":"44794bd6aab74415b4e42a308d880e5b","#,
            r#""rootControllerIndex":{"asString":"0","instanceType":"controller"},"blocking":false}"#
        )
        .replace("KEY", &"k".repeat(64));
        let message: ActivationMessage = serde_json::from_str(&text).expect("readable");
        assert_eq!((message.version, message.began), (Version::FIRST, 1));
        assert_eq!(message.content.get(), "{}");
        assert!(message.init_args.is_empty() && message.locked_args.is_empty());
        assert!(message.cause.is_none() && message.trace_context.is_none() && !message.of_letter);
    }
}
