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
async fn the_log_starts_again_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Embedded::open(&Config::new(dir.path())).unwrap());
    let log = || dir.path().join("store.db-wal").metadata().unwrap().len() / MB;
    let mut written = 0;
    // Each record is a tenth of a MB. The log is at most 256 MB, and less where the disk keeps pace.
    while log() + 32 > written / 10 {
        write(&store, written, written + 100).await;
        written += 100;
        assert!(written < 4_000, "the log has {} MB", log());
    }

    // A reader that stays holds it. When it goes, the log shrinks by itself.
    let reader = Connection::open(dir.path().join("store.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM activations").unwrap();
    let held = written + 1_000;
    write(&store, written, held).await;
    written = held;
    assert!(log() > 90, "the log has {} MB", log());
    drop(reader);
    while log() > 64 {
        write(&store, written, written + 20).await;
        written += 20;
        assert!(written < held + 4_000, "the log still has {} MB", log());
    }
    assert_eq!(store.count(&all_of("ns")).await.unwrap(), written);
}
