//! What the documents say of OpenWhisk, as scenarios, against the real binary.
//!
//! `compat/scenarios` holds them (its README says how to read them). They play
//! side by side on one server, as their names let them.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
};

use whisker_compat::{Auths, Differences, Document, Replay};
use whisker_testkit::{Builder, CouchDb, GUEST, Nginx, Origin, Postgres, SYSTEM, Server};

/// Documents that play at once.
const AT_ONCE: usize = 4;

#[test]
fn scenarios_hold_side_by_side() {
    let paths: Vec<PathBuf> = Document::scenario_paths();
    play(&Server::builder(), paths.into_iter().filter(|path| Document::read(path).config.is_none()).collect());
}

/// Those that need no settings of their own: where things are kept has nothing
/// to do with how often something may be called.
#[test]
fn scenarios_hold_on_postgres() {
    let database = Postgres::start();
    let paths: Vec<PathBuf> = Document::scenario_paths();
    let plain = paths.into_iter().filter(|path| Document::read(path).config.is_none()).collect();
    play(&database.serving(&database.database()), plain);
}

/// And over CouchDB's protocol, in OpenWhisk's documents and views.
#[test]
fn scenarios_hold_on_couchdb() {
    let database = CouchDb::start(None);
    let paths: Vec<PathBuf> = Document::scenario_paths();
    let plain = paths.into_iter().filter(|path| Document::read(path).config.is_none()).collect();
    play(&Server::builder().flag("--store", &database.url()), plain);
}

/// With TLS, and with all that a proxy makes of requests and answers.
#[test]
fn scenarios_hold_behind_nginx() {
    let server = Server::builder().flag("--trusted-proxy", "127.0.0.1").start();
    let nginx = Nginx::start(&[server.address()]);
    let paths: Vec<PathBuf> = Document::scenario_paths();
    let plain = paths.into_iter().filter(|path| Document::read(path).config.is_none()).collect();
    let failures = failures_at(&nginx.origin(), plain);
    // What is outside the API is not there at the entry, for any method.
    let outside = |failure: &String| failure.contains(": GET /namespaces\n    status: expected 405, got 404\n");
    let other: Vec<_> = failures.iter().filter(|failure| !outside(failure)).cloned().collect();
    assert!(other.is_empty(), "{}", other.join("\n"));
}

#[test]
fn throttles_hold() {
    let settings = Server::builder().flag("--fires-per-minute", "3").flag("--invocations-per-minute", "3");
    play(&settings, vec![whisker_compat::folder().join("scenarios/throttles.json")]);
}

#[test]
fn there_are_enough_scenarios_and_each_says_something_else() {
    let documents: Vec<Document> = Document::scenario_paths().iter().map(|path| Document::read(path)).collect();
    let scenarios = documents.iter().flat_map(|document| document.scenarios.iter().map(move |s| (&document.group, s)));
    let mut names: Vec<(&String, &String)> = scenarios.map(|(group, scenario)| (group, &scenario.name)).collect();
    assert!(names.len() >= 300, "only {}", names.len());
    names.sort();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert!(twice.is_empty(), "twice: {twice:?}");
    let own: Vec<_> = documents.iter().filter(|d| d.config.is_some()).map(|d| d.group.as_str()).collect();
    assert_eq!(own, ["throttles"], "documents with settings of their own need a test of their own");
}

#[track_caller]
fn play(settings: &Builder, paths: Vec<PathBuf>) {
    let server = settings.start();
    let failures = failures_at(&server.address().into(), paths);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Plays documents side by side; what went otherwise, in words.
fn failures_at(origin: &Origin, paths: Vec<PathBuf>) -> Vec<String> {
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
