//! The runtimes that this server brings along: `runtimes/` of the repository,
//! embedded, so that one binary is all there is to install.

use std::{collections::BTreeMap, path::Path, process::Command, sync::OnceLock};

use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Every launcher, by its path below `runtimes/`.
pub(crate) const FILES: &[(&str, &[u8])] = &[
    ("nodejs/launcher.js", include_bytes!("../../../runtimes/nodejs/launcher.js")),
    ("php/launcher.php", include_bytes!("../../../runtimes/php/launcher.php")),
    ("python/launcher.py", include_bytes!("../../../runtimes/python/launcher.py")),
    ("ruby/launcher.rb", include_bytes!("../../../runtimes/ruby/launcher.rb")),
];

/// The manifest: OpenWhisk's, with members for the kinds that have a launcher.
pub const MANIFEST: &str = include_str!("../../../runtimes/manifest.json");

/// How runtimes are started on this host.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    runtimes: BTreeMap<String, Runtime>,
}

#[derive(Debug)]
struct Runtime {
    row: Row,
    /// The interpreter, once it was looked for.
    found: OnceLock<Result<String, String>>,
}

/// A command that starts a launcher.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// The interpreter and its arguments, without the launcher.
    pub command: Vec<String>,
    /// The launcher's path below `runtimes/`.
    pub launcher: String,
    pub environment: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Manifest {
    runtimes: BTreeMap<String, Vec<Row>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Row {
    kind: String,
    #[serde(default)]
    launcher: Option<String>,
    #[serde(default)]
    command: Option<Interpreter>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Interpreter {
    candidates: Vec<String>,
    #[serde(default)]
    arguments: Vec<String>,
    #[serde(default)]
    version: Option<Version>,
}

#[derive(Debug, Clone, Deserialize)]
struct Version {
    arguments: Vec<String>,
    accepted: Vec<String>,
}

/// Names this set of launchers.
pub(crate) fn content_hash() -> String {
    let mut hash = Sha256::new();
    for (path, content) in FILES {
        hash.update(path);
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(content);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Catalog {
    /// Reads a manifest.
    pub(crate) fn read(manifest: &str) -> serde_json::Result<Catalog> {
        let manifest: Manifest = serde_json::from_str(manifest)?;
        let rows = manifest.runtimes.into_values().flatten();
        let runtimes = rows.map(|row| (row.kind.clone(), Runtime { row, found: OnceLock::new() }));
        Ok(Catalog { runtimes: runtimes.collect() })
    }

    /// How to start a kind, or why it cannot be. Runs the interpreter once,
    /// when the kind is first asked for, to see its version: blocks.
    pub(crate) fn launch(&self, kind: &str) -> Result<Launch, String> {
        let known = self.runtimes.get(kind).ok_or("the manifest has no such kind")?;
        let (Some(launcher), Some(interpreter)) = (&known.row.launcher, &known.row.command) else {
            return Err("it has no launcher for processes of this host".to_owned());
        };
        let program = known.found.get_or_init(|| find(interpreter)).clone()?;
        let command = [program].into_iter().chain(interpreter.arguments.iter().cloned());
        Ok(Launch {
            command: command.collect(),
            launcher: launcher.clone(),
            environment: known.row.environment.clone(),
        })
    }

    /// Every kind, by name.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &str> {
        self.runtimes.keys().map(String::as_str)
    }

    /// What is looked for to run a kind: programs, and what makes them tell
    /// their version.
    pub(crate) fn asked(&self, kind: &str) -> (&[String], &[String]) {
        let interpreter = self.runtimes.get(kind).and_then(|known| known.row.command.as_ref());
        let version = interpreter.and_then(|interpreter| interpreter.version.as_ref());
        (
            interpreter.map_or(&[], |interpreter| &interpreter.candidates),
            version.map_or(&[], |version| &version.arguments),
        )
    }

    /// Whether [`launch`](Self::launch) will answer without blocking.
    pub(crate) fn is_known(&self, kind: &str) -> bool {
        self.runtimes.get(kind).is_none_or(|known| known.found.get().is_some())
    }
}

/// The first candidate that is there and has an accepted version.
fn find(interpreter: &Interpreter) -> Result<String, String> {
    let mut seen = Vec::new();
    for candidate in interpreter.candidates.iter().filter(|path| Path::new(path).exists()) {
        let Some(version) = &interpreter.version else { return Ok(candidate.clone()) };
        let said = match Command::new(candidate).args(&version.arguments).output() {
            Ok(output) => [output.stdout, output.stderr].concat(),
            Err(error) => error.to_string().into_bytes(),
        };
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        if version.accepted.iter().any(|accepted| said.starts_with(accepted)) {
            return Ok(candidate.clone());
        }
        seen.push(format!("{candidate} is {said:?}"));
    }
    let accepted = interpreter.version.iter().flat_map(|version| &version.accepted);
    let accepted: Vec<&str> = accepted.map(String::as_str).collect();
    if seen.is_empty() {
        return Err(format!("none of {} is installed", interpreter.candidates.join(", ")));
    }
    Err(format!("{}; it takes one of {}", seen.join(", "), accepted.join(", ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn every_launcher_of_the_manifest_is_embedded() {
        let catalog = Catalog::read(MANIFEST).unwrap();
        let launchers = catalog.runtimes.values().filter_map(|known| known.row.launcher.as_ref());
        for launcher in launchers {
            assert!(FILES.iter().any(|(path, _)| path == launcher), "{launcher}");
        }
        assert!(catalog.runtimes.contains_key("nodejs:20"));
        assert!(catalog.runtimes.contains_key("python:3.11"));
    }

    #[test]
    fn a_kind_that_cannot_run_says_why() {
        let manifest = r#"{ "runtimes": { "x": [
            { "kind": "x:1", "launcher": null },
            { "kind": "x:2", "launcher": "x.sh", "command": { "candidates": ["/none/such"] } },
            { "kind": "x:3", "launcher": "x.sh", "command": { "candidates": ["/bin/echo"],
              "version": { "arguments": ["v1"], "accepted": ["v2"] } } },
            { "kind": "x:4", "launcher": "x.sh", "command": { "candidates": ["/bin/echo"], "arguments": ["-n"],
              "version": { "arguments": ["v2"], "accepted": ["v2"] } } } ] } }"#;
        let catalog = Catalog::read(manifest).unwrap();
        let why = |kind| catalog.launch(kind).unwrap_err();
        assert_eq!(why("y:1"), "the manifest has no such kind");
        assert_eq!(why("x:1"), "it has no launcher for processes of this host");
        assert_eq!(why("x:2"), "none of /none/such is installed");
        assert_eq!(why("x:3"), "/bin/echo is \"v1\"; it takes one of v2");
        assert_eq!(catalog.launch("x:4").unwrap().command, ["/bin/echo", "-n"]);
    }
}
