//! Replays what the original `wsk` printed: the same commands, with any `wsk`,
//! against any server.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command as Process, Stdio},
};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    compare,
    placeholder::{Variables, expand_text, stands_for},
};

/// The file `compat/golden/cli/wsk.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commands {
    /// Which `wsk` it was.
    pub client: String,
    /// Files that the commands name, by their names.
    pub files: BTreeMap<String, String>,
    /// The commands, in order.
    pub commands: Vec<Command>,
}

/// One command and what it printed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Its arguments.
    pub argv: Vec<String>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code.
    pub exit: i32,
}

impl Commands {
    /// Those of this repository.
    pub fn read() -> Commands {
        let path = crate::folder().join("golden/cli/wsk.json");
        let text = fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Runs all of them in `folder`, which is empty; what was otherwise, in words.
    pub fn play(&self, wsk: &Path, folder: &Path, url: &str, auth: &str) -> Vec<String> {
        let write = |name: &str, text: &str| {
            fs::write(folder.join(name), text).unwrap_or_else(|error| panic!("cannot write {name}: {error}"));
        };
        self.files.iter().for_each(|(name, text)| write(name, text));
        write(".wskprops", &format!("APIHOST={url}\nAUTH={auth}\n"));
        let variables = Variables::from([
            ("DIR".to_owned(), folder.display().to_string()),
            ("URL".to_owned(), url.to_owned()),
            ("HOST".to_owned(), url.trim_start_matches("http://").to_owned()),
            ("AUTH".to_owned(), auth.to_owned()),
        ]);
        let one = |command: &Command| command.play(wsk, folder, &variables);
        self.commands.iter().filter_map(one).collect()
    }
}

impl Command {
    fn play(&self, wsk: &Path, folder: &Path, variables: &Variables) -> Option<String> {
        let expand = |text: &str| expand_text(text, variables).unwrap_or_else(|name| panic!("unknown ${{{name}}}"));
        let argv: Vec<String> = self.argv.iter().map(|argument| expand(argument)).collect();
        let output = Process::new(wsk)
            .args(&argv)
            .current_dir(folder)
            .env("WSK_CONFIG_FILE", PathBuf::from(folder).join(".wskprops"))
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", wsk.display()));
        let mut found = Vec::new();
        if output.status.code() != Some(self.exit) {
            found.push(format!("exit code: expected {}, got {:?}", self.exit, output.status.code()));
        }
        for (stream, expected, actual) in
            [("stdout", &self.stdout, output.stdout), ("stderr", &self.stderr, output.stderr)]
        {
            let differences = printed(&expand(expected), &String::from_utf8_lossy(&actual));
            found.extend(differences.into_iter().map(|line| format!("{stream}: {line}")));
        }
        let lines: String = found.iter().map(|line| format!("\n    {line}")).collect();
        (!found.is_empty()).then(|| format!("wsk {}{lines}", argv.join(" ")))
    }
}

/// Differences of what was printed. A document that begins on a line of its own
/// is compared as one, the text before it as text.
fn printed(expected: &str, actual: &str) -> Vec<String> {
    let (words, document) = split(expected);
    let (actual_words, actual_document) = split(actual);
    let mut found = Vec::new();
    if !stands_for(words, &actual_words.into()) {
        found.push(format!("expected {words:?}, got {actual_words:?}"));
    }
    match (document.and_then(recorded), actual_document.map(serde_json::from_str::<Value>)) {
        (Some(expected), Some(Ok(actual))) => found.extend(compare::values(&expected, &actual, "")),
        (Some(expected), _) => found.push(format!("expected {expected}, got {actual_document:?}")),
        (None, None) => {}
        (None, Some(_)) => {
            if !stands_for(expected, &actual.into()) {
                found.push(format!("expected {expected:?}, got {actual:?}"));
            }
        }
    }
    found
}

fn split(text: &str) -> (&str, Option<&str>) {
    let start = if text.starts_with(['{', '[']) {
        Some(0)
    } else {
        text.find("\n{").into_iter().chain(text.find("\n[")).min().map(|at| at + 1)
    };
    match start {
        Some(start) => (&text[..start], Some(&text[start..])),
        None => (text, None),
    }
}

/// A recorded document: placeholders stand where numbers were, and waits are
/// what they were that day.
fn recorded(text: &str) -> Option<Value> {
    let quoted = text.replace(": ${int}", ": \"${int}\"").replace(": ${millis}", ": \"${millis}\"");
    let mut document = serde_json::from_str(&quoted).ok()?;
    forget_waits(&mut document);
    Some(document)
}

fn forget_waits(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(forget_waits),
        Value::Object(members) => {
            if members.get("key").is_some_and(|key| key == "waitTime" || key == "initTime") {
                members.insert("value".to_owned(), "${int?}".into());
            }
            members.values_mut().for_each(forget_waits);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_compared_as_such_and_words_as_words() {
        let expected = "ok: got it\n{\n    \"a\": ${int},\n    \"b\": \"x\"\n}\n";
        assert_eq!(printed(expected, "ok: got it\n{\"b\":\"x\",\"a\":5}\n"), Vec::<String>::new());
        assert_eq!(printed(expected, "ok: got it\n{\"b\":\"y\",\"a\":5}\n"), ["/b: expected \"x\", got \"y\""]);
        assert_eq!(printed("error: (code ${transid})\n", "error: (code x)\n").len(), 1);
    }

    #[test]
    fn the_recording_can_be_read() {
        let commands = Commands::read();
        assert_eq!(commands.commands.len(), 122);
        let documents = commands.commands.iter().filter_map(|command| split(&command.stdout).1);
        assert_eq!(documents.filter(|text| recorded(text).is_some()).count(), 15);
    }
}
