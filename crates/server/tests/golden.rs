//! Answers as a real Apache OpenWhisk gave them, from a server of ours.
//!
//! One test for each document of `compat/golden`; `compat/differences.json`
//! says which answers are otherwise on purpose.

use std::{
    sync::{Mutex, PoisonError},
    thread,
};

use whisker_compat::{Auths, Differences, Document, Replay};
use whisker_testkit::{Builder, GUEST, Postgres, SYSTEM, Server};

/// A test for each document, on a server with the settings that it was
/// recorded with.
macro_rules! documents {
    ($($group:ident => $settings:expr,)*) => {
        $(#[test]
        fn $group() {
            replay(stringify!($group), $settings);
        })*

        #[test]
        fn every_document_is_replayed() {
            let tested = [$(stringify!($group)),*];
            let there: Vec<String> = Document::paths().iter().map(|path| Document::read(path).group).collect();
            assert_eq!(there, tested);
        }
    };
}

documents! {
    actions_crud => Server::builder(),
    actions_invoke => Server::builder(),
    activations => Server::builder(),
    alt_logs => Server::builder(),
    alt_throttle => Server::builder()
        .flag("--fires-per-minute", "3")
        .flag("--invocations-per-minute", "3")
        .flag("--concurrent-invocations", "2"),
    annotations_limits => Server::builder(),
    binary => Server::builder(),
    bindings => Server::builder(),
    conductors => Server::builder(),
    errors_malformed => Server::builder(),
    info => Server::builder(),
    lists_paging => Server::builder(),
    logs => Server::builder(),
    names_validation => Server::builder(),
    packages => Server::builder(),
    parameters_merge => Server::builder(),
    sequences => Server::builder(),
    triggers_rules => Server::builder(),
    web_actions => Server::builder(),
}

/// All of them with everything in a PostgreSQL database, each on a server and a
/// database of its own. Not the throttles, which take minutes and no store.
#[test]
fn every_document_holds_on_postgres() {
    let database = Postgres::start();
    let groups = Document::paths().into_iter().map(|path| Document::read(&path).group);
    let groups = Mutex::new(groups.filter(|group| group != "alt_throttle").collect::<Vec<_>>());
    let next = || groups.lock().unwrap_or_else(PoisonError::into_inner).pop();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(group) = next() {
                    replay(&group, database.serving(&database.database()));
                }
            });
        }
    });
}

#[track_caller]
fn replay(group: &str, settings: Builder) {
    let (document, differences) = (Document::of_group(group), Differences::read());
    let server = settings.start();
    let auths = Auths { guest: GUEST.into(), system: SYSTEM.into() };
    let (tally, failures) = Replay::new(&document, &differences, server.address(), &auths).play();
    eprintln!("{group}: {tally}");
    assert!(failures.is_empty(), "{group}: {tally}\n{}", failures.join("\n"));
}
