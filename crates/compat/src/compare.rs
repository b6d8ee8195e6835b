//! What is different between a recorded answer and one that came, place by place.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use whisker_testkit::Response;

use crate::{document::Matching, placeholder::stands_for};

/// Headers that must be absent where the recording has none.
const WATCHED: [&str; 9] = [
    "content-type",
    "x-openwhisk-activation-id",
    "access-control-allow-origin",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "location",
    "set-cookie",
    "www-authenticate",
    "allow",
];

/// Stands for a member that is not there.
const ABSENT: &str = "${absent}";

/// Longest part of a value that is shown.
const SHOWN: usize = 700;

/// The differences of an answer from what was recorded; none if it is right.
pub fn answer(expected: &Value, matching: Option<Matching>, actual: &Response) -> Vec<String> {
    let mut found = Vec::new();
    if expected["status"].as_u64() != Some(actual.status().into()) {
        found.push(format!("status: expected {}, got {}", expected["status"], actual.status()));
    }
    let headers = headers(actual);
    let empty = Map::new();
    let recorded = expected["headers"].as_object().unwrap_or(&empty);
    for (name, value) in recorded {
        found.extend(values(value, headers.get(name.as_str()).unwrap_or(&Value::Null), &format!("header {name}")));
    }
    for name in WATCHED.iter().filter(|name| !recorded.contains_key(**name)) {
        if let Some(value) = headers.get(name) {
            found.push(format!("header {name}: unexpected {}", shown(value)));
        }
    }
    found.extend(body(expected, matching, actual));
    found
}

/// Headers by name; one that comes several times is a list.
fn headers(actual: &Response) -> BTreeMap<&str, Value> {
    let mut headers: BTreeMap<&str, Value> = BTreeMap::new();
    for (name, value) in actual.headers() {
        headers
            .entry(name)
            .and_modify(|before| match before {
                Value::Array(values) => values.push(value.as_str().into()),
                one => *one = Value::Array(vec![one.take(), value.as_str().into()]),
            })
            .or_insert_with(|| value.as_str().into());
    }
    headers
}

fn body(expected: &Value, matching: Option<Matching>, actual: &Response) -> Vec<String> {
    if let Some(json) = expected.get("json") {
        let Ok(actual) = serde_json::from_slice(actual.bytes()) else {
            return vec![format!("body: not JSON: {}", shown(&actual.text().into()))];
        };
        return match matching {
            Some(Matching::Contains) => contained(json, &actual),
            Some(Matching::Members) => Extent::Part.values(json, &actual, ""),
            None => values(json, &actual, ""),
        };
    }
    if let Some(base64) = expected.get("base64").and_then(Value::as_str) {
        let same = STANDARD.decode(base64).is_ok_and(|bytes| bytes == actual.bytes());
        return if same {
            Vec::new()
        } else {
            vec![format!("body: got {}", shown(&STANDARD.encode(actual.bytes()).into()))]
        };
    }
    values(expected.get("text").unwrap_or(&Value::String(String::new())), &actual.text().into(), "body")
}

/// The expected items, in this order, among others.
fn contained(expected: &Value, actual: &Value) -> Vec<String> {
    let (Some(expected), Some(actual)) = (expected.as_array(), actual.as_array()) else {
        return vec![format!("body: expected a list, got {}", shown(actual))];
    };
    let mut rest = actual.iter();
    expected
        .iter()
        .filter(|item| !rest.any(|other| values(item, other, "").is_empty()))
        .map(|item| format!("body: not found in this order: {}", shown(item)))
        .collect()
}

/// Differences of two values. Members of objects and lists of keys with values
/// have no order.
pub fn values(expected: &Value, actual: &Value, place: &str) -> Vec<String> {
    Extent::Whole.values(expected, actual, place)
}

/// How much of an answer's objects is spelled out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All of it.
    Whole,
    /// What matters; they may have more members, and lists of keys with values more of these.
    Part,
}

impl Extent {
    fn values(self, expected: &Value, actual: &Value, place: &str) -> Vec<String> {
        let different = || vec![format!("{place}: expected {}, got {}", shown(expected), shown(actual))];
        match (expected, actual) {
            (Value::String(text), _) => match (document_in(expected), document_in(actual)) {
                (Some(expected), Some(actual)) => self.objects(&expected, &actual, place),
                _ if stands_for(text, actual) => Vec::new(),
                _ => different(),
            },
            (Value::Object(expected), Value::Object(actual)) => self.objects(expected, actual, place),
            (Value::Array(one), Value::Array(two)) => {
                if keyed(one) && (keyed(two) || two.is_empty()) {
                    let optional = |key: &Value| one.iter().any(|e| e["key"] == *key && e["value"] == "${int?}");
                    let by_key = |list: &[Value]| -> Map<String, Value> {
                        let needed = list.iter().filter(|e| !optional(&e["key"]));
                        needed.map(|e| (e["key"].to_string(), e.clone())).collect()
                    };
                    return self.objects(&by_key(one), &by_key(two), place);
                }
                if one.len() != two.len() {
                    return vec![format!(
                        "{place}: expected {} items, got {}: {}",
                        one.len(),
                        two.len(),
                        shown(actual)
                    )];
                }
                let pairs = one.iter().zip(two).enumerate();
                pairs.flat_map(|(i, (one, two))| self.values(one, two, &format!("{place}/{i}"))).collect()
            }
            // 1 and 1.0 are one number, in one form or the other.
            (Value::Number(one), Value::Number(two)) if one.as_f64() == two.as_f64() => Vec::new(),
            _ if expected == actual => Vec::new(),
            _ => different(),
        }
    }

    fn objects(self, expected: &Map<String, Value>, actual: &Map<String, Value>, place: &str) -> Vec<String> {
        let there = expected.iter().filter(|(_, value)| !is_absence(value));
        let missing = there.clone().filter(|(name, _)| !actual.contains_key(*name));
        let unexpected = actual.iter().filter(|(name, _)| match expected.get(*name) {
            Some(value) => is_absence(value),
            None => self == Extent::Whole,
        });
        let both = there.filter_map(|(name, value)| Some((name, value, actual.get(name)?)));
        missing
            .map(|(name, value)| format!("{place}/{name}: missing, expected {}", shown(value)))
            .chain(unexpected.map(|(name, value)| format!("{place}/{name}: unexpected {}", shown(value))))
            .chain(both.flat_map(|(name, one, two)| self.values(one, two, &format!("{place}/{name}"))))
            .collect()
    }
}

/// Whether a member, or the value of a key, is said not to be there.
fn is_absence(value: &Value) -> bool {
    value == ABSENT || (value.get("key").is_some() && value.get("value").is_some_and(|value| value == ABSENT))
}

/// The JSON object that a text spells, such as a trigger's log line.
fn document_in(value: &Value) -> Option<Map<String, Value>> {
    let text = value.as_str().filter(|text| text.starts_with('{') && !text.starts_with("${"))?;
    serde_json::from_str(text).ok()
}

fn keyed(list: &[Value]) -> bool {
    !list.is_empty() && list.iter().all(|item| item.get("key").is_some())
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn order_matters_in_lists_and_nowhere_else() {
        for (expected, actual, same) in [
            (json!({"a": 1, "b": 2}), json!({"b": 2, "a": 1}), true),
            (json!([1, 2]), json!([2, 1]), false),
            (json!([{"key": "a", "value": 1}, {"key": "b"}]), json!([{"key": "b"}, {"key": "a", "value": 1}]), true),
            (json!([{"key": "a"}]), json!([]), false),
            (json!([{"key": "initTime", "value": "${int?}"}]), json!([]), true),
            (json!([{"key": "initTime", "value": "${int?}"}]), json!([{"key": "initTime", "value": 3}]), true),
            (json!(["{\"a\":1,\"b\":\"${any}\"}"]), json!(["{\"b\":2,\"a\":1}"]), true),
            (json!(1), json!(true), false),
            (json!(1), json!(1.0), true),
            (json!({"a": 1}), json!({"a": 1, "b": 1}), false),
        ] {
            assert_eq!(values(&expected, &actual, "").is_empty(), same, "{expected} {actual}");
        }
    }

    #[test]
    fn a_part_says_nothing_of_other_members() {
        for (expected, actual, same) in [
            (json!({"a": {"b": 1}}), json!({"a": {"b": 1, "c": 2}, "d": 3}), true),
            (json!({"a": {"b": 1}}), json!({"a": {"c": 2}}), false),
            (json!({"a": "${absent}"}), json!({"b": 1}), true),
            (json!({"a": "${absent}"}), json!({"a": null}), false),
            (json!([{"key": "a", "value": 1}]), json!([{"key": "b"}, {"key": "a", "value": 1}]), true),
            (json!([{"key": "a", "value": "${absent}"}]), json!([{"key": "a", "value": 1}]), false),
            (json!([{"key": "a", "value": "${absent}"}]), json!([{"key": "b", "value": 1}]), true),
            (json!([{"a": 1}]), json!([{"a": 1, "b": 2}]), true),
            (json!([{"a": 1}]), json!([{"a": 1}, {"a": 1}]), false),
        ] {
            assert_eq!(Extent::Part.values(&expected, &actual, "").is_empty(), same, "{expected} {actual}");
        }
    }

    #[test]
    fn a_difference_names_its_place() {
        let found = values(&json!({"a": [{"b": 1}]}), &json!({"a": [{"b": 2}]}), "");
        assert_eq!(found, ["/a/0/b: expected 1, got 2"]);
    }
}
