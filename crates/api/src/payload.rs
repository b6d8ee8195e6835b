//! Payloads: the arguments of an invocation, kept as text.
//!
//! A function gets its numbers, its order of members and its text exactly as
//! the client sent them, and the platform does not pay for parsing what it
//! does not look at. Only the members' names are read, to merge parameters in.

use std::{collections::HashMap, fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor},
};
use serde_json::value::{RawValue, to_raw_value};
use whisker_entity::Parameters;

use crate::BodyError;

/// Deepest nesting of a payload. OpenWhisk's parser has the same bound; ours
/// needs none, but runtimes do.
pub const MAX_DEPTH: usize = 1000;

/// A JSON object as its members' names and texts; the last of a name wins.
#[derive(Clone, Default)]
pub struct Payload(Vec<(String, Box<RawValue>)>);

impl Payload {
    /// Reads a request's body: a JSON object, or nothing for `{}`.
    pub fn parse(body: &[u8]) -> Result<Self, BodyError> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let text = std::str::from_utf8(body).map_err(|_| BodyError::malformed("the body is not UTF-8"))?;
        if depth(text) > MAX_DEPTH {
            return Err(BodyError::malformed(format!("JSON nested deeper than {MAX_DEPTH} levels")));
        }
        // Checks the whole syntax, without building anything.
        let whole: &RawValue = serde_json::from_str(text).map_err(|e| BodyError::malformed(e.to_string()))?;
        serde_json::from_str(whole.get()).map_err(|_| BodyError::malformed("JSON object expected"))
    }

    /// The members of a JSON object; `None` of any other value.
    pub fn of(value: &RawValue) -> Option<Self> {
        if value.get().starts_with('{') { serde_json::from_str(value.get()).ok() } else { None }
    }

    /// A member's value.
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| &**value)
    }

    /// Takes a member out.
    pub fn take(&mut self, name: &str) -> Option<Box<RawValue>> {
        let place = self.0.iter().position(|(n, _)| n == name)?;
        Some(self.0.remove(place).1)
    }

    /// Sets all members of another one.
    pub fn set_all(&mut self, over: &Payload) {
        over.0.iter().for_each(|(name, value)| self.set(name, value.clone()));
    }

    /// Sets a member.
    pub fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(n, _)| n == name) {
            Some(old) => old.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// The members' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// These members on top of parameters.
    pub fn over(self, parameters: &Parameters) -> Payload {
        if parameters.is_empty() {
            return self;
        }
        let raw = |p: &whisker_entity::Parameter| Some((p.key.clone(), to_raw_value(&p.value).ok()?));
        let mut merged: Vec<_> = parameters.iter().filter_map(raw).collect();
        // A payload may have very many members: no search for each.
        let places: HashMap<_, _> = merged.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)).collect();
        for (name, value) in self.0 {
            match places.get(&name) {
                Some(&place) => merged[place].1 = value,
                None => merged.push((name, value)),
            }
        }
        Payload(merged)
    }

    /// The object as one line of text.
    pub fn to_text(&self) -> Arc<RawValue> {
        let mut text = serde_json::to_string(self).unwrap_or_else(|_| "{}".into());
        // Line breaks in JSON are never inside a string: they are mere space,
        // and the runtimes' protocol has one line for each request.
        if text.contains(['\n', '\r']) {
            text = text.replace(['\n', '\r'], " ");
        }
        match RawValue::from_string(text) {
            Ok(raw) => raw.into(),
            Err(_) => RawValue::NULL.to_owned().into(),
        }
    }
}

impl FromIterator<(String, Box<RawValue>)> for Payload {
    /// Of members of one name the last counts, in the place of the first.
    fn from_iter<T: IntoIterator<Item = (String, Box<RawValue>)>>(given: T) -> Self {
        let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
        // Here too: no search for each.
        let mut places = HashMap::<String, usize>::new();
        for (name, value) in given {
            match places.get(&name) {
                Some(&place) => members[place].1 = value,
                None => {
                    places.insert(name.clone(), members.len());
                    members.push((name, value));
                }
            }
        }
        Self(members)
    }
}

impl IntoIterator for Payload {
    type Item = (String, Box<RawValue>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Serialize for Payload {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Payload;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Payload, A::Error> {
                std::iter::from_fn(|| map.next_entry().transpose()).collect()
            }
        }
        deserializer.deserialize_map(Members)
    }
}

// Payloads are private.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "payload of {} members", self.0.len())
    }
}

/// How deep arrays and objects are nested.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(body: &str, parameters: serde_json::Value) -> String {
        let parameters: Parameters = serde_json::from_value(parameters).expect("parameters");
        Payload::parse(body.as_bytes()).expect("a payload").over(&parameters).to_text().get().to_owned()
    }

    #[test]
    fn a_payload_passes_unharmed_and_on_one_line() {
        assert_eq!(merged("", json!([])), "{}");
        assert_eq!(merged("{\"a\": 1e400,\n\"b\":\"x\\ny\"}", json!([])), "{\"a\":1e400,\"b\":\"x\\ny\"}");
        assert_eq!(merged("{\"l\":[1,\n2]}", json!([])), "{\"l\":[1, 2]}");
    }

    #[test]
    fn payload_members_win_over_parameters_and_later_ones_over_earlier() {
        let parameters = json!([{"key":"a","value":{"x":1}},{"key":"b","value":2}]);
        assert_eq!(merged(r#"{"b":3,"c":4,"b":5}"#, parameters), r#"{"a":{"x":1},"b":5,"c":4}"#);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for (body, words) in
            [("[1]", "JSON object expected"), ("5", "JSON object expected"), ("null", "JSON object expected")]
        {
            let error = Payload::parse(body.as_bytes()).map(|_| ()).map_err(|e| e.to_string());
            assert_eq!(error, Err(format!("The request content was malformed:\n{words}")), "{body}");
        }
        for bad in ["{]", "{\"a\":1} x", "{\"a\":", "\u{0}"] {
            assert!(Payload::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Payload::parse(b"{\"a\":\"\xff\"}").is_err());
        assert!(
            Payload::parse(format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)).as_bytes()).is_err()
        );
    }
}
