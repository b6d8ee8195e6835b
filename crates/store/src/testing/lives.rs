//! Lives of a store: whatever is done in whatever order, each member answers as
//! the one in memory does.

use std::{collections::HashMap, fmt::Debug, sync::Arc};

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use whisker_entity::{CodeHash, QualifiedName};

use super::samples::{action, id, package, parse, path, record, rule, sequence, subject, trigger};
use crate::{
    ActivationQuery, Activations, Collection, Document, Entities, Error, Memory, Page, Retention, Revision, Subjects,
};

/// Tries so many lives, or as many as `PROPTEST_CASES` says, each with a store
/// that is opened for it; with each goes what must live as long.
///
/// A life that ends differently is shown in its shortest form.
pub fn it_answers_as_memory_does<G, S>(lives: u32, open: impl AsyncFn() -> (G, S))
where
    S: Entities + Activations + Subjects,
{
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(lives);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Default::default() });
    let tried = runner.run(&vec(step(), 1..60), |steps| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut memory = Member::new(Memory::new());
            let (_guard, store) = open().await;
            let mut member = Member::new(store);
            for step in &steps {
                prop_assert_eq!(memory.take(step).await, member.take(step).await, "{:?}", step);
            }
            Ok(())
        })
    });
    if let Err(different) = tried {
        panic!("{different}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put { kind: u8, name: usize, updated: u64, code: u8, stale: bool },
    Delete { name: usize, stale: bool },
    List { collection: u8, at: usize, skip: u64, limit: u64 },
    Record { batch: Vec<(u64, u64, usize)> },
    Find { name: Option<usize>, since: Option<u64>, upto: Option<u64>, skip: u64, limit: u64 },
    Prune { not_before: u64, max_count: u64 },
    Subject { name: u8, namespaces: Vec<(u8, u8)>, blocked: bool },
    Forget { name: u8 },
}

const NAMES: [&str; 7] = ["ns/a", "ns/b", "ns/p", "ns/p/a", "ns/p/b", "ns 2/a", "ns/p a"];
const PATHS: [&str; 4] = ["ns", "ns/p", "ns 2", "nobody"];

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    let page = (0..4_u64, 0..6_u64);
    prop_oneof![
        4 => (0..7_u8, name.clone(), 0..5_u64, 0..3_u8, prop::bool::weighted(0.2))
            .prop_map(|(kind, name, updated, code, stale)| Step::Put { kind, name, updated, code, stale }),
        2 => (name.clone(), prop::bool::weighted(0.2)).prop_map(|(name, stale)| Step::Delete { name, stale }),
        2 => (0..5_u8, 0..PATHS.len(), page.clone())
            .prop_map(|(collection, at, (skip, limit))| Step::List { collection, at, skip, limit }),
        3 => vec((0..40_u64, 0..10_u64, name.clone()), 0..6).prop_map(|batch| Step::Record { batch }),
        3 => (prop::option::of(name), prop::option::of(0..10_u64), prop::option::of(0..10_u64), page)
            .prop_map(|(name, since, upto, (skip, limit))| Step::Find { name, since, upto, skip, limit }),
        1 => (0..4_u64, 5..30_u64).prop_map(|(not_before, max_count)| Step::Prune { not_before, max_count }),
        1 => (0..3_u8, vec((0..4_u8, 0..4_u8), 0..3), any::<bool>())
            .prop_map(|(name, namespaces, blocked)| Step::Subject { name, namespaces, blocked }),
        1 => (0..3_u8).prop_map(|name| Step::Forget { name }),
    ]
}

/// A store with the revisions that it gave, which differ between members.
struct Member<S> {
    store: S,
    revisions: HashMap<QualifiedName, Revision>,
}

/// What a caller sees, as text. Revisions and causes of failures are the member's own.
fn shown<T: Debug>(answer: Result<T, Error>) -> String {
    match answer {
        Ok(value) => format!("{value:?}"),
        Err(Error::Missing) => "missing".into(),
        Err(Error::Stale) => "stale".into(),
        Err(failure) => panic!("{failure:?}"),
    }
}

impl<S: Entities + Activations + Subjects> Member<S> {
    fn new(store: S) -> Self {
        Self { store, revisions: HashMap::new() }
    }

    async fn take(&mut self, step: &Step) -> Vec<String> {
        match step {
            Step::Put { kind, name, updated, code, stale } => {
                let document = document(*kind, NAMES[*name], *updated, *code);
                let name = document.qualified_name();
                let based_on = self.revisions.get(&name).filter(|_| !stale);
                let put = Entities::put(&self.store, &document, based_on).await;
                let answer = shown(put.as_ref().map(|_| ()).map_err(copy));
                self.revisions.extend(put.ok().map(|revision| (name.clone(), revision)));
                let read = Entities::get(&self.store, &name).await;
                let mut answers = vec![answer, shown(read.map(|stored| stored.document))];
                for code in 0..3 {
                    answers.push(shown(self.store.code(CodeHash::of(&text(code))).await));
                }
                answers
            }
            Step::Delete { name, stale } => {
                let name: QualifiedName = parse(NAMES[*name]);
                let unknown = Revision("unknown".into());
                let based_on = self.revisions.get(&name).filter(|_| !stale).unwrap_or(&unknown);
                let deleted = Entities::delete(&self.store, &name, based_on).await;
                if deleted.is_ok() {
                    self.revisions.remove(&name);
                }
                vec![shown(deleted), shown(Entities::get(&self.store, &name).await.map(|_| ()))]
            }
            Step::List { collection, at, skip, limit } => {
                let collections = [
                    Collection::Actions,
                    Collection::Packages,
                    Collection::PublicPackages,
                    Collection::Triggers,
                    Collection::Rules,
                ];
                let (collection, at) = (collections[usize::from(*collection)], path(PATHS[*at]));
                let page = Page { skip: *skip, limit: *limit };
                vec![
                    shown(Entities::list(&self.store, collection, &at, page).await),
                    shown(Entities::count(&self.store, collection, &at).await),
                ]
            }
            Step::Record { batch } => {
                let records = batch.iter().map(|&(n, start, name)| {
                    let whose = NAMES[name].split('/').next().unwrap();
                    // No two namespaces have a record of one id.
                    let n = if whose == "ns" { n } else { n + 1_000 };
                    Arc::new(record(whose, NAMES[name], id(n), start))
                });
                let put = Activations::put(&self.store, &records.collect::<Vec<_>>()).await;
                let all: Vec<_> = (0..40).map(id).collect();
                vec![shown(put), shown(self.store.known(&parse("ns"), &all).await)]
            }
            Step::Find { name, since, upto, skip, limit } => {
                let name = name.map(|name| parse(NAMES[name]));
                let query = ActivationQuery { namespace: parse("ns"), name, since: *since, upto: *upto };
                let page = Page { skip: *skip, limit: *limit };
                let summaries = Activations::list(&self.store, &query, page).await;
                let whole = self.store.list_full(&query, page, u64::MAX).await;
                vec![
                    shown(summaries),
                    shown(whole.map(|list| serde_json::to_string(&list).unwrap())),
                    shown(Activations::count(&self.store, &query).await),
                ]
            }
            Step::Prune { not_before, max_count } => {
                let mut gone = 0;
                let retention = Retention { not_before: *not_before, max_count: *max_count };
                loop {
                    match self.store.prune(retention).await.unwrap() {
                        0 => return vec![gone.to_string()],
                        n => gone += n,
                    }
                }
            }
            Step::Subject { name, namespaces, blocked } => {
                let namespaces: Vec<_> = namespaces.iter().map(|(n, u)| (format!("n{n}"), format!("u{u}"))).collect();
                let namespaces: Vec<_> = namespaces.iter().map(|(n, u)| (n.as_str(), u.as_str())).collect();
                let mut subject = subject(&format!("subject{name}"), &namespaces);
                subject.blocked = *blocked;
                let mut answers = vec![shown(Subjects::put(&self.store, &subject).await)];
                answers.extend(self.identities().await);
                answers
            }
            Step::Forget { name } => {
                let mut answers = vec![shown(Subjects::delete(&self.store, &format!("subject{name}")).await)];
                answers.extend(self.identities().await);
                answers
            }
        }
    }

    async fn identities(&self) -> Vec<String> {
        let mut answers = vec![shown(Subjects::list(&self.store).await)];
        for n in 0..4 {
            answers.push(shown(self.store.by_uuid(&format!("u{n}")).await));
            answers.push(shown(self.store.by_namespace(&parse(&format!("n{n}"))).await));
        }
        answers
    }
}

fn copy(error: &Error) -> Error {
    match error {
        Error::Missing => Error::Missing,
        Error::Stale => Error::Stale,
        failure => panic!("{failure:?}"),
    }
}

fn text(code: u8) -> String {
    format!("code {code}")
}

fn document(kind: u8, name: &str, updated: u64, code: u8) -> Document {
    match kind {
        0..3 => Document::Action(action(name, &text(code), updated)),
        3 => sequence(name, updated),
        4 => package(name, (code == 0).then_some("other/pkg"), code < 2, updated),
        5 => trigger(name, updated),
        _ => rule(name, updated),
    }
}
