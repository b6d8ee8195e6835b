//! Answers as a real Apache OpenWhisk gave them, from a server of ours.
//!
//! One test for each document of `compat/golden`; `compat/differences.json`
//! says which answers are otherwise on purpose.

use std::{
    sync::{Mutex, PoisonError},
    thread,
};

use whisker_compat::{Auths, Differences, Document, Replay};
use whisker_testkit::{Builder, Cosmos, CouchDb, GUEST, Nginx, Origin, Postgres, SYSTEM, Server};

/// Documents that play at once, each on a server of its own.
const AT_ONCE: usize = 3;

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

/// All of them, each on a server of its own, through NGINX with TLS.
#[test]
fn every_document_holds_behind_nginx() {
    all_behind_nginx(&Server::builder);
}

/// The same with everything in a PostgreSQL database, one for each.
#[test]
fn every_document_holds_on_postgres_behind_nginx() {
    let database = Postgres::start();
    all_behind_nginx(&|| database.serving(&database.database()));
}

/// And over CouchDB's protocol.
#[test]
fn every_document_holds_on_couchdb_behind_nginx() {
    let database = CouchDb::start(None);
    all_behind_nginx(&|| Server::builder().flag("--store", &database.url()));
}

/// And in a Cosmos DB.
#[test]
fn every_document_holds_on_cosmos_behind_nginx() {
    let account = Cosmos::start();
    all_behind_nginx(&|| account.serving(&account.url()));
}

/// What NGINX answers itself: what is outside the API is not there at the entry,
/// for any method, and TRACE is nobody's.
const OF_NGINX: [&str; 3] = [": GET /nothing/here\n", ": OPTIONS /nothing\n", ": TRACE /api/v1/web/"];

/// Not the throttles, which take minutes and neither a store nor a proxy.
fn all_behind_nginx(settings: &(dyn Fn() -> Builder + Sync)) {
    let groups = Document::paths().into_iter().map(|path| Document::read(&path).group);
    let groups = Mutex::new(groups.filter(|group| group != "alt_throttle").collect::<Vec<_>>());
    let next = || groups.lock().unwrap_or_else(PoisonError::into_inner).pop();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(group) = next() {
                    let server = settings().flag("--trusted-proxy", "127.0.0.1").start();
                    let nginx = Nginx::start(&[server.address()]);
                    replay_at(&nginx.origin(), &group, &OF_NGINX);
                }
            });
        }
    });
}

#[track_caller]
fn replay(group: &str, settings: Builder) {
    let server = settings.start();
    replay_at(&server.address().into(), group, &[]);
}

/// Plays one; what goes otherwise must be one of `others`.
#[track_caller]
fn replay_at(origin: &Origin, group: &str, others: &[&str]) {
    let (document, differences) = (Document::of_group(group), Differences::read());
    let auths = Auths { guest: GUEST.into(), system: SYSTEM.into() };
    let (tally, mut failures) = Replay::new(&document, &differences, origin, &auths).play();
    eprintln!("{group}: {tally}");
    failures.retain(|failure| !others.iter().any(|other| failure.contains(other)));
    assert!(failures.is_empty(), "{group}: {tally}\n{}", failures.join("\n"));
}
