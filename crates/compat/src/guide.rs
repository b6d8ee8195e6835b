//! The part of `docs/compatibility.md` that is written from the differences.

use std::{fs, path::PathBuf};

use crate::Differences;

/// Lines between which the part stands.
const MARKS: [&str; 2] = ["<!-- from compat/differences.json, by `make docs` -->", "<!-- end -->"];

/// The guide.
pub fn path() -> PathBuf {
    crate::folder().join("../docs/compatibility.md")
}

/// The guide's text as it is, and as it should be.
pub fn texts(differences: &Differences) -> (String, String) {
    let text = fs::read_to_string(path()).unwrap_or_else(|error| panic!("cannot read {}: {error}", path().display()));
    let parts = text.split_once(MARKS[0]).and_then(|(before, rest)| Some((before, rest.split_once(MARKS[1])?.1)));
    let (before, after) = parts.unwrap_or_else(|| panic!("{} lacks the lines {MARKS:?}", path().display()));
    let right = format!("{before}{}\n\n{}{}{after}", MARKS[0], part(differences), MARKS[1]);
    (text, right)
}

fn part(differences: &Differences) -> String {
    let mut part = String::new();
    for (name, reason) in &differences.reasons {
        let steps: Vec<_> = differences.steps.iter().filter(|step| step.reason == *name).collect();
        let mut groups: Vec<_> = steps.iter().map(|step| format!("`{}`", step.group)).collect();
        groups.sort();
        groups.dedup();
        part += &format!("### {}\n\n{}\n\n", reason.title, reason.text);
        if !steps.is_empty() {
            let word = if steps.len() == 1 { "exchange" } else { "exchanges" };
            part += &format!("In {} recorded {word} of {}.\n\n", steps.len(), groups.join(", "));
        }
        let commands = differences.commands.iter().filter(|command| command.reason == *name).count();
        if commands > 0 {
            let word = if commands == 1 { "command" } else { "commands" };
            part += &format!("In {commands} recorded {word} of `wsk`.\n\n");
        }
    }
    part
}
