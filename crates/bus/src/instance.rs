//! Who invokers and controllers are, as OpenWhisk's messages write them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use whisker_entity::ByteSize;

use crate::{ControllerId, InvokerId};

/// An invoker and what it offers: OpenWhisk's `InvokerInstanceId`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvokerInstance {
    /// Its number.
    pub id: InvokerId,
    /// Memory that its containers may take together.
    pub user_memory: ByteSize,
    /// How much of that is taken, where it is told.
    pub busy_memory: Option<ByteSize>,
    /// Only actions annotated with one of these run there, if there are any.
    pub tags: Vec<String>,
    /// Only these namespaces' actions run there, if there are any.
    pub dedicated_namespaces: Vec<String>,
    /// The name to which its number belongs.
    pub unique_name: Option<String>,
    /// A name for people.
    pub displayed_name: Option<String>,
}

impl InvokerInstance {
    /// An invoker of which no more is known.
    pub fn new(id: InvokerId, user_memory: ByteSize) -> Self {
        Self {
            id,
            user_memory,
            busy_memory: None,
            tags: Vec::new(),
            dedicated_namespaces: Vec::new(),
            unique_name: None,
            displayed_name: None,
        }
    }
}

/// Tells one life of a process from the next one under the same name: random
/// bits, made at its start. Ours; OpenWhisk's readers read over it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Incarnation {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

impl Serialize for Incarnation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Incarnation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

const INVOKER: &str = "invoker";
const CONTROLLER: &str = "controller";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    instance: u32,
    user_memory: ByteSize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    busy_memory: Option<ByteSize>,
    instance_type: String,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    dedicated_namespaces: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unique_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    displayed_name: Option<String>,
}

impl Serialize for InvokerInstance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Wire {
            instance: self.id.0,
            user_memory: self.user_memory,
            busy_memory: self.busy_memory,
            instance_type: INVOKER.to_owned(),
            tags: self.tags.clone(),
            dedicated_namespaces: self.dedicated_namespaces.clone(),
            unique_name: self.unique_name.clone(),
            displayed_name: self.displayed_name.clone(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for InvokerInstance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        if wire.instance_type != INVOKER {
            return Err(de::Error::custom("the instance is no invoker"));
        }
        Ok(Self {
            id: InvokerId(wire.instance),
            user_memory: wire.user_memory,
            busy_memory: wire.busy_memory,
            tags: wire.tags,
            dedicated_namespaces: wire.dedicated_namespaces,
            unique_name: wire.unique_name,
            displayed_name: wire.displayed_name,
        })
    }
}

/// OpenWhisk's `ControllerInstanceId`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireController {
    as_string: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance_type: Option<String>,
}

impl Serialize for ControllerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WireController { as_string: self.0.to_string(), instance_type: Some(CONTROLLER.to_owned()) }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ControllerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = WireController::deserialize(deserializer)?;
        match wire.instance_type.as_deref() {
            None | Some(CONTROLLER) => Ok(Self(wire.as_string.into())),
            Some(_) => Err(de::Error::custom("the instance is no controller")),
        }
    }
}
