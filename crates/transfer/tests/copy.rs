//! Everything goes from one store to another, once, and is compared.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use whisker_entity::{Activation, ActivationId, EntityName};
use whisker_store::{
    ActivationQuery, Activations, Cursor, Document, Entities, Error, Memory, Page, Portion, Retention, Scan, Subjects,
    Summary,
    testing::samples::{action, id, package, parse, record, records, rule, sequence, subject, trigger},
};
use whisker_transfer::{CopyError, Reached, Stage, Whole, check, copy};

fn whole(store: &Arc<Memory>) -> Whole {
    Whole { entities: store.clone(), activations: store.clone(), subjects: store.clone() }
}

fn silent() -> impl Fn(Reached) + Sync {
    |_| {}
}

/// Something of everything: code that is shared, odd texts, more records than
/// go into one step.
async fn filled() -> Arc<Memory> {
    let store = Arc::new(Memory::new());
    for document in [
        Document::Action(action("ns/a", "shared", 1)),
        Document::Action(action("ns/pkg/b", "shared", 2)),
        Document::Action(action("other/c", "a\0b", 3)),
        sequence("ns/s", 4),
        package("ns/pkg", None, true, 5),
        trigger("ns/t", 6),
        rule("ns/r", 7),
    ] {
        Entities::put(&*store, &document, None).await.unwrap();
    }
    Subjects::put(&*store, &subject("anna", &[("ns", "u-1"), ("other", "u-2")])).await.unwrap();
    let limits = whisker_entity::NamespaceLimits { invocations_per_minute: Some(3), ..Default::default() };
    store.put_limits(&parse("ns"), Some(&limits)).await.unwrap();
    Activations::put(&*store, &records(0..1_200)).await.unwrap();
    let mut odd = record("other", "other/c", id(5_000), 5);
    odd.response.result = serde_json::value::RawValue::from_string(r#"{"b": 1e400, "a": 1.10}"#.into()).ok();
    Activations::put(&*store, &[Arc::new(odd)]).await.unwrap();
    store
}

#[tokio::test]
async fn everything_arrives_and_is_counted() {
    let (from, to) = (filled().await, Arc::new(Memory::new()));
    let copied = copy(&whole(&from), &whole(&to), false, &silent()).await.unwrap();
    let counts: Vec<_> = copied.content.kinds().into_iter().map(|(_, digest)| digest.count).collect();
    assert_eq!(counts, [1, 1, 4, 1, 1, 1, 1_201]);
    assert!(copied.left_out.is_empty());
    let mut seen = Vec::new();
    let report =
        check(&whole(&to), &silent(), &mut |entity| seen.push(entity.qualified_name().to_string())).await.unwrap();
    seen.sort();
    assert_eq!(seen, ["ns/a", "ns/pkg", "ns/pkg/b", "ns/r", "ns/s", "ns/t", "other/c"]);
    assert_eq!((report.content, report.codes, report.problems), (copied.content, 2, vec![]));
    let one = Entities::get(&*to, &parse("ns/pkg/b")).await.unwrap().document;
    assert_eq!(one, Entities::get(&*from, &parse("ns/pkg/b")).await.unwrap().document);
    assert!(to.by_uuid("u-2").await.is_ok());
}

#[tokio::test]
async fn who_waits_hears_how_far_it_is() {
    let heard = Mutex::new(Vec::new());
    let hear = |reached: Reached| heard.lock().unwrap().push(reached);
    copy(&whole(&filled().await), &whole(&Arc::new(Memory::new())), false, &hear).await.unwrap();
    let heard = heard.into_inner().unwrap();
    let last = |stage| *heard.iter().rfind(|reached| reached.stage == stage).unwrap();
    assert_eq!(last(Stage::Users), Reached { stage: Stage::Users, done: 2, all: None });
    assert_eq!(last(Stage::Entities), Reached { stage: Stage::Entities, done: 7, all: None });
    assert_eq!(last(Stage::Records), Reached { stage: Stage::Records, done: 1_201, all: Some(1_201) });
    assert_eq!(last(Stage::Comparing), Reached { stage: Stage::Comparing, done: 1_210, all: Some(1_210) });
    assert!(heard.iter().filter(|reached| reached.stage == Stage::Comparing).is_sorted_by_key(|reached| reached.done));
}

#[tokio::test]
async fn a_target_that_holds_something_is_left_alone() {
    let (from, to) = (filled().await, Arc::new(Memory::new()));
    Entities::put(&*to, &trigger("ns/mine", 1), None).await.unwrap();
    let refused = copy(&whole(&from), &whole(&to), false, &silent()).await;
    assert!(matches!(refused, Err(CopyError::NotEmpty)), "{refused:?}");
    assert!(matches!(to.by_uuid("u-1").await, Err(Error::Missing)));
    // Nor may a resumed copy hide that there is more.
    let refused = copy(&whole(&from), &whole(&to), true, &silent()).await;
    assert!(matches!(refused, Err(CopyError::Different { what: "triggers", .. })), "{refused:?}");
}

#[tokio::test]
async fn what_has_a_name_and_is_something_else_is_not_written_over() {
    let (from, to) = (filled().await, Arc::new(Memory::new()));
    Entities::put(&*to, &trigger("ns/t", 99), None).await.unwrap();
    let refused = copy(&whole(&from), &whole(&to), true, &silent()).await;
    assert!(matches!(&refused, Err(CopyError::Taken(name)) if name == "ns/t"), "{refused:?}");
}

/// A store that goes away after so many batches.
struct Failing {
    store: Arc<Memory>,
    batches: AtomicU64,
}

#[async_trait]
impl Activations for Failing {
    async fn put(&self, records: &[Arc<Activation>]) -> Result<(), Error> {
        let left = |left: u64| left.checked_sub(1);
        match self.batches.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left) {
            Ok(_) => Activations::put(&*self.store, records).await,
            Err(_) => Err(Error::Unavailable("it went away".into())),
        }
    }
    async fn get(&self, namespace: &EntityName, id: ActivationId) -> Result<Activation, Error> {
        Activations::get(&*self.store, namespace, id).await
    }
    async fn known(&self, namespace: &EntityName, ids: &[ActivationId]) -> Result<Vec<ActivationId>, Error> {
        self.store.known(namespace, ids).await
    }
    async fn list(&self, query: &ActivationQuery, page: Page) -> Result<Vec<Summary>, Error> {
        Activations::list(&*self.store, query, page).await
    }
    async fn list_full(&self, query: &ActivationQuery, page: Page, max: u64) -> Result<Vec<Activation>, Error> {
        self.store.list_full(query, page, max).await
    }
    async fn count(&self, query: &ActivationQuery) -> Result<u64, Error> {
        Activations::count(&*self.store, query).await
    }
    async fn prune(&self, retention: Retention) -> Result<u64, Error> {
        self.store.prune(retention).await
    }
    async fn scan(&self, after: Option<&Cursor>, portion: Portion) -> Result<Scan<Activation>, Error> {
        Activations::scan(&*self.store, after, portion).await
    }
}

#[tokio::test]
async fn a_copy_that_was_broken_off_goes_on() {
    let (from, to) = (filled().await, Arc::new(Memory::new()));
    for batches in [0, 1] {
        let failing = Failing { store: to.clone(), batches: batches.into() };
        let target = Whole { activations: Arc::new(failing), ..whole(&to) };
        let broken = copy(&whole(&from), &target, batches > 0, &silent()).await;
        assert!(matches!(broken, Err(CopyError::Target(Error::Unavailable(_)))), "{broken:?}");
    }
    let copied = copy(&whole(&from), &whole(&to), true, &silent()).await.unwrap();
    assert_eq!(copied.content, check(&whole(&from), &silent(), &mut |_| {}).await.unwrap().content);
}

/// The same records, of which one says something else.
#[tokio::test]
async fn a_difference_is_found() {
    let (from, to) = (filled().await, Arc::new(Memory::new()));
    let mut other = record("ns", "ns/a", id(7), 7);
    other.logs = vec!["something else".into()];
    Activations::put(&*to, &[Arc::new(other)]).await.unwrap();
    let copied = copy(&whole(&from), &whole(&to), true, &silent()).await;
    assert!(matches!(copied, Err(CopyError::Different { what: "activation records", .. })), "{copied:?}");
}
