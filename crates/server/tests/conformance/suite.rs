//! The cases, as `compat/runtimes/cases.json` has them.

use std::{fs, path::PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

/// `compat/runtimes`.
pub fn folder() -> PathBuf {
    whisker_compat::folder().join("runtimes")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    pub cases: Vec<Case>,
}

/// One fact: an action, and runs of it.
#[derive(Clone, Deserialize)]
pub struct Case {
    pub name: String,
    #[serde(flatten)]
    pub code: Code,
    pub main: Option<String>,
    #[serde(default)]
    pub parameters: Vec<Value>,
    #[serde(default)]
    pub annotations: Vec<Value>,
    #[serde(default)]
    pub limits: Map<String, Value>,
    pub steps: Vec<Step>,
}

/// What is run.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Code {
    /// The language's source of this name.
    Fixture(String),
    /// Sources of these names, one after the other.
    Sequence(Vec<String>),
    /// These bytes, whatever the language.
    Base64(String),
}

/// One run, or several at once.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub enum Step {
    Together(Together),
    Run(Run),
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Together {
    pub together: Vec<Run>,
}

/// One run, and what it must come to. What is not said is not looked at.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub input: Option<Value>,
    /// Whether each language has to say what comes of it.
    #[serde(default)]
    pub by_language: bool,
    pub outcome: Option<String>,
    pub result: Option<Value>,
    pub logs: Option<Vec<String>>,
}

impl Suite {
    pub fn read() -> Suite {
        let path = folder().join("cases.json");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let suite: Suite = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut names: Vec<&str> = suite.cases.iter().map(|case| case.name.as_str()).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "a case is there twice: {names:?}");
        suite
    }
}
