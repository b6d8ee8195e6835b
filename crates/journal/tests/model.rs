//! Random lives of a journal, beside a model of what must be in it.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;
use whisker_journal::{Config, Durability, Journal, Recovery, Token};

const SEGMENT: u64 = 2048;

#[derive(Clone, Debug)]
enum Step {
    Append {
        tag: u8,
        bytes: usize,
    },
    /// Which of the live entries, by its place among them.
    Release(prop::sample::Index),
    ReleaseMany(prop::sample::Index),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<u8>(), prop_oneof![0..40_usize, 300..900_usize, 1900..5000_usize])
            .prop_map(|(tag, bytes)| Step::Append { tag, bytes }),
        4 => any::<prop::sample::Index>().prop_map(Step::Release),
        1 => any::<prop::sample::Index>().prop_map(Step::ReleaseMany),
        1 => Just(Step::Reopen),
    ]
}

fn mode() -> impl Strategy<Value = Durability> {
    prop_oneof![3 => Just(Durability::Process), 1 => Just(Durability::Power)]
}

fn open(folder: &Path, durability: Durability) -> (Journal, Recovery) {
    let config = Config { durability, segment_bytes: SEGMENT, ..Config::new(folder) };
    Journal::open(config).unwrap()
}

type Model = BTreeMap<Token, (u8, Vec<u8>)>;

fn contents(journal: &Journal, recovery: &Recovery) -> Model {
    recovery
        .live
        .iter()
        .map(|live| {
            let entry = journal.read(live.token).unwrap();
            assert_eq!((entry.tag, entry.payload.len()), (live.tag, live.bytes));
            (live.token, (entry.tag, entry.payload))
        })
        .collect()
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let items = fs::read_dir(folder).unwrap().map(|item| item.unwrap().path());
    let mut files: Vec<_> = items.filter(|path| path.extension().is_some_and(|kind| kind == "seg")).collect();
    files.sort();
    files
}

/// A life: every state that the journal was in, oldest first, and up to where the last segment is sure: older segments were
/// deleted because of what it says so far, so no crash can tear that off.
fn live(folder: &Path, durability: Durability, steps: &[Step]) -> (Vec<Model>, usize) {
    let (mut journal, _) = open(folder, durability);
    let mut model = Model::new();
    let mut states = vec![model.clone()];
    let mut largest = 0;
    let (mut before, mut sure) = (segments(folder), 0);
    for (n, step) in steps.iter().enumerate() {
        match step {
            Step::Append { tag, bytes } => {
                let payload = vec![n as u8; *bytes];
                let token = journal.append(*tag, &payload).wait().unwrap();
                assert!(model.last_key_value().is_none_or(|(last, _)| *last < token), "tokens grow");
                model.insert(token, (*tag, payload));
                largest = largest.max(*bytes as u64);
            }
            Step::Release(which) if !model.is_empty() => {
                let token = *which.get(&model.keys().copied().collect::<Vec<_>>());
                model.remove(&token);
                journal.release(token);
                journal.release(token);
            }
            Step::ReleaseMany(which) if !model.is_empty() => {
                let tokens: Vec<Token> = model.keys().copied().take(which.index(model.len())).collect();
                model.retain(|token, _| !tokens.contains(token));
                journal.release_all(tokens);
            }
            Step::Release(_) | Step::ReleaseMany(_) => {}
            Step::Reopen => {
                drop(journal);
                let recovery;
                (journal, recovery) = open(folder, durability);
                assert_eq!((&recovery.torn, &recovery.lost), (&None, &Vec::new()));
                assert_eq!(contents(&journal, &recovery), model);
            }
        }
        states.push(model.clone());
        let now = segments(folder);
        if now.first() != before.first() {
            sure = fs::metadata(now.last().unwrap()).unwrap().len() as usize;
        } else if now.last() != before.last() {
            sure = 0;
        }
        before = now;
        if durability == Durability::Process {
            let stats = journal.stats();
            let live = model.values().map(|(_, payload)| payload.len() as u64 + 24).sum::<u64>();
            assert_eq!((stats.live_bytes, stats.live_entries), (live, model.len()));
        }
        for (token, (tag, payload)) in model.iter().take(3) {
            let entry = journal.read(*token).unwrap();
            assert_eq!((entry.tag, &entry.payload), (*tag, payload));
        }
    }
    let stats = journal.stats();
    let slack = 4 * SEGMENT + 4 * (largest + 1024);
    assert!(stats.disk_bytes <= 2 * stats.live_bytes + slack, "{stats:?}");
    (states, sure)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn what_was_appended_and_not_released_is_there_again(
        durability in mode(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let folder = TempDir::new().unwrap();
        let (states, _) = live(folder.path(), durability, &steps);
        let (journal, recovery) = open(folder.path(), durability);
        prop_assert_eq!(&recovery.torn, &None);
        prop_assert_eq!(&contents(&journal, &recovery), states.last().unwrap());
    }

    #[test]
    fn a_last_segment_torn_at_any_byte_gives_an_earlier_state(
        steps in prop::collection::vec(step(), 1..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 8),
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let folder = TempDir::new().unwrap();
        let (states, sure) = live(folder.path(), Durability::Process, &steps);
        let whole: Vec<_> =
            segments(folder.path()).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        let Some((last, bytes)) = whole.last() else { return Ok(()) };
        for cut in cuts {
            let cut = sure + cut.index(bytes.len() - sure + 1);
            for path in segments(folder.path()) {
                fs::remove_file(path).unwrap();
            }
            for (path, bytes) in &whole {
                fs::write(path, bytes).unwrap();
            }
            let mut torn = bytes[..cut].to_vec();
            if cut >= 64 {
                torn.extend_from_slice(&noise);
            }
            fs::write(last, torn).unwrap();
            let (journal, recovery) = open(folder.path(), Durability::Process);
            prop_assert_eq!(&recovery.lost, &Vec::new());
            let found = contents(&journal, &recovery);
            prop_assert!(states.contains(&found), "cut at {cut} of {}: {:?}", bytes.len(), found.keys());
            drop(journal);
            let (journal, recovery) = open(folder.path(), Durability::Process);
            prop_assert_eq!((&recovery.torn, &recovery.lost), (&None, &Vec::new()));
            prop_assert_eq!(contents(&journal, &recovery), found);
        }
    }
}
