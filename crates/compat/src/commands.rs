//! Replays what the original `wsk` printed: the same commands, with any `wsk`,
//! against any server.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command as Process, Stdio},
    sync::LazyLock,
    time::{Duration, Instant},
};

use regex::Regex;

use serde::Deserialize;
use serde_json::Value;
use whisker_testkit::pause;

use crate::{
    Differences, Tally, compare,
    placeholder::{Variables, expand_text, stands_for},
};

/// What `guest` had before the first recorded command: the lists show it. Older
/// first, since lists begin with the newest.
const BEFORE: [&[&str]; 9] = [
    &["action", "create", "err", "bad.js"],
    &["package", "create", "pk"],
    &["action", "create", "pk/a", "hello.js"],
    &["action", "create", "pyhello", "hello.py", "--kind", "python:3.11"],
    &["action", "create", "pyhello2", "hello.py", "--kind", "python:3.11"],
    &["action", "create", "hello", "hello.js"],
    &["action", "create", "seq3", "--sequence", "hello,err"],
    &["trigger", "create", "t1"],
    &["rule", "create", "r1", "t1", "hello"],
];

/// Longest that a record may take to be in lists. OpenWhisk's come late too.
const RECORDED: Duration = Duration::from_secs(10);
/// Time between two looks.
const BETWEEN: Duration = Duration::from_millis(100);

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

    /// Runs all of them in `folder`, which is empty; what went wrong, in words.
    pub fn play(
        &self,
        differences: &Differences,
        wsk: &Path,
        folder: &Path,
        url: &str,
        auth: &str,
    ) -> (Tally, Vec<String>) {
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
        let (mut tally, mut failures) = (Tally::default(), Vec::new());
        for argv in BEFORE {
            let (exit, [_, stderr]) = run(wsk, folder, argv);
            if exit != Some(0) {
                failures.push(format!("before all: wsk {}\n    {stderr}", argv.join(" ")));
            }
        }
        for (number, command) in (1..).zip(&self.commands) {
            let entry = differences.commands.iter().find(|entry| entry.command == number);
            let stdout = entry.map_or(&command.stdout, |entry| &entry.stdout);
            let found = command.play(stdout, wsk, folder, &variables);
            match (found.is_empty(), entry) {
                (true, None) => tally.same += 1,
                (true, Some(_)) => tally.otherwise += 1,
                (false, _) => {
                    tally.failed += 1;
                    let lines: String = found.iter().map(|line| format!("\n    {line}")).collect();
                    failures.push(format!("command {number}: wsk {}{lines}", command.argv.join(" ")));
                }
            }
        }
        (tally, failures)
    }
}

impl Command {
    /// What was otherwise. Only reads of records are repeated until they are
    /// right: they change nothing.
    fn play(&self, stdout: &str, wsk: &Path, folder: &Path, variables: &Variables) -> Vec<String> {
        let expand = |text: &str| expand_text(text, variables).unwrap_or_else(|name| panic!("unknown ${{{name}}}"));
        let argv: Vec<String> = self.argv.iter().map(|argument| expand(argument)).collect();
        let expected = [("stdout", expand(&columns(stdout))), ("stderr", expand(&columns(&self.stderr)))];
        let begun = Instant::now();
        loop {
            let (exit, actual) = run(wsk, folder, &argv);
            let mut found = Vec::new();
            if exit != Some(self.exit) {
                found.push(format!("exit code: expected {}, got {exit:?}", self.exit));
            }
            for ((stream, expected), actual) in expected.iter().zip(actual) {
                found.extend(printed(expected, &actual).into_iter().map(|line| format!("{stream}: {line}")));
            }
            if found.is_empty() || argv[0] != "activation" || begun.elapsed() > RECORDED {
                return found;
            }
            pause(BETWEEN);
        }
    }
}

/// Runs one command; its exit code, if it has one, and both streams.
fn run(wsk: &Path, folder: &Path, argv: &[impl AsRef<std::ffi::OsStr>]) -> (Option<i32>, [String; 2]) {
    let output = Process::new(wsk)
        .args(argv)
        .current_dir(folder)
        .env("WSK_CONFIG_FILE", folder.join(".wskprops"))
        // It speaks the language of these.
        .env("LANG", "en_US.UTF-8")
        .env("LC_ALL", "en_US.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", wsk.display()));
    (output.status.code(), [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()))
}

/// A table's times and durations were recorded as such, and are printed in
/// columns: without a zone, and with spaces up to the next one.
fn columns(text: &str) -> String {
    static DURATION: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\$\{duration\} +").unwrap_or_else(|error| panic!("{error}")));
    DURATION.replace_all(&text.replace("${timestamp}", "${shown}"), "$${filled}").into_owned()
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
    fn the_filling_of_a_column_depends_on_what_is_in_it() {
        let expected = columns("${timestamp} warm  ${duration}        success\n");
        for (actual, same) in [
            ("2026-11-21 04:41:32 warm  0s         success\n", true),
            ("2026-11-21 04:41:32 warm  1m2.5s     success\n", true),
            ("2026-11-21 04:41:32 warm  0s         failure\n", false),
            ("2026-11-21T04:41:32Z warm  0s         success\n", false),
        ] {
            assert_eq!(printed(&expected, actual).is_empty(), same, "{actual}");
        }
    }

    #[test]
    fn the_recording_can_be_read() {
        let commands = Commands::read();
        assert_eq!(commands.commands.len(), 122);
        let documents = commands.commands.iter().filter_map(|command| split(&command.stdout).1);
        assert_eq!(documents.filter(|text| recorded(text).is_some()).count(), 15);
    }
}
