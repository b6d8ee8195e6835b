//! What Whisker answers otherwise than the recording, on purpose.

use std::{collections::BTreeMap, fs};

use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::document::{Request, Step};

/// The file `compat/differences.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Differences {
    /// Why, by a short name.
    pub reasons: BTreeMap<String, Reason>,
    /// Steps that are answered otherwise.
    pub steps: Vec<Difference>,
    /// Commands of the original `wsk` that print something else.
    pub commands: Vec<Printed>,
    /// Requests for parts of the API that are not there yet: they are not sent.
    pub later: Vec<Later>,
}

/// Why Whisker answers otherwise, told to users in `docs/compatibility.md`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// A heading.
    pub title: String,
    /// What OpenWhisk does, what Whisker does, and why.
    pub text: String,
}

/// A step that is answered otherwise.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// The document.
    pub group: String,
    /// The scenario; `setup` for the steps before all of them.
    pub scenario: String,
    /// The step's number, from 1.
    pub step: usize,
    /// Name of the reason.
    pub reason: String,
    /// What is otherwise: the new value by its place in the recorded answer
    /// (`/status`, `/json/error`).
    pub change: BTreeMap<String, Value>,
}

/// A command that prints something else.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Printed {
    /// Its number in `golden/cli/wsk.json`, from 1.
    pub command: usize,
    /// Name of the reason.
    pub reason: String,
    /// What it prints.
    pub stdout: String,
}

/// Requests that are not sent yet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Later {
    /// Only those of this document; of any, if absent.
    pub group: Option<String>,
    /// Only those of this scenario.
    pub scenario: Option<String>,
    /// Only steps with these numbers, from 1.
    #[serde(default)]
    pub steps: Vec<usize>,
    /// Only those whose path matches this regular expression.
    pub path: Option<String>,
    /// What is missing.
    pub missing: String,
}

impl Differences {
    /// Reads this repository's file.
    pub fn read() -> Differences {
        let path = crate::folder().join("differences.json");
        let text = fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let read: Differences =
            serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let used = read.steps.iter().map(|step| &step.reason);
        for reason in used.chain(read.commands.iter().map(|command| &command.reason)) {
            assert!(read.reasons.contains_key(reason), "no reason is called {reason:?}");
        }
        read
    }

    /// Whether a step needs what is not there yet.
    pub fn is_later(&self, group: &str, scenario: &str, number: usize, request: &Request) -> bool {
        self.later.iter().any(|later| {
            let any = |only: &Option<String>, is: &str| only.as_ref().is_none_or(|only| only == is);
            any(&later.group, group)
                && any(&later.scenario, scenario)
                && (later.steps.is_empty() || later.steps.contains(&number))
                && later.path.as_ref().is_none_or(|path| {
                    Regex::new(path).unwrap_or_else(|error| panic!("{error}")).is_match(&request.path)
                })
        })
    }

    /// The answer that a step is to get, and the entry that says so.
    pub fn expected(&self, group: &str, scenario: &str, number: usize, step: &Step) -> (Value, Option<&Difference>) {
        let mut response = step.response.clone();
        let entry = self.steps.iter().find(|d| d.group == group && d.scenario == scenario && d.step == number);
        for (place, value) in entry.iter().flat_map(|entry| &entry.change) {
            put(&mut response, place, value.clone());
        }
        (response, entry)
    }
}

/// Puts a value at its place, JSON pointer style; members on the way are made,
/// and what is at the last one is replaced. `null` takes it away.
fn put(document: &mut Value, place: &str, value: Value) {
    let Some((parent, name)) = place.rsplit_once('/') else { panic!("{place:?} is no place") };
    let name = name.replace("~1", "/").replace("~0", "~");
    let mut at = document;
    for part in parent.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        at = match at {
            Value::Array(items) => {
                let index = part.parse().ok().filter(|i: &usize| *i < items.len());
                &mut items[index.unwrap_or_else(|| panic!("{place:?} is no place"))]
            }
            Value::Object(members) => members.entry(part).or_insert_with(|| Value::Object(Map::new())),
            _ => panic!("{place:?} is no place"),
        };
    }
    match at {
        Value::Array(items) => match name.parse::<usize>() {
            Ok(index) if index < items.len() && value.is_null() => drop(items.remove(index)),
            Ok(index) if index < items.len() => items[index] = value,
            Ok(index) if index == items.len() => items.push(value),
            _ => panic!("{place:?} is no place"),
        },
        Value::Object(members) if value.is_null() => drop(members.shift_remove(&name)),
        Value::Object(members) => drop(members.insert(name, value)),
        _ => panic!("{place:?} is no place"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_put_where_it_says() {
        let mut response = json!({"status": 200, "headers": {"a": "b"}, "json": {"list": [1]}});
        for (place, value) in [
            ("/status", json!(400)),
            ("/headers/a", json!(null)),
            ("/json/list/0", json!(2)),
            ("/json/list/1", json!(3)),
            ("/json/new/member", json!("x")),
        ] {
            put(&mut response, place, value);
        }
        assert_eq!(response, json!({"status": 400, "headers": {}, "json": {"list": [2, 3], "new": {"member": "x"}}}));
    }
}
