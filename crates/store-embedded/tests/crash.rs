//! `kill -9` in the middle of writing: what was confirmed is there, and the
//! file is whole.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use rusqlite::Connection;
use whisker_entity::{ActivationId, CodeHash};
use whisker_store::{
    Activations, Collection, Document, Entities, Error, Retention,
    testing::samples::{WHOLE, action, all_of, id, parse, path, records},
};
use whisker_store_embedded::{Config, Embedded};

/// Set for the child, which is this test binary again.
const DATA_DIR: &str = "WHISKER_TEST_CRASH_DATA_DIR";

/// How many lives the child has; the long test sets more.
const LIVES: &str = "WHISKER_TEST_CRASH_LIVES";

#[tokio::test]
async fn a_killed_writer_loses_nothing_that_it_confirmed() {
    let lives: u64 = env::var(LIVES).ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    let dir = tempfile::tempdir().unwrap();
    let mut confirmed = Vec::new();
    for life in 0..lives {
        // Some die soon after they began, some in the middle of a checkpoint.
        confirmed.extend(live_and_die(dir.path(), 20 + life * 97 % 400));
        let store = Embedded::open(&Config::new(dir.path())).unwrap();
        check(&store, &confirmed).await;
        drop(store);
        let file = Connection::open(dir.path().join("store.db")).unwrap();
        let verdict: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok", "after life {life}");
        let unused = "SELECT count(*) FROM code WHERE hash NOT IN (SELECT code FROM entities WHERE code IS NOT NULL)";
        let unused: i64 = file.query_row(unused, [], |row| row.get(0)).unwrap();
        assert_eq!(unused, 0, "after life {life}");
    }
}

/// Runs the child until it has confirmed so many writes, and kills it.
fn live_and_die(dir: &Path, writes: u64) -> Vec<u64> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child_writes_until_it_is_killed", "--ignored", "--nocapture"])
        .env(DATA_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut confirmed = lines.filter_map(|line| line.strip_prefix("confirmed ")?.strip_suffix(';')?.parse().ok());
    let mut seen: Vec<u64> = confirmed.by_ref().take(writes as usize).collect();
    assert_eq!(seen.len() as u64, writes, "the child ended by itself");
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said before it died counts too.
    seen.extend(confirmed);
    seen
}

async fn check(store: &Embedded, confirmed: &[u64]) {
    let ids: Vec<_> = confirmed.iter().flat_map(|n| batch(*n)).collect();
    assert_eq!(store.known(&parse("ns"), &ids).await.unwrap(), ids);
    let listed = Activations::list(store, &all_of("ns"), WHOLE).await.unwrap().len() as u64;
    assert_eq!(Activations::count(store, &all_of("ns")).await.unwrap(), listed, "counters are those of rows");
    assert_eq!(listed % 3, 0, "batches are whole");
    let entities = Entities::list(store, Collection::Actions, &path("ns"), WHOLE).await.unwrap();
    assert_eq!(Entities::count(store, Collection::Actions, &path("ns")).await.unwrap(), entities.len() as u64);
    for entity in entities {
        let hash = entity.exec().unwrap().code().unwrap().hash();
        assert_eq!(CodeHash::of(&store.code(hash).await.unwrap()), hash);
    }
    for n in confirmed {
        let name = parse(&format!("ns/a{}", n % 50));
        assert!(Entities::get(store, &name).await.unwrap().document.updated() >= *n, "an older state came back");
    }
}

/// The records of one confirmed write.
fn batch(n: u64) -> impl Iterator<Item = ActivationId> {
    (0..3).map(move |part| id(n * 3 + part))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, in a process of its own"]
async fn child_writes_until_it_is_killed() {
    let store = Arc::new(Embedded::open(&Config::new(env::var(DATA_DIR).unwrap())).unwrap());
    let first = Activations::count(&*store, &all_of("ns")).await.unwrap() / 3;
    // Pruning runs beside, over nothing: it must not count what is not there.
    let none = Retention { not_before: 0, max_count: u64::MAX };
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in (first + writer..).step_by(4) {
                    Activations::put(&*store, &records(n * 3..n * 3 + 3)).await.unwrap();
                    write_action(&store, n).await;
                    store.prune(none).await.unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "confirmed {n};").unwrap();
                    out.flush().unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Creates or updates one of 50 actions, unless a later state is there.
async fn write_action(store: &Embedded, n: u64) {
    // Some code is so large that it comes in pieces.
    let length = if n % 100 == 17 { 2_500_000 + n } else { n % 7 * 5_000 };
    let action = action(&format!("ns/a{}", n % 50), &"x".repeat(length as usize), n);
    let document = Document::Action(action);
    loop {
        let based_on = match Entities::get(store, &document.qualified_name()).await {
            Ok(stored) if stored.document.updated() >= n => return,
            Ok(stored) => Some(stored.revision),
            Err(Error::Missing) => None,
            Err(e) => panic!("{e:?}"),
        };
        match Entities::put(store, &document, based_on.as_ref()).await {
            Ok(_) => return,
            Err(Error::Stale) => {}
            Err(e) => panic!("{e:?}"),
        }
    }
}
