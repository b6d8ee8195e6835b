//! Parameters and annotations: keyed JSON values.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One keyed value, as entities store it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name.
    pub key: String,
    /// Any JSON.
    pub value: Value,
    /// Whether it goes to the container's environment instead of the arguments.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub init: bool,
    /// The algorithm that the stored value is encrypted with; clear if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
}

// Values may be secrets: a debug print shows keys only.
impl std::fmt::Debug for Parameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=…", self.key)
    }
}

/// A set of parameters: keys are unique, the last one given wins.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(transparent)]
pub struct Parameters(Vec<Parameter>);

impl Parameters {
    /// Sets one, in the place of an earlier one of the same key.
    pub fn set(&mut self, parameter: Parameter) {
        match self.0.iter_mut().find(|p| p.key == parameter.key) {
            Some(old) => *old = parameter,
            None => self.0.push(parameter),
        }
    }

    /// Sets a plain value.
    pub fn set_value(&mut self, key: &str, value: impl Into<Value>) {
        self.set(Parameter { key: key.into(), value: value.into(), init: false, encryption: None });
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|p| p.key == key).map(|p| &p.value)
    }

    /// Takes a key away.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|p| p.key != key);
    }

    /// Whether the key is there with a value that OpenWhisk counts as true:
    /// not `false`, `0`, `null` or the empty string.
    pub fn is_truthy(&self, key: &str, missing: bool) -> bool {
        match self.get(key) {
            None => missing,
            Some(Value::Null) => false,
            Some(Value::Bool(b)) => *b,
            Some(Value::Number(n)) => n.as_f64() != Some(0.0),
            Some(Value::String(s)) => !s.is_empty(),
            Some(Value::Array(_) | Value::Object(_)) => true,
        }
    }

    /// These, with `over` on top: its values win.
    pub fn merged(&self, over: &Parameters) -> Parameters {
        self.0.iter().chain(&over.0).cloned().collect()
    }

    /// In the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// UTF-8 bytes of names and of the compact JSON of values: what the limit
    /// on parameters and annotations counts.
    pub fn size_bytes(&self) -> u64 {
        self.0.iter().map(|p| (p.key.len() + p.value.to_string().len()) as u64).sum()
    }
}

impl FromIterator<Parameter> for Parameters {
    fn from_iter<T: IntoIterator<Item = Parameter>>(iter: T) -> Self {
        // A body may hold very many: no search for each.
        let mut places = HashMap::<String, usize>::new();
        let mut parameters: Vec<Parameter> = Vec::new();
        for parameter in iter {
            match places.get(&parameter.key) {
                Some(&place) => parameters[place] = parameter,
                None => {
                    places.insert(parameter.key.clone(), parameters.len());
                    parameters.push(parameter);
                }
            }
        }
        Self(parameters)
    }
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Parameter>::deserialize(deserializer).map(|list| list.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_of_duplicate_keys_wins() {
        let list = json!([{"key":"a","value":1},{"key":"b","value":2},{"key":"a","value":3}]);
        let parameters: Parameters = serde_json::from_value(list).expect("well formed");
        assert_eq!(json!(parameters), json!([{"key":"a","value":3},{"key":"b","value":2}]));
        assert_eq!(parameters.size_bytes(), 4);
    }

    #[test]
    fn truth_is_openwhisks() {
        let mut p = Parameters::default();
        for (value, truthy) in [
            (json!(0), false),
            (json!(""), false),
            (json!(null), false),
            (json!(false), false),
            (json!("x"), true),
            (json!([]), true),
        ] {
            p.set_value("k", value.clone());
            assert_eq!(p.is_truthy("k", true), truthy, "{value}");
        }
        assert!(p.is_truthy("absent", true));
    }

    #[test]
    fn values_do_not_reach_debug_output() {
        let mut p = Parameters::default();
        p.set_value("password", "s3cret");
        assert!(!format!("{p:?}").contains("s3cret"));
    }
}
