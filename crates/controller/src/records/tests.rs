#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::AtomicU32;

use async_trait::async_trait;
use whisker_entity::{ActivationId, EntityName, Parameters, Response, Status, Version};
use whisker_store::{ActivationQuery, Cursor, Memory, Page, Portion, Retention, Scan, Summary};

use super::*;

/// A store that is away for so many writes.
struct Away {
    store: Memory,
    failures: AtomicU32,
}

impl Away {
    fn for_writes(failures: u32) -> Arc<Self> {
        Arc::new(Self { store: Memory::new(), failures: failures.into() })
    }
}

#[async_trait]
impl Activations for Away {
    async fn put(&self, records: &[Arc<Activation>]) -> Result<(), Error> {
        let away = |left: u32| left.checked_sub(1);
        match self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, away) {
            Ok(_) => Err(Error::Unavailable("away".into())),
            Err(_) => self.store.put(records).await,
        }
    }
    async fn get(&self, namespace: &EntityName, id: ActivationId) -> Result<Activation, Error> {
        Activations::get(&self.store, namespace, id).await
    }
    async fn known(&self, namespace: &EntityName, ids: &[ActivationId]) -> Result<Vec<ActivationId>, Error> {
        self.store.known(namespace, ids).await
    }
    async fn list(&self, query: &ActivationQuery, page: Page) -> Result<Vec<Summary>, Error> {
        Activations::list(&self.store, query, page).await
    }
    async fn list_full(&self, query: &ActivationQuery, page: Page, max_bytes: u64) -> Result<Vec<Activation>, Error> {
        self.store.list_full(query, page, max_bytes).await
    }
    async fn count(&self, query: &ActivationQuery) -> Result<u64, Error> {
        Activations::count(&self.store, query).await
    }
    async fn prune(&self, retention: Retention) -> Result<u64, Error> {
        self.store.prune(retention).await
    }
    async fn scan(&self, after: Option<&Cursor>, portion: Portion) -> Result<Scan<Activation>, Error> {
        Activations::scan(&self.store, after, portion).await
    }
}

fn record(words: &str) -> Arc<Activation> {
    Arc::new(Activation {
        namespace: "guest".parse().unwrap(),
        name: "s".parse().unwrap(),
        subject: "guest".into(),
        id: ActivationId::new(1, 2),
        start: 1,
        end: 1,
        cause: None,
        response: Response::error(Status::WhiskError, words),
        logs: vec![],
        version: Version::FIRST,
        publish: false,
        annotations: Parameters::default(),
        duration: Some(0),
    })
}

async fn words(store: &Away) -> String {
    let record = Activations::get(store, &"guest".parse().unwrap(), ActivationId::new(1, 2)).await.unwrap();
    record.response.result.unwrap().get().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_record_waits_for_the_store_and_its_promise_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Away::for_writes(5);
    let records = Records::open(whisker_journal::Config::new(folder.path()), store.clone()).unwrap();
    let promise = records.promise(&record("interrupted")).await.unwrap();
    records.write(record("done"), Some(promise));
    assert!(records.unwritten_bytes.load(Ordering::Relaxed) > 0);
    assert_eq!(records.promised(), 1);
    records.close().await;
    assert_eq!((words(&store).await, records.promised()), (r#"{"error":"done"}"#.into(), 0));
    assert_eq!(records.unwritten_bytes.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_former_lifes_promise_is_kept_also_by_a_store_that_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let store = Away::for_writes(3);
    let open = || Records::open(whisker_journal::Config::new(folder.path()), store.clone()).unwrap();
    let _ = open().promise(&record("interrupted")).await.unwrap();
    let records = open();
    assert_eq!(records.promised(), 1);
    records.recover();
    records.close().await;
    assert_eq!((words(&store).await, records.promised()), (r#"{"error":"interrupted"}"#.into(), 0));
}

#[tokio::test]
async fn a_promise_that_was_kept_and_not_released_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Away::for_writes(0);
    let open = || Records::open(whisker_journal::Config::new(folder.path()), store.clone()).unwrap();
    let _ = open().promise(&record("interrupted")).await.unwrap();
    store.put(&[record("done")]).await.unwrap();
    let records = open();
    records.recover();
    records.close().await;
    assert_eq!(words(&store).await, r#"{"error":"done"}"#);
}
