//! A file of exchanges.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use crate::headers;

/// One file: scenarios of one kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Its name.
    pub group: String,
    /// Settings with which the server was recorded, where they are not the default.
    pub config: Option<String>,
    /// Steps before the first scenario.
    #[serde(default)]
    pub setup: Vec<Step>,
    /// What was shown.
    pub scenarios: Vec<Scenario>,
    /// Requests after the last scenario.
    #[serde(default)]
    pub cleanup: Vec<Request>,
}

/// Steps that show one fact, in order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The fact.
    pub name: String,
    /// The steps.
    pub steps: Vec<Step>,
    /// Requests after the last step.
    #[serde(default)]
    pub cleanup: Vec<Request>,
}

/// A request and the answer that it got.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What was sent.
    pub request: Request,
    /// What came back: `status`, `headers` (those that the word `like` stands
    /// for, and more) and one of `json`, `text`, `base64`.
    pub response: Value,
    /// Variables to take from the answer: a pointer into the body, or `@header`.
    #[serde(default)]
    pub capture: BTreeMap<String, String>,
    /// Whether to repeat the request until the answer is right.
    #[serde(default)]
    pub eventually: bool,
    /// How the body is compared, if not as a whole.
    #[serde(rename = "match")]
    pub matching: Option<Matching>,
    /// What to wait for before the step.
    pub wait: Option<Wait>,
}

/// How a body is compared.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Matching {
    /// The listed items are there in this order, among others.
    Contains,
    /// Objects may have more members than are spelled out.
    Members,
}

/// What a step waits for.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Wait {
    /// So many seconds.
    Seconds(f64),
    /// The word `minute`: the beginning of a minute of the clock.
    Minute(String),
}

/// What is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path, sent as it is.
    pub path: String,
    /// Whose credentials go along.
    pub auth: Auth,
    /// The query: a text that is sent as it is, or names and values to encode.
    pub query: Option<Value>,
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A body of JSON.
    #[serde(default, deserialize_with = "present")]
    pub json: Option<Value>,
    /// A body of text.
    pub text: Option<String>,
    /// A body of bytes.
    pub base64: Option<String>,
}

/// A member that is there, be it `null`: a body of `null` is a body.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Whose credentials go along.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// Those of `guest`.
    Guest,
    /// Those of `whisk.system`.
    System,
    /// Well-formed ones that nobody has.
    Bad,
    /// None.
    None,
}

impl Document {
    /// Reads a file.
    pub fn read(path: &Path) -> Document {
        let text = fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let mut document: Document =
            serde_json::from_slice(&text).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let steps = document.scenarios.iter_mut().flat_map(|scenario| &mut scenario.steps);
        for step in document.setup.iter_mut().chain(steps) {
            headers::fill_in(&mut step.response);
        }
        document
    }

    /// The file of a recorded group in this repository.
    pub fn of_group(group: &str) -> Document {
        Document::read(&crate::folder().join("golden").join(format!("{group}.json")))
    }

    /// The recorded files of this repository, by name.
    pub fn paths() -> Vec<PathBuf> {
        Document::paths_in("golden")
    }

    /// The files of this repository with scenarios of our own, by name.
    pub fn scenario_paths() -> Vec<PathBuf> {
        Document::paths_in("scenarios")
    }

    fn paths_in(folder: &str) -> Vec<PathBuf> {
        let folder = crate::folder().join(folder);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        paths
    }
}
