//! A language: its sources, and what it does in its own way.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use whisker_testkit::{Archive, base64};

use crate::suite::{Case, Code, Run, folder};

/// A folder of `compat/runtimes`.
pub struct Language {
    pub name: String,
    /// Cases that do not apply, and why.
    pub not: BTreeMap<String, String>,
    folder: PathBuf,
    own: Own,
}

/// `language.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    /// What `exec` has besides `code` and `main`.
    exec: Map<String, Value>,
    /// How entry points are written, by the names that cases use.
    #[serde(default)]
    entries: BTreeMap<String, String>,
    /// Other sources for some cases.
    #[serde(default)]
    fixtures: BTreeMap<String, String>,
    /// What comes of a case's steps, where each language has its own words.
    #[serde(default)]
    expect: BTreeMap<String, Vec<Run>>,
    #[serde(default)]
    not: BTreeMap<String, String>,
    /// What is so with one backend only.
    #[serde(default)]
    backends: BTreeMap<String, OwnOfBackend>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnOfBackend {
    #[serde(default)]
    expect: BTreeMap<String, Vec<Run>>,
    #[serde(default)]
    not: BTreeMap<String, String>,
}

impl Language {
    pub fn read(name: &str, backend: &str) -> Language {
        let folder = folder().join(name);
        let path = folder.join("language.json");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut own: Own = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let special = own.backends.remove(backend).unwrap_or_default();
        own.expect.extend(special.expect);
        own.not.extend(special.not);
        let not = std::mem::take(&mut own.not);
        Language { name: name.to_owned(), not, folder, own }
    }

    /// The cases that it speaks of.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let own = &self.own;
        own.expect.keys().chain(own.fixtures.keys()).chain(self.not.keys()).map(String::as_str)
    }

    /// The body that creates a case's action. `fixture` is one of the case's.
    pub fn action(&self, case: &Case, fixture: &str) -> Value {
        let fixture = self.own.fixtures.get(&case.name).map_or(fixture, String::as_str);
        let code = match &case.code {
            Code::Base64(code) => code.clone(),
            Code::Fixture(_) | Code::Sequence(_) => self.source(fixture),
        };
        let mut exec = self.own.exec.clone();
        exec.insert("code".into(), code.into());
        let main = case.main.as_deref().unwrap_or("main");
        match self.own.entries.get(main) {
            Some(entry) => drop(exec.insert("main".into(), entry.as_str().into())),
            None => case.main.iter().for_each(|main| drop(exec.insert("main".into(), main.as_str().into()))),
        }
        json!({
            "exec": exec,
            "parameters": case.parameters,
            "annotations": case.annotations,
            "limits": case.limits,
        })
    }

    /// What is expected of a step's runs, from the case and from here.
    pub fn expectations(&self, case: &Case, first: usize, runs: &[Run]) -> Vec<Run> {
        let own = self.own.expect.get(&case.name).map_or(&[][..], Vec::as_slice);
        let merged = runs.iter().enumerate().map(|(i, run)| {
            let mut run = run.clone();
            match own.get(first + i) {
                Some(own) => {
                    run.outcome = own.outcome.clone().or(run.outcome);
                    run.result = own.result.clone().or(run.result);
                    run.logs = own.logs.clone().or(run.logs);
                }
                None => assert!(!run.by_language, "{} does not say what comes of {:?}", self.name, case.name),
            }
            run
        });
        merged.collect()
    }

    /// A file as it is, if it is text; a folder as a zip, with its executables.
    fn source(&self, fixture: &str) -> String {
        let zipped = self.folder.join(fixture);
        if zipped.is_dir() {
            return add(Archive::default(), &zipped, "").base64();
        }
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut found = files.filter(|path| path.is_file() && path.file_stem().is_some_and(|stem| stem == fixture));
        let path = found.next().unwrap_or_else(|| panic!("{} has no {fixture}", self.folder.display()));
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        String::from_utf8(bytes).unwrap_or_else(|binary| base64(binary.as_bytes()))
    }
}

fn add(mut archive: Archive, folder: &Path, below: &str) -> Archive {
    let mut entries: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), format!("{below}{}", entry.file_name().to_string_lossy()));
        if path.is_dir() {
            archive = add(archive, &path, &format!("{name}/"));
            continue;
        }
        let read = fs::read(&path).and_then(|content| Ok((content, fs::metadata(&path)?.permissions().mode())));
        let (content, mode) = read.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        archive = if mode & 0o111 == 0 { archive.file(&name, content) } else { archive.executable(&name, content) };
    }
    archive
}
