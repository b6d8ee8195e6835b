//! The runtimes that this server brings along: `runtimes/` of the repository,
//! embedded, so that one binary is all there is to install.

use std::{collections::BTreeMap, path::Path, process::Command, sync::OnceLock, time::Duration};

use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Every launcher, by its path below `runtimes/`.
pub(crate) const FILES: &[(&str, &[u8])] = &[
    ("actionloop/start.sh", include_bytes!("../../../runtimes/actionloop/start.sh")),
    ("dotnet/Launcher.cs", include_bytes!("../../../runtimes/dotnet/Launcher.cs")),
    ("dotnet/prepare.sh", include_bytes!("../../../runtimes/dotnet/prepare.sh")),
    ("go/compile.sh", include_bytes!("../../../runtimes/go/compile.sh")),
    ("go/launcher.go", include_bytes!("../../../runtimes/go/launcher.go")),
    ("go/prepare.sh", include_bytes!("../../../runtimes/go/prepare.sh")),
    ("java/Launcher.java", include_bytes!("../../../runtimes/java/Launcher.java")),
    ("java/compile.sh", include_bytes!("../../../runtimes/java/compile.sh")),
    ("java/prepare.sh", include_bytes!("../../../runtimes/java/prepare.sh")),
    ("native/launcher.pl", include_bytes!("../../../runtimes/native/launcher.pl")),
    ("nodejs/launcher.js", include_bytes!("../../../runtimes/nodejs/launcher.js")),
    ("php/launcher.php", include_bytes!("../../../runtimes/php/launcher.php")),
    ("python/launcher.py", include_bytes!("../../../runtimes/python/launcher.py")),
    ("python/prepare.sh", include_bytes!("../../../runtimes/python/prepare.sh")),
    ("ruby/launcher.rb", include_bytes!("../../../runtimes/ruby/launcher.rb")),
    ("rust/common.sh", include_bytes!("../../../runtimes/rust/common.sh")),
    ("rust/compile.sh", include_bytes!("../../../runtimes/rust/compile.sh")),
    ("rust/launcher.rs", include_bytes!("../../../runtimes/rust/launcher.rs")),
    ("rust/prepare.sh", include_bytes!("../../../runtimes/rust/prepare.sh")),
    ("swift/compile.sh", include_bytes!("../../../runtimes/swift/compile.sh")),
    ("swift/launcher.swift", include_bytes!("../../../runtimes/swift/launcher.swift")),
];

/// The manifest: OpenWhisk's, with members for the kinds that have a launcher.
pub const MANIFEST: &str = include_str!("../../../runtimes/manifest.json");

/// What the kinds of images begin with, as the seam has them.
const BLACK_BOX: &str = "blackbox:";

/// How runtimes are started on this host.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    runtimes: BTreeMap<String, Runtime>,
}

#[derive(Debug)]
struct Runtime {
    row: Row,
    /// The interpreter, once it was looked for.
    found: OnceLock<Result<Program, String>>,
    /// What compiles, once it was looked for.
    compiler: OnceLock<Result<Program, String>>,
}

/// A program of this host.
#[derive(Debug, Clone)]
struct Program {
    path: String,
    /// What it said of its version, if that was asked.
    said: String,
}

/// A command that starts a launcher.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// The kind.
    pub kind: String,
    /// The interpreter and its arguments, without the launcher.
    pub command: Vec<String>,
    /// The launcher's path below `runtimes/`.
    pub launcher: String,
    pub environment: BTreeMap<String, String>,
    /// What the launcher itself is made of and by, if it has to be made.
    pub prepare: Option<Recipe>,
    /// How source becomes a program, or why it cannot on this host; `None` for
    /// kinds whose source is run as it is.
    pub compile: Option<Result<Recipe, String>>,
    /// Whether a jar is left as it is.
    pub jars: bool,
    /// Whether the launcher becomes the action's own program.
    pub handover: bool,
}

impl Launch {
    /// The command for a container of this size, which some interpreters
    /// cannot see from inside.
    pub(crate) fn command(&self, memory_mb: u32) -> impl Iterator<Item = String> {
        let words = self.command.iter().map(move |word| word.replace("${memory_mb}", &memory_mb.to_string()));
        words.chain([format!("/runtimes/{}", self.launcher)])
    }

    /// What is made once for all of its actions: of the launcher, and for the
    /// compiler.
    pub(crate) fn prepared(&self) -> impl Iterator<Item = &Recipe> {
        let compiler = self.compile.as_ref().and_then(|compile| compile.as_ref().ok()?.prepare.as_deref());
        self.prepare.iter().chain(compiler)
    }
}

/// A script of `runtimes/` that makes something of something, in a container
/// of its own.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    /// The kind that it is for, for messages.
    pub kind: String,
    /// The script's path below `runtimes/`.
    pub script: String,
    /// The toolchain's program, which is the script's first argument.
    pub program: String,
    /// Script, launchers and toolchain, by their content: what else than the
    /// code the result depends on.
    pub identity: String,
    pub environment: BTreeMap<String, String>,
    pub memory_mb: u32,
    pub time: Duration,
    /// What is made beforehand, once for all that this makes.
    pub prepare: Option<Box<Recipe>>,
}

#[derive(Deserialize)]
struct Manifest {
    runtimes: BTreeMap<String, Vec<Row>>,
    #[serde(default)]
    blackboxes: Vec<Row>,
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
    #[serde(default)]
    requires: Vec<String>,
    #[serde(default)]
    prepare: Option<String>,
    #[serde(default)]
    compile: Option<Compile>,
    #[serde(default)]
    toolchain: Option<Toolchain>,
    #[serde(default)]
    jars: bool,
    #[serde(default)]
    handover: bool,
}

#[derive(Debug, Clone, Deserialize)]
struct Compile {
    script: String,
    #[serde(default)]
    prepare: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Toolchain {
    #[serde(flatten)]
    program: Interpreter,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    requires: Vec<String>,
    memory_mb: u32,
    seconds: u64,
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
    hash_below("")
}

/// Names the launchers and scripts whose paths begin like this.
fn hash_below(folder: &str) -> String {
    let mut hash = Sha256::new();
    for (path, content) in FILES.iter().filter(|(path, _)| path.starts_with(folder)) {
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
        let rows = manifest.runtimes.into_values().flatten().chain(manifest.blackboxes);
        let runtimes = rows.map(|row| {
            let runtime = Runtime { row, found: OnceLock::new(), compiler: OnceLock::new() };
            (runtime.row.kind.clone(), runtime)
        });
        Ok(Catalog { runtimes: runtimes.collect() })
    }

    /// A black box's kind names its image with whatever tag the user gave it;
    /// all of them keep one contract.
    fn known(&self, kind: &str) -> Option<&Runtime> {
        let name_from = kind.rfind('/').filter(|_| kind.starts_with(BLACK_BOX));
        let tag = name_from.and_then(|from| Some(from + kind[from..].find([':', '@'])?));
        self.runtimes.get(&kind[..tag.unwrap_or(kind.len())])
    }

    /// How to start a kind, or why it cannot be. Runs the interpreter once,
    /// when the kind is first asked for, to see its version: blocks.
    pub(crate) fn launch(&self, kind: &str) -> Result<Launch, String> {
        let known = self.known(kind).ok_or(match kind.starts_with(BLACK_BOX) {
            true => "it is a container image, which takes a container engine (--containers docker)",
            false => "the manifest has no such kind",
        })?;
        let (Some(launcher), Some(interpreter)) = (&known.row.launcher, &known.row.command) else {
            return Err("it has no launcher for processes of this host".to_owned());
        };
        let program = known.found.get_or_init(|| find(interpreter, &known.row.requires)).clone()?;
        let command = [program.path].into_iter().chain(interpreter.arguments.iter().cloned());
        Ok(Launch {
            kind: kind.to_owned(),
            command: command.collect(),
            launcher: launcher.clone(),
            environment: known.row.environment.clone(),
            prepare: known.row.prepare.as_ref().map(|script| known.recipe(script)).transpose()?,
            compile: known.row.compile.as_ref().map(|compile| {
                let prepare = compile.prepare.as_ref().map(|script| known.recipe(script)).transpose()?;
                Ok(Recipe { prepare: prepare.map(Box::new), ..known.recipe(&compile.script)? })
            }),
            jars: known.row.jars,
            handover: known.row.handover,
        })
    }

    /// Why a kind cannot be used in full on this host, if so: neither to run
    /// what is compiled already, nor to compile.
    pub(crate) fn lacking(&self, kind: &str) -> Option<String> {
        match self.launch(kind) {
            Ok(launch) => launch.compile?.err(),
            Err(reason) => Some(reason),
        }
    }

    /// Every kind, by name.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &str> {
        self.runtimes.keys().map(String::as_str)
    }

    /// What is looked for to run a kind, or to compile it: programs, and what
    /// makes them tell their version.
    pub(crate) fn asked(&self, kind: &str) -> (&[String], &[String]) {
        let interpreter = self.known(kind).and_then(|known| match &known.row.toolchain {
            Some(toolchain) => Some(&toolchain.program),
            None => known.row.command.as_ref(),
        });
        let version = interpreter.and_then(|interpreter| interpreter.version.as_ref());
        (
            interpreter.map_or(&[], |interpreter| &interpreter.candidates),
            version.map_or(&[], |version| &version.arguments),
        )
    }

    /// Whether [`launch`](Self::launch) will answer without blocking.
    pub(crate) fn is_known(&self, kind: &str) -> bool {
        self.known(kind).is_none_or(|known| {
            known.found.get().is_some() && (known.row.toolchain.is_none() || known.compiler.get().is_some())
        })
    }
}

impl Runtime {
    /// What one of its scripts takes, or why it cannot be had.
    fn recipe(&self, script: &str) -> Result<Recipe, String> {
        let toolchain = self.row.toolchain.as_ref().ok_or("the manifest names no toolchain for it")?;
        let program = self.compiler.get_or_init(|| find(&toolchain.program, &toolchain.requires)).clone()?;
        let folder = script.split('/').next().unwrap_or_default();
        Ok(Recipe {
            kind: self.row.kind.clone(),
            script: script.to_owned(),
            identity: format!("{script} {} {} {}", hash_below(folder), program.path, program.said),
            program: program.path,
            environment: toolchain.environment.clone(),
            memory_mb: toolchain.memory_mb,
            time: Duration::from_secs(toolchain.seconds),
            prepare: None,
        })
    }
}

/// The first candidate that is there and has an accepted version, if the
/// required files are there too.
fn find(interpreter: &Interpreter, required: &[String]) -> Result<Program, String> {
    if let Some(missing) = required.iter().find(|path| !Path::new(path).exists()) {
        return Err(format!("{missing} is not installed"));
    }
    let mut seen = Vec::new();
    for candidate in interpreter.candidates.iter().filter(|path| Path::new(path).exists()) {
        let path = candidate.clone();
        let Some(version) = &interpreter.version else { return Ok(Program { path, said: String::new() }) };
        let said = match Command::new(candidate).args(&version.arguments).output() {
            Ok(output) => [output.stdout, output.stderr].concat(),
            Err(error) => error.to_string().into_bytes(),
        };
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        if version.accepted.iter().any(|accepted| said.starts_with(accepted)) {
            return Ok(Program { path, said });
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
    fn a_black_box_is_known_with_any_tag() {
        let catalog = Catalog::read(MANIFEST).unwrap();
        for image in
            ["openwhisk/dockerskeleton", "openwhisk/dockerskeleton:nightly", "openwhisk/dockerskeleton@sha256:0"]
        {
            assert!(catalog.known(&format!("blackbox:{image}")).is_some(), "{image}");
        }
        assert!(catalog.known("blackbox:openwhisk/dockerskeleton2").is_none());
        assert!(catalog.known("blackbox:other:1").is_none());
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
        assert!(why("blackbox:me/image:1").starts_with("it is a container image"));
        assert_eq!(why("x:1"), "it has no launcher for processes of this host");
        assert_eq!(why("x:2"), "none of /none/such is installed");
        assert_eq!(why("x:3"), "/bin/echo is \"v1\"; it takes one of v2");
        assert_eq!(catalog.launch("x:4").unwrap().command, ["/bin/echo", "-n"]);
    }
}
