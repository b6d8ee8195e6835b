//! What the documents say of OpenWhisk, as scenarios, against the real binary.
//!
//! `compat/scenarios` holds them (its README says how to read them). They play
//! side by side on one server, as their names let them.

#[allow(dead_code, reason = "each test target uses a part of it")]
mod playing;

use std::path::PathBuf;

use playing::{failures_at, failures_at_entry, plain};
use whisker_compat::Document;
use whisker_testkit::{Builder, Cosmos, CouchDb, Nginx, Postgres, Server};

#[test]
fn scenarios_hold_side_by_side() {
    play(&Server::builder(), plain());
}

/// With TLS, and with all that a proxy makes of requests and answers.
#[test]
fn scenarios_hold_behind_nginx() {
    play_behind_nginx(&Server::builder());
}

#[test]
fn scenarios_hold_on_postgres_behind_nginx() {
    let database = Postgres::start();
    play_behind_nginx(&database.serving(&database.database()));
}

/// And over CouchDB's protocol, in OpenWhisk's documents and views.
#[test]
fn scenarios_hold_on_couchdb_behind_nginx() {
    let database = CouchDb::start(None);
    play_behind_nginx(&Server::builder().flag("--store", &database.url()));
}

/// And in a Cosmos DB, by queries.
#[test]
fn scenarios_hold_on_cosmos_behind_nginx() {
    let account = Cosmos::start();
    play_behind_nginx(&account.serving(&account.url()));
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

/// Those that need no settings of their own: where things are kept has nothing
/// to do with how often something may be called.
#[track_caller]
fn play_behind_nginx(settings: &Builder) {
    let server = settings.clone().flag("--trusted-proxy", "127.0.0.1").start();
    let nginx = Nginx::start(&[server.address()]);
    let failures = failures_at_entry(&nginx.origin());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
