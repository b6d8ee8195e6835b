//! The languages that can be measured: those with sources for the conformance
//! suite, of which each echoes its argument.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use whisker_testkit::Client;

use crate::floor::bare::{self, ms};

/// Tries of a language's bare start.
const BARE_STARTS: usize = 9;

/// A language and its simplest action.
pub struct Language {
    /// What it is called.
    pub name: String,
    exec: Map<String, Value>,
}

impl Language {
    /// All of them, by name.
    pub fn all() -> anyhow::Result<Vec<Language>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../compat/runtimes");
        let entries = fs::read_dir(&root).with_context(|| format!("cannot read {}", root.display()))?;
        let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        folders.retain(|folder| folder.join("language.json").exists());
        folders.sort();
        folders.iter().map(|folder| Language::read(folder)).collect()
    }

    fn read(folder: &Path) -> anyhow::Result<Language> {
        let own: Value = serde_json::from_slice(&fs::read(folder.join("language.json"))?)?;
        let mut exec = own["exec"].as_object().context("it says what `exec` is")?.clone();
        let files = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
        let Some(echo) = files.into_iter().find(|path| path.file_stem().is_some_and(|stem| stem == "echo")) else {
            bail!("{} has no echo", folder.display());
        };
        exec.insert("code".into(), fs::read_to_string(echo)?.into());
        if let Some(main) = own["entries"]["main"].as_str() {
            exec.insert("main".into(), main.into());
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Language { name, exec })
    }

    /// Stores its action by this name. One size for all, of which no container
    /// is kept ready unasked.
    pub fn create(&self, client: &Client, name: &str) {
        let body = json!({"exec": self.exec, "limits": {"memory": 160, "timeout": 60_000}});
        client.put(&format!("actions/{name}?overwrite=true"), &body).expect(200);
    }

    /// Runs it once, so that what is compiled is compiled. `false`: this host
    /// lacks what it takes.
    pub fn runs_here(&self, client: &Client) -> bool {
        self.create(client, "first");
        let answer = client.post("actions/first?blocking=true", &json!({}));
        if answer.status() != 200 {
            eprintln!("  {} is left out: {}", self.name, answer.text());
        }
        answer.status() == 200
    }

    /// Milliseconds that the language itself needs to start and do nothing;
    /// what is compiled to a program needs what any program does.
    pub fn bare_start_ms(&self) -> anyhow::Result<f64> {
        let words: &[&str] = match self.name.as_str() {
            "nodejs" => &["/usr/bin/node", "-e", "0"],
            "python" => &["/usr/bin/python3", "-c", "pass"],
            "ruby" => &["ruby", "--disable=gems", "-e", "0"],
            "php" => &["php", "-r", "0;"],
            "java" => &["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-version"],
            _ => &["/bin/true"],
        };
        bare::several(BARE_STARTS, || {
            let began = Instant::now();
            let mut command = Command::new(words[0]);
            let status = command.args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
            anyhow::ensure!(status.success(), "{words:?} failed");
            Ok(ms(began.elapsed()))
        })
    }
}
