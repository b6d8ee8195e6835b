//! What users are told about differences is what the tests allow.

use whisker_compat::{Commands, Differences, Document, guide};

#[test]
fn the_guide_tells_every_difference() {
    let (text, right) = guide::texts(&Differences::read());
    assert!(text == right, "docs/compatibility.md is out of date: `make docs` writes it");
}

#[test]
fn every_difference_is_of_a_step_that_there_is() {
    let differences = Differences::read();
    for entry in &differences.steps {
        let document = Document::of_group(&entry.group);
        let scenario = document.scenarios.iter().find(|scenario| scenario.name == entry.scenario);
        let steps = scenario.map_or(&document.setup, |scenario| &scenario.steps);
        assert!(scenario.is_some() || entry.scenario == "setup", "{entry:?}");
        let step = steps.get(entry.step - 1).unwrap_or_else(|| panic!("{entry:?}"));
        let name = scenario.map_or("setup", |scenario| &scenario.name);
        let (expected, _) = differences.expected(&entry.group, name, entry.step, step);
        assert_ne!(expected, step.response, "it changes nothing: {entry:?}");
    }
    for later in &differences.later {
        let group = later.group.as_deref().map(Document::of_group);
        let there = |name: &String| group.iter().any(|group| group.scenarios.iter().any(|s| s.name == *name));
        assert!(later.scenario.as_ref().is_none_or(there), "{later:?}");
    }
    let commands = Commands::read().commands;
    for entry in &differences.commands {
        let command = entry.command.checked_sub(1).and_then(|index| commands.get(index));
        assert_ne!(
            command.unwrap_or_else(|| panic!("{entry:?}")).stdout,
            entry.stdout,
            "it changes nothing: {entry:?}"
        );
    }
    for name in differences.reasons.keys() {
        let used = differences.steps.iter().map(|step| &step.reason);
        let mut used = used.chain(differences.commands.iter().map(|command| &command.reason));
        assert!(used.any(|reason| reason == name), "nothing differs for the reason {name:?}");
    }
}
