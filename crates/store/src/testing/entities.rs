//! What every [`Entities`] does.

use std::{collections::HashSet, sync::Arc};

use serde_json::{Value, json};
use whisker_entity::{Action, CodeHash, ExecCode, Link, Links, Parameters, QualifiedName, Reference, RuleStatus};

use super::{
    many,
    samples::{WHOLE, action, package, parse, path, rule, scanned, sequence, trigger},
};
use crate::{Collection, Document, Entities, Error, Page, Portion, Revision, Stored};

type Store = Arc<dyn Entities>;

async fn put(store: &Store, document: &Document) -> Revision {
    let based_on = match store.get(&document.qualified_name()).await {
        Ok(stored) => Some(stored.revision),
        Err(Error::Missing) => None,
        Err(e) => panic!("{e:?}"),
    };
    store.put(document, based_on.as_ref()).await.unwrap()
}

async fn put_action(store: &Store, action: Action) -> Revision {
    put(store, &Document::Action(action)).await
}

async fn delete(store: &Store, name: &str) {
    let name = parse(name);
    let revision = store.get(&name).await.unwrap().revision;
    store.delete(&name, &revision).await.unwrap();
}

async fn names(store: &Store, collection: Collection, at: &str, page: Page) -> Vec<String> {
    let list = store.list(collection, &path(at), page).await.unwrap();
    list.iter().map(|document| document.qualified_name().to_string()).collect()
}

fn is_missing<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Missing))
}

fn is_stale<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Stale))
}

/// Every member of every kind is there after a write.
pub async fn a_document_of_each_kind_reads_back(store: Store) {
    let mut linked = trigger("ns/t", 3);
    if let Document::Trigger(trigger) = &mut linked {
        let link = Link { action: Reference(parse("ns/pkg/a")), status: RuleStatus::Active };
        trigger.rules = Some(Links(vec![(parse("ns/r"), link)]));
        trigger.parameters.set_value("p", json!({"b": [1, 2.5, null], "a": true}));
        trigger.annotations.set_value("feed", "/whisk.system/alarms/alarm");
    }
    let documents = [
        sequence("ns/a", 1),
        sequence("ns/pkg/a", 1),
        package("ns/pkg", None, true, 2),
        package("ns/bound", Some("other/pkg"), false, 2),
        linked,
        trigger("ns/plain", 3),
        rule("ns/r", 4),
    ];
    for document in documents {
        let revision = store.put(&document, None).await.unwrap();
        let stored = store.get(&document.qualified_name()).await.unwrap();
        assert_eq!(stored.document, document);
        assert_eq!(stored.revision, revision);
    }
}

/// Reads and deletions of nothing.
pub async fn what_is_not_there_is_missing(store: Store) {
    let revision = store.put(&sequence("ns/pkg/a", 1), None).await.unwrap();
    for absent in ["ns/a", "ns/pkg/b", "pkg/a", "ns/pkg"] {
        assert!(is_missing(store.get(&parse(absent)).await), "{absent}");
        assert!(is_missing(store.delete(&parse(absent), &revision).await), "{absent}");
    }
    assert!(is_missing(store.code(CodeHash::of("never stored")).await));
    assert_eq!(store.count(Collection::Actions, &path("nobody")).await.unwrap(), 0);
    assert!(names(&store, Collection::Actions, "nobody", WHOLE).await.is_empty());
}

/// The optimistic lock.
pub async fn a_write_needs_the_revision_it_was_based_on(store: Store) {
    let (name, first) = (parse("ns/a"), sequence("ns/a", 1));
    let unknown = Revision("unknown".into());
    assert!(is_stale(store.put(&first, Some(&unknown)).await), "nothing has this revision");
    let one = store.put(&first, None).await.unwrap();
    assert!(is_stale(store.put(&first, None).await), "it is there");
    assert!(is_stale(store.put(&first, Some(&unknown)).await));
    let two = store.put(&sequence("ns/a", 2), Some(&one)).await.unwrap();
    assert!(is_stale(store.put(&sequence("ns/a", 3), Some(&one)).await));
    assert!(is_stale(store.delete(&name, &one).await));
    assert!(is_stale(store.delete(&name, &unknown).await));
    assert_eq!(store.get(&name).await.unwrap().document.updated(), 2, "refused writes change nothing");
    store.delete(&name, &two).await.unwrap();
    assert!(is_missing(store.get(&name).await));
    assert!(is_stale(store.put(&first, Some(&two)).await), "deleted meanwhile");
}

/// Not after deletion, not by writing the same content again.
pub async fn a_revision_is_never_used_twice(store: Store) {
    let (name, document) = (parse("ns/a"), sequence("ns/a", 1));
    let mut seen = HashSet::new();
    for _ in 0..3 {
        let first = store.put(&document, None).await.unwrap();
        let second = store.put(&document, Some(&first)).await.unwrap();
        store.delete(&name, &second).await.unwrap();
        assert!(seen.insert(first) && seen.insert(second));
    }
}

/// One name, one document.
pub async fn names_are_unique_across_kinds(store: Store) {
    let kinds = [sequence("ns/x", 1), package("ns/x", None, false, 1), trigger("ns/x", 1), rule("ns/x", 1)];
    for held in &kinds {
        let revision = store.put(held, None).await.unwrap();
        for other in kinds.iter().filter(|other| other.collection() != held.collection()) {
            assert!(is_stale(store.put(other, None).await));
            assert!(is_stale(store.put(other, Some(&revision)).await));
        }
        assert_eq!(&store.get(&parse("ns/x")).await.unwrap().document, held);
        store.delete(&parse("ns/x"), &revision).await.unwrap();
    }
}

async fn race(store: &Store, based_on: Option<Revision>) {
    let writers: Vec<_> = (0..16)
        .map(|n| {
            let (store, based_on) = (store.clone(), based_on.clone());
            tokio::spawn(async move { store.put(&sequence("ns/a", n), based_on.as_ref()).await })
        })
        .collect();
    let mut won = Vec::new();
    for writer in writers {
        match writer.await.unwrap() {
            Ok(revision) => won.push(revision),
            Err(Error::Stale) => {}
            Err(e) => panic!("{e:?}"),
        }
    }
    assert_eq!(won, [store.get(&parse("ns/a")).await.unwrap().revision]);
}

/// Exactly one per revision.
pub async fn of_concurrent_writers_one_wins(store: Store) {
    for round in 0..8 {
        let revision = put(&store, &sequence("ns/a", round)).await;
        race(&store, Some(revision)).await;
    }
}

/// Exactly one per name.
pub async fn of_concurrent_creators_one_wins(store: Store) {
    for _ in 0..8 {
        race(&store, None).await;
        delete(&store, "ns/a").await;
    }
}

/// Its place holds the hash and the length in bytes.
pub async fn code_is_attached_and_reads_back(store: Store) {
    let code = "const ä = 'µ'";
    let uploaded = action("ns/a", code, 1);
    put_action(&store, uploaded.clone()).await;
    let (expected, _) = Document::Action(uploaded).detach();
    let stored = store.get(&parse("ns/a")).await.unwrap().document;
    assert_eq!(stored, expected);
    let attached = stored.exec().and_then(|exec| exec.code()).unwrap();
    assert_eq!(*attached, ExecCode::Attached { hash: CodeHash::of(code), length: 15 });
    assert_eq!(&*store.code(attached.hash()).await.unwrap(), code);
    assert_eq!(store.list(Collection::Actions, &path("ns"), WHOLE).await.unwrap(), std::slice::from_ref(&expected));

    // What was read can be written.
    put(&store, &expected).await;
    assert_eq!(store.get(&parse("ns/a")).await.unwrap().document, expected);
    assert_eq!(&*store.code(CodeHash::of(code)).await.unwrap(), code);
}

/// The largest that OpenWhisk allows by default.
pub async fn code_of_48_megabytes_reads_back(store: Store) {
    // Five bytes a pair, so that cuts at round places fall inside characters.
    let code = "ß€".repeat(48 * 1024 * 1024 / 5);
    put_action(&store, action("ns/a", &code, 1)).await;
    let read = store.code(CodeHash::of(&code)).await.unwrap();
    assert!(*read == *code, "read {} of {} bytes, or others", read.len(), code.len());
    delete(&store, "ns/a").await;
    assert!(is_missing(store.code(CodeHash::of(&code)).await));
}

/// As long as one action uses it.
pub async fn code_is_shared_and_goes_with_its_last_action(store: Store) {
    let hash = CodeHash::of("shared");
    put_action(&store, action("ns/a", "shared", 1)).await;
    put_action(&store, action("other/b", "shared", 2)).await;
    put_action(&store, action("ns/pkg/a", "its own", 3)).await;
    delete(&store, "ns/a").await;
    assert_eq!(&*store.code(hash).await.unwrap(), "shared");
    delete(&store, "other/b").await;
    assert!(is_missing(store.code(hash).await));
    assert_eq!(&*store.code(CodeHash::of("its own")).await.unwrap(), "its own");
    put_action(&store, action("ns/a", "shared", 1)).await;
    assert_eq!(&*store.code(hash).await.unwrap(), "shared");
}

/// Also by a sequence, which has none.
pub async fn an_update_replaces_code(store: Store) {
    put_action(&store, action("ns/a", "one", 1)).await;
    put_action(&store, action("ns/a", "two", 2)).await;
    assert!(is_missing(store.code(CodeHash::of("one")).await));
    assert_eq!(&*store.code(CodeHash::of("two")).await.unwrap(), "two");
    put_action(&store, action("ns/a", "two", 3)).await;
    assert_eq!(&*store.code(CodeHash::of("two")).await.unwrap(), "two");
    put(&store, &sequence("ns/a", 4)).await;
    assert!(is_missing(store.code(CodeHash::of("two")).await));
}

/// A document never names code that is not there.
pub async fn code_that_is_gone_cannot_be_attached(store: Store) {
    put_action(&store, action("ns/a", "code", 1)).await;
    let read = store.get(&parse("ns/a")).await.unwrap().document;
    let Document::Action(mut copy) = read.clone() else { panic!("{read:?}") };
    copy.name = parse("copy");
    put_action(&store, copy).await;
    delete(&store, "ns/a").await;
    assert_eq!(&*store.code(CodeHash::of("code")).await.unwrap(), "code", "the copy still uses it");
    delete(&store, "ns/copy").await;
    assert!(is_missing(store.put(&read, None).await));
    assert!(is_missing(store.get(&parse("ns/a")).await));
}

/// Nor does it take away what is there.
pub async fn a_stale_write_leaves_no_code(store: Store) {
    put_action(&store, action("ns/a", "one", 1)).await;
    assert!(is_stale(store.put(&Document::Action(action("ns/a", "two", 2)), None).await));
    assert!(is_missing(store.code(CodeHash::of("two")).await));
    let large = "large".repeat(1 << 20);
    assert!(is_stale(store.put(&Document::Action(action("ns/a", &large, 2)), None).await));
    assert!(is_missing(store.code(CodeHash::of(&large)).await));
    assert_eq!(&*store.code(CodeHash::of("one")).await.unwrap(), "one");
}

/// Large code comes in more than one write, and is shared all the same.
pub async fn of_concurrent_uploads_one_wins_and_keeps_its_code(store: Store) {
    let code = "large".repeat(1 << 20);
    let uploads: Vec<_> = (0..4)
        .map(|n| {
            let (store, action) = (store.clone(), action(&format!("ns/a{}", n / 2), &code, n));
            tokio::spawn(async move { store.put(&Document::Action(action), None).await })
        })
        .collect();
    let mut won = 0;
    for upload in uploads {
        won += u32::from(upload.await.unwrap().is_ok());
    }
    assert_eq!(won, 2, "one of each name");
    delete(&store, "ns/a0").await;
    assert!(*store.code(CodeHash::of(&code)).await.unwrap() == *code);
    delete(&store, "ns/a1").await;
    assert!(is_missing(store.code(CodeHash::of(&code)).await));
}

/// Code and values may be any Unicode, NUL included; fractions keep their bits.
pub async fn any_text_survives(store: Store) {
    for text in ["", "\0", "a\0b\0", "ünï\u{1F980}\u{10FFFF}", "'\"\\;--%_\u{2028}\r\n", "\u{feff}x"] {
        let mut document = action("ns/a", text, 1);
        document.parameters.set_value(text, json!({text: [text, 0.1 + 0.2, 1e-308]}));
        put_action(&store, document.clone()).await;
        let (expected, _) = Document::Action(document).detach();
        assert_eq!(store.get(&parse("ns/a")).await.unwrap().document, expected);
        assert_eq!(&*store.code(CodeHash::of(text)).await.unwrap(), text);
    }
    let name = "n".repeat(256);
    let longest = format!("{name}/{name}/{name}");
    put(&store, &sequence(&longest, u64::MAX)).await;
    let read = store.get(&parse(&longest)).await.unwrap().document;
    assert_eq!((read.qualified_name().to_string(), read.updated()), (longest, u64::MAX));
    let mut deep = Value::Null;
    for _ in 0..100 {
        deep = json!([deep]);
    }
    let mut document = action("ns/deep", "", 1);
    document.annotations = Parameters::default();
    document.annotations.set_value("deep", deep);
    put_action(&store, document.clone()).await;
    assert_eq!(store.get(&parse("ns/deep")).await.unwrap().document, Document::Action(document).detach().0);
}

/// By time, then by the full name's text, both descending.
pub async fn lists_are_newest_first(store: Store) {
    // In text order "ns/a b" is before "ns/a/z", though "a b" is after "a".
    for (name, updated) in
        [("ns/a/z", 5), ("ns/a b", 5), ("ns/b", 5), ("ns/old", 1), ("ns/new", 9), ("ns/Z", 5), ("ns/b/a", 5)]
    {
        put(&store, &sequence(name, updated)).await;
    }
    let expected = ["ns/new", "ns/b/a", "ns/b", "ns/a/z", "ns/a b", "ns/Z", "ns/old"];
    assert_eq!(names(&store, Collection::Actions, "ns", WHOLE).await, expected);
}

/// Without gaps or repetitions, whatever the page's length.
pub async fn pages_cover_a_list_once(store: Store) {
    for n in 0..25 {
        put(&store, &trigger(&format!("ns/t{n:02}"), n / 4)).await;
    }
    let whole = names(&store, Collection::Triggers, "ns", WHOLE).await;
    assert_eq!(whole.len(), 25);
    for limit in [1, 4, 7, 25, 200] {
        let mut paged = Vec::new();
        for skip in (0..25).step_by(limit) {
            paged.extend(names(&store, Collection::Triggers, "ns", Page { skip, limit: limit as u64 }).await);
        }
        assert_eq!(paged, whole, "pages of {limit}");
    }
    for (skip, limit) in [(0, 0), (25, 1), (u64::MAX, u64::MAX)] {
        assert!(names(&store, Collection::Triggers, "ns", Page { skip, limit }).await.is_empty());
    }
    assert_eq!(names(&store, Collection::Triggers, "ns", Page { skip: 24, limit: u64::MAX }).await, whole[24..]);
}

/// And a package its own.
pub async fn a_namespace_lists_its_packaged_actions(store: Store) {
    put(&store, &package("ns/pkg", None, false, 1)).await;
    for (name, updated) in [("ns/a", 1), ("ns/pkg/a", 2), ("ns/pkg/b", 3), ("ns/other/c", 4)] {
        put(&store, &sequence(name, updated)).await;
    }
    let all = ["ns/other/c", "ns/pkg/b", "ns/pkg/a", "ns/a"];
    assert_eq!(names(&store, Collection::Actions, "ns", WHOLE).await, all);
    assert_eq!(names(&store, Collection::Actions, "ns/pkg", WHOLE).await, ["ns/pkg/b", "ns/pkg/a"]);
    assert_eq!(names(&store, Collection::Packages, "ns", WHOLE).await, ["ns/pkg"]);
    assert!(names(&store, Collection::Packages, "ns/pkg", WHOLE).await.is_empty());
    delete(&store, "ns/pkg/b").await;
    assert_eq!(names(&store, Collection::Actions, "ns/pkg", WHOLE).await, ["ns/pkg/a"]);
    assert_eq!(names(&store, Collection::Actions, "ns", WHOLE).await, ["ns/other/c", "ns/pkg/a", "ns/a"]);
}

/// To where its new time belongs, in each of them.
pub async fn an_update_moves_a_document_in_its_lists(store: Store) {
    for (name, updated) in [("ns/pkg/a", 1), ("ns/pkg/b", 2)] {
        put(&store, &sequence(name, updated)).await;
    }
    put(&store, &sequence("ns/pkg/a", 3)).await;
    for at in ["ns", "ns/pkg"] {
        assert_eq!(names(&store, Collection::Actions, at, WHOLE).await, ["ns/pkg/a", "ns/pkg/b"]);
        assert_eq!(store.count(Collection::Actions, &path(at)).await.unwrap(), 2);
    }
}

/// Published, and no bindings.
pub async fn public_packages_are_those_that_others_may_see(store: Store) {
    put(&store, &package("ns/public", None, true, 1)).await;
    put(&store, &package("ns/private", None, false, 2)).await;
    put(&store, &package("ns/bound", Some("other/pkg"), true, 3)).await;
    let all = ["ns/bound", "ns/private", "ns/public"];
    assert_eq!(names(&store, Collection::Packages, "ns", WHOLE).await, all);
    assert_eq!(names(&store, Collection::PublicPackages, "ns", WHOLE).await, ["ns/public"]);
    put(&store, &package("ns/public", None, false, 4)).await;
    put(&store, &package("ns/private", None, true, 5)).await;
    assert_eq!(names(&store, Collection::PublicPackages, "ns", WHOLE).await, ["ns/private"]);
    assert_eq!(store.count(Collection::PublicPackages, &path("ns")).await.unwrap(), 1);
    assert_eq!(store.count(Collection::Packages, &path("ns")).await.unwrap(), 3);
}

/// Names that begin alike are still others.
pub async fn lists_keep_to_their_namespace(store: Store) {
    for namespace in ["ns", "ns2", "n", "ns 2", "NS"] {
        put(&store, &sequence(&format!("{namespace}/a"), 1)).await;
        put(&store, &rule(&format!("{namespace}/r"), 1)).await;
    }
    for namespace in ["ns", "ns2", "n", "ns 2", "NS"] {
        assert_eq!(names(&store, Collection::Actions, namespace, WHOLE).await, [format!("{namespace}/a")]);
        assert_eq!(names(&store, Collection::Rules, namespace, WHOLE).await, [format!("{namespace}/r")]);
    }
}

/// After creations, updates and deletions.
pub async fn counts_are_those_of_lists(store: Store) {
    let all = [Collection::Actions, Collection::Packages, Collection::Triggers, Collection::Rules];
    for n in 0..5 {
        put(&store, &sequence(&format!("ns/a{n}"), n)).await;
        put(&store, &sequence(&format!("ns/pkg/a{n}"), n)).await;
        put(&store, &package(&format!("ns/p{n}"), None, n % 2 == 0, n)).await;
        put(&store, &trigger(&format!("ns/t{n}"), n)).await;
        put(&store, &rule(&format!("ns/r{n}"), n)).await;
    }
    put(&store, &trigger("ns/t1", 9)).await;
    let gone: QualifiedName = parse("ns/r3");
    delete(&store, &gone.to_string()).await;
    for (collection, count) in all.into_iter().zip([10, 5, 5, 4]) {
        assert_eq!(store.count(collection, &path("ns")).await.unwrap(), count, "{collection:?}");
        assert_eq!(names(&store, collection, "ns", WHOLE).await.len() as u64, count, "{collection:?}");
    }
    assert_eq!(store.count(Collection::PublicPackages, &path("ns")).await.unwrap(), 3);
    assert_eq!(store.count(Collection::Actions, &path("ns/pkg")).await.unwrap(), 5);
}

async fn scan(store: &Store, limit: u64) -> Vec<Stored> {
    scanned(limit, async |after, portion| store.scan(after.as_ref(), portion).await).await
}

fn sorted_names(stored: &[Stored]) -> Vec<String> {
    let mut names: Vec<_> = stored.iter().map(|stored| stored.document.qualified_name().to_string()).collect();
    names.sort();
    names
}

/// Of all kinds and namespaces, with the revisions that reads give.
pub async fn a_scan_gives_everything_once(store: Store) {
    assert!(scan(&store, 10).await.is_empty());
    let mut written = Vec::new();
    for namespace in ["ns", "n", "ns 2", "NS"] {
        for document in [
            Document::Action(action(&format!("{namespace}/pkg/a"), "code", 1)),
            sequence(&format!("{namespace}/a"), 2),
            package(&format!("{namespace}/pkg"), None, true, 3),
            trigger(&format!("{namespace}/t"), 4),
            rule(&format!("{namespace}/r"), 5),
        ] {
            put(&store, &document).await;
            written.push(document.qualified_name().to_string());
        }
    }
    written.sort();
    for limit in [1, 3, 19, 20, 21, 1_000] {
        let all = scan(&store, limit).await;
        assert_eq!(sorted_names(&all), written, "portions of {limit}");
        for stored in all {
            let read = store.get(&stored.document.qualified_name()).await.unwrap();
            assert_eq!((read.document, read.revision), (stored.document, stored.revision));
        }
    }
    let least = store.scan(None, Portion { limit: 1_000, max_bytes: 1 }).await.unwrap();
    assert!(!least.items.is_empty(), "a step goes on, however few bytes it may read");
}

/// What is there all the time is given, once.
pub async fn a_scan_goes_on_while_others_write(store: Store) {
    for n in 0..40 {
        put(&store, &trigger(&format!("ns/t{n:02}"), n)).await;
    }
    let (mut given, mut after, mut round) = (Vec::new(), None, 0);
    loop {
        let step = store.scan(after.as_ref(), Portion { limit: 7, max_bytes: u64::MAX }).await.unwrap();
        given.extend(step.items.into_iter().map(Result::unwrap));
        delete(&store, &format!("ns/t{:02}", round * 2)).await;
        put(&store, &trigger(&format!("ns/new{round}"), 99)).await;
        round += 1;
        after = step.next;
        if after.is_none() {
            break;
        }
    }
    let names = sorted_names(&given);
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{names:?}");
    for n in (0..40).filter(|n| n % 2 == 1 || *n >= round * 2) {
        assert!(names.contains(&format!("ns/t{n:02}")), "t{n:02} of {names:?}");
    }
}

/// Far into the list too, and by eight writers at once.
pub async fn many_documents_are_listed_and_scanned(store: Store) {
    let many = many();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in (writer..many).step_by(8) {
                    let name = format!("ns{}/t{n:06}", n % 10);
                    store.put(&trigger(&name, n), None).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for namespace in 0..10 {
        assert_eq!(store.count(Collection::Triggers, &path(&format!("ns{namespace}"))).await.unwrap(), many / 10);
    }
    let page = names(&store, Collection::Triggers, "ns3", Page { skip: many / 20, limit: 3 }).await;
    let expected = |n: u64| format!("ns3/t{:06}", many - 10 - (many / 20 + n) * 10 + 3);
    assert_eq!(page, [0, 1, 2].map(expected));
    let all = sorted_names(&scan(&store, 500).await);
    assert_eq!(all.len() as u64, many);
    assert_eq!(all.iter().collect::<HashSet<_>>().len() as u64, many);
}
