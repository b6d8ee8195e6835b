//! What can be found when a store is opened, and what is said about it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use rusqlite::Connection;
use whisker_entity::CodeHash;
use whisker_store::{
    Activations, Document, Entities, Error, Subjects,
    testing::samples::{WHOLE, action, all_of, id, parse, records, sequence, subject},
};
use whisker_store_embedded::{Config, Embedded, OpenError};

fn open(dir: &Path) -> Result<Embedded, OpenError> {
    Embedded::open(&Config::new(dir))
}

fn refusal(dir: &Path) -> String {
    open(dir).unwrap_err().to_string()
}

#[tokio::test]
async fn what_was_written_is_there_when_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let nested = dir.path().join("a/b");
    let store = open(&nested).unwrap();
    let revision = Entities::put(&store, &sequence("ns/a", 1), None).await.unwrap();
    Activations::put(&store, &records(0..10)).await.unwrap();
    Subjects::put(&store, &subject("anna", &[("one", "u-1")])).await.unwrap();
    drop(store);
    assert!(!nested.join("store.db-wal").exists(), "closed cleanly");
    let store = open(&nested).unwrap();
    assert_eq!(Entities::get(&store, &parse("ns/a")).await.unwrap().revision, revision);
    assert_eq!(Activations::list(&store, &all_of("ns"), WHOLE).await.unwrap().len(), 10);
    assert!(store.by_uuid("u-1").await.is_ok());
    let next = Entities::put(&store, &sequence("ns/b", 1), None).await.unwrap();
    assert_ne!(next, revision, "revisions go on");
}

#[test]
fn a_second_server_is_refused_and_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let expected = format!("{} is in use by another server (process {})", dir.path().display(), std::process::id());
    assert_eq!(refusal(dir.path()), expected);
    drop(first);
    open(dir.path()).unwrap();
}

#[test]
fn only_the_owner_reads_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let _store = open(&data).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for entry in fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn newer_data_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let file = Connection::open(dir.path().join("store.db")).unwrap();
    file.pragma_update(None, "user_version", 1_000).unwrap();
    drop(file);
    let before = fs::read(dir.path().join("store.db")).unwrap();
    let text = refusal(dir.path());
    assert!(text.contains("written by a newer version: its schema is 1000"), "{text}");
    assert_eq!(fs::read(dir.path().join("store.db")).unwrap(), before, "and left as it is");
}

#[test]
fn what_is_not_ours_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    assert_eq!(refusal(dir.path()), format!("{} is a database, but not one of Whisker's", path.display()));
    fs::write(&path, "no database at all, but long enough to look at ".repeat(100)).unwrap();
    assert!(refusal(dir.path()).contains("is damaged, or no database"));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Path { .. })));
}

#[tokio::test]
async fn damage_inside_the_file_is_reported_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    Activations::put(&store, &records(0..1_000)).await.unwrap();
    drop(store);
    let path = dir.path().join("store.db");
    let mut bytes = fs::read(&path).unwrap();
    let tables = 25 * 4096;
    bytes[tables..].fill(0xaa);
    fs::write(&path, bytes).unwrap();
    let store = open(dir.path()).unwrap();
    let read = Activations::list(&store, &all_of("ns"), WHOLE).await;
    assert!(matches!(read, Err(Error::Corrupt(..))), "{read:?}");
}

#[tokio::test]
async fn a_broken_document_is_corrupt_and_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for name in ["ns/a", "ns/b"] {
        Entities::put(&store, &sequence(name, 1), None).await.unwrap();
    }
    Activations::put(&store, &records(0..2)).await.unwrap();
    let file = Connection::open(dir.path().join("store.db")).unwrap();
    file.execute("UPDATE entities SET document = '{\"name\":3}' WHERE name = 'ns/a'", []).unwrap();
    file.execute("UPDATE activations SET head = x'00ff' WHERE start = 0", []).unwrap();
    let read = Entities::get(&store, &parse("ns/a")).await;
    assert!(matches!(&read, Err(Error::Corrupt(name, _)) if name == "ns/a"), "{read:?}");
    assert!(Entities::get(&store, &parse("ns/b")).await.is_ok());
    assert!(matches!(Activations::get(&store, &parse("ns"), id(0)).await, Err(Error::Corrupt(..))));
    assert!(Activations::get(&store, &parse("ns"), id(1)).await.is_ok());
}

#[tokio::test]
async fn an_upload_that_never_ended_is_swept_away() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let code = "x".repeat(3 << 20);
    Entities::put(&store, &Document::Action(action("ns/a", &code, 1)), None).await.unwrap();
    let file = Connection::open(dir.path().join("store.db")).unwrap();
    // As if the process had died while another action with this code, and one with other code, came in.
    file.execute_batch(
        "INSERT INTO staged SELECT DISTINCT hash FROM code; INSERT INTO staged VALUES (zeroblob(32));
        INSERT INTO code VALUES (zeroblob(32), 0, 'piece')",
    )
    .unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    let left =
        |table| file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((left("code"), left("staged")), (3, 0));
    assert!(*store.code(CodeHash::of(&code)).await.unwrap() == *code);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_caller_goes_away_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()).unwrap());
    let file = Connection::open(dir.path().join("store.db")).unwrap();
    let left =
        |table| file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap();
    let upload = tokio::spawn({
        let (store, code) = (store.clone(), "x".repeat(48 << 20));
        async move { Entities::put(&*store, &Document::Action(action("ns/a", &code, 1)), None).await }
    });
    while left("staged") == 0 {
        tokio::task::yield_now().await;
    }
    upload.abort();
    assert!(upload.await.is_err(), "it was under way");
    // Changes are made in their order.
    Entities::put(&*store, &sequence("ns/b", 1), None).await.unwrap();
    assert_eq!((left("code"), left("staged")), (0, 0));
}
