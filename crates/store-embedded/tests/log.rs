//! The write-ahead log under load: it is copied back and starts again.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use rusqlite::Connection;
use whisker_entity::Activation;
use whisker_store::{
    Activations,
    testing::samples::{all_of, id, record},
};
use whisker_store_embedded::{Config, Embedded};

const MB: u64 = 1024 * 1024;

/// A record of about 100 KB.
fn large(n: u64) -> Arc<Activation> {
    let mut record = record("ns", "ns/a", id(n), n);
    record.logs = vec!["x".repeat(100_000)];
    Arc::new(record)
}

/// Four writers, without a pause, as long as a server under load.
async fn write(store: &Arc<Embedded>, from: u64, to: u64) {
    let writers = (0..4).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in (from + writer..to).step_by(4) {
                store.put(&[large(n)]).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_bounded_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Embedded::open(&Config::new(dir.path())).unwrap());
    let log = || dir.path().join("store.db-wal").metadata().unwrap().len();
    write(&store, 0, 1_200).await;
    assert!(log() < 96 * MB, "after 120 MB the log has {} MB", log() / MB);

    // A reader that stays holds it. When it goes, the log shrinks by itself.
    let reader = Connection::open(dir.path().join("store.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM activations").unwrap();
    write(&store, 1_200, 2_200).await;
    assert!(log() > 96 * MB, "the log has {} MB", log() / MB);
    drop(reader);
    write(&store, 2_200, 2_500).await;
    assert!(log() <= 96 * MB, "the log still has {} MB", log() / MB);
    assert_eq!(store.count(&all_of("ns")).await.unwrap(), 2_500);
}
