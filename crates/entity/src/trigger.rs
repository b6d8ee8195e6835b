//! Triggers and the rules that join them to actions.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{EntityName, EntityPath, Millis, Parameters, QualifiedName, Version};

/// A trigger as it is stored: a kind of event that can be fired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trigger {
    /// The namespace it lives in.
    pub namespace: EntityPath,
    /// Its name there.
    pub name: EntityName,
    /// Default payload.
    pub parameters: Parameters,
    /// Always empty; clients expect the member.
    #[serde(default)]
    pub limits: Map<String, Value>,
    /// Raised by every update.
    pub version: Version,
    /// Kept for clients.
    pub publish: bool,
    /// Facts about it; `feed` names where its events come from.
    pub annotations: Parameters,
    /// The rules joined to it: what is fired is decided here, not in the
    /// rules' own documents. Absent until the first was joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Links>,
    /// When it was last written.
    pub updated: Millis,
}

/// A trigger's rules, by name, in the order in which they were joined.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Links(pub Vec<(QualifiedName, Link)>);

/// One rule, as its trigger knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// What it invokes.
    pub action: Reference,
    /// Whether it does.
    pub status: RuleStatus,
}

impl Links {
    /// What a trigger knows of a rule.
    pub fn get(&self, rule: &QualifiedName) -> Option<&Link> {
        self.0.iter().find(|(name, _)| name == rule).map(|(_, link)| link)
    }

    /// Joins a rule, or changes how it is joined.
    pub fn set(&mut self, rule: &QualifiedName, link: Link) {
        match self.0.iter_mut().find(|(name, _)| name == rule) {
            Some((_, old)) => *old = link,
            None => self.0.push((rule.clone(), link)),
        }
    }

    /// Takes a rule away.
    pub fn remove(&mut self, rule: &QualifiedName) {
        self.0.retain(|(name, _)| name != rule);
    }
}

impl Trigger {
    /// What this knows of a rule.
    pub fn link(&self, rule: &QualifiedName) -> Option<&Link> {
        self.rules.as_ref().and_then(|links| links.get(rule))
    }
}

impl Serialize for Links {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, link)| (name, link)))
    }
}

impl<'de> Deserialize<'de> for Links {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let map = Map::deserialize(deserializer)?;
        let links = map.into_iter().map(|(name, link)| {
            let name = QualifiedName::parse(&name).map_err(D::Error::custom)?;
            Ok((name, serde_json::from_value(link).map_err(D::Error::custom)?))
        });
        links.collect::<Result<_, _>>().map(Links)
    }
}

/// Whether a rule's trigger invokes its action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleStatus {
    /// It does.
    Active,
    /// It does not.
    Inactive,
}

/// A name as rules write it: `{"path":"guest/pkg","name":"hello"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference(pub QualifiedName);

#[derive(Serialize, Deserialize)]
struct StoredReference {
    path: EntityPath,
    name: EntityName,
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        StoredReference { path: self.0.path.clone(), name: self.0.name.clone() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = StoredReference::deserialize(deserializer)?;
        Ok(Self(QualifiedName::new(stored.path, stored.name)))
    }
}

/// A rule as it is stored. Its status lives in its trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// The namespace it lives in.
    pub namespace: EntityPath,
    /// Its name there.
    pub name: EntityName,
    /// What fires it.
    pub trigger: Reference,
    /// What it invokes.
    pub action: Reference,
    /// Raised by every update.
    pub version: Version,
    /// Kept for clients.
    pub publish: bool,
    /// Facts about it.
    pub annotations: Parameters,
    /// When it was last written.
    pub updated: Millis,
}
