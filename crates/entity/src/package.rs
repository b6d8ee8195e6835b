//! Packages, and bindings to packages of others.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{EntityName, EntityPath, Millis, Parameters, QualifiedName, Version};

/// A package as it is stored: a folder of actions with parameters of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Package {
    /// The namespace it lives in.
    pub namespace: EntityPath,
    /// Its name there.
    pub name: EntityName,
    /// The package it stands for, where it is a binding.
    #[serde(with = "stored_binding")]
    pub binding: Option<Binding>,
    /// Arguments for every action in it.
    pub parameters: Parameters,
    /// Raised by every update.
    pub version: Version,
    /// Whether others may read and invoke what is in it.
    pub publish: bool,
    /// Facts about it.
    pub annotations: Parameters,
    /// When it was last written.
    pub updated: Millis,
}

impl Package {
    /// `ns/pkg`: where its actions are.
    pub fn path(&self) -> EntityPath {
        EntityPath { namespace: self.namespace.namespace.clone(), package: Some(self.name.clone()) }
    }

    /// `ns/pkg`: the document's id.
    pub fn qualified_name(&self) -> QualifiedName {
        QualifiedName::new(self.namespace.clone(), self.name.clone())
    }
}

/// Names the package that a binding stands for. Stored as
/// `{"namespace","name"}`, and no binding as `{}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding(pub QualifiedName);

#[derive(Serialize, Deserialize)]
struct StoredBinding {
    namespace: EntityName,
    name: EntityName,
}

impl Serialize for Binding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        StoredBinding { namespace: self.0.path.namespace.clone(), name: self.0.name.clone() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Binding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = StoredBinding::deserialize(deserializer)?;
        Ok(Self(QualifiedName::new(EntityPath::root(stored.namespace), stored.name)))
    }
}

/// No binding is `{}` in storage, not `null`.
mod stored_binding {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use serde_json::{Map, Value};

    use super::Binding;

    pub fn serialize<S: Serializer>(binding: &Option<Binding>, serializer: S) -> Result<S::Ok, S::Error> {
        match binding {
            Some(binding) => binding.serialize(serializer),
            None => Map::new().serialize(serializer),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Binding>, D::Error> {
        let object = Map::deserialize(deserializer)?;
        if object.is_empty() {
            return Ok(None);
        }
        serde_json::from_value(Value::Object(object)).map(Some).map_err(D::Error::custom)
    }
}
