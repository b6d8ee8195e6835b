//! Scenarios of `compat`, played side by side.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
};

use whisker_compat::{Auths, Differences, Document, Replay};
use whisker_testkit::{GUEST, Origin, SYSTEM};

/// Documents that play at once.
const AT_ONCE: usize = 4;

/// Those that need no settings of their own.
pub fn plain() -> Vec<PathBuf> {
    let paths = Document::scenario_paths();
    paths.into_iter().filter(|path| Document::read(path).config.is_none()).collect()
}

/// What went otherwise at an entry, where nothing outside the API is there for
/// any method.
pub fn failures_at_entry(origin: &Origin) -> Vec<String> {
    let failures = failures_at(origin, plain());
    failures.into_iter().filter(|failure| !is_outside(failure)).collect()
}

fn is_outside(failure: &str) -> bool {
    failure.contains(": GET /namespaces\n    status: expected 405, got 404\n")
}

/// What about a container a scenario relies on that a cluster does not promise:
/// that the next run is in the same one.
const ONE_INVOKER: [&str; 4] = [
    "an application error keeps the container warm",
    "a developer error ends the container",
    "an action that exits ends its container",
    "state stays in a warm container",
];

/// What went otherwise on a cluster, of what one promises.
pub fn failures_on_cluster(origin: &Origin, paths: Vec<PathBuf>) -> Vec<String> {
    let promised = |failure: &String| !ONE_INVOKER.iter().any(|scenario| failure.contains(scenario));
    let failures = failures_at(origin, paths);
    failures.into_iter().filter(|failure| promised(failure) && !is_outside(failure)).collect()
}

/// Plays documents side by side; what went otherwise, in words.
pub fn failures_at(origin: &Origin, paths: Vec<PathBuf>) -> Vec<String> {
    let auths = Auths { guest: GUEST.into(), system: SYSTEM.into() };
    let differences = Differences::read();
    let (left, failures) = (Mutex::new(paths), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(path) = next(&left) {
                    let document = Document::read(&path);
                    let (tally, found) = Replay::new(&document, &differences, origin, &auths).play();
                    eprintln!("{}: {tally}", document.group);
                    failures.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
                }
            });
        }
    });
    failures.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn next(left: &Mutex<Vec<PathBuf>>) -> Option<PathBuf> {
    left.lock().unwrap_or_else(PoisonError::into_inner).pop()
}
