//! What every [`Subjects`] does.

use std::sync::Arc;

use whisker_entity::{AuthKey, NamespaceLimits};

use super::samples::{key, parse, scanned, subject};
use crate::{Error, Registered, Subjects};

type Store = Arc<dyn Subjects>;

fn is_missing<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Missing))
}

fn is_stale<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Stale))
}

fn few() -> NamespaceLimits {
    NamespaceLimits {
        invocations_per_minute: Some(60),
        allowed_kinds: Some(vec!["nodejs:20".into()]),
        store_activations: Some(false),
        ..Default::default()
    }
}

/// Each with its own key.
pub async fn a_subject_is_found_by_its_namespaces(store: Store) {
    store.put(&subject("anna", &[("one", "u-1"), ("two", "u-2")])).await.unwrap();
    store.put(&subject("berta", &[("three", "u-3")])).await.unwrap();
    store.put(&subject("clara", &[])).await.unwrap();
    for (name, namespace, uuid) in [("anna", "one", "u-1"), ("anna", "two", "u-2"), ("berta", "three", "u-3")] {
        let by_uuid = store.by_uuid(uuid).await.unwrap();
        let by_namespace = store.by_namespace(&parse(namespace)).await.unwrap();
        for identity in [by_uuid, by_namespace] {
            assert_eq!(&*identity.subject, name);
            assert_eq!(identity.namespace.as_str(), namespace);
            assert!(identity.key.matches(&key(uuid)));
            assert_eq!(identity.limits, NamespaceLimits::default());
        }
    }
    let anna = store.get("anna").await.unwrap();
    assert_eq!(anna.namespaces.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
}

/// Names and uuids match whole, and with their case.
pub async fn what_is_not_there_is_missing(store: Store) {
    store.put(&subject("anna", &[("one", "u-1")])).await.unwrap();
    for uuid in ["u-2", "", "u-", "U-1", "u-1 ", "u%", "one"] {
        assert!(is_missing(store.by_uuid(uuid).await), "{uuid}");
    }
    for namespace in ["two", "anna", "One"] {
        assert!(is_missing(store.by_namespace(&parse(namespace)).await), "{namespace}");
    }
    assert!(is_missing(store.get("Anna").await));
    assert!(is_missing(store.delete("Anna").await));
    assert_eq!(store.limits(&parse("one")).await.unwrap(), NamespaceLimits::default());
}

/// Until it is blocked no more.
pub async fn a_blocked_subject_cannot_be_found(store: Store) {
    let mut anna = subject("anna", &[("one", "u-1")]);
    anna.blocked = true;
    store.put(&anna).await.unwrap();
    assert!(is_missing(store.by_uuid("u-1").await));
    assert!(is_missing(store.by_namespace(&parse("one")).await));
    assert!(store.get("anna").await.unwrap().blocked);
    assert!(is_stale(store.put(&subject("berta", &[("one", "u-2")])).await), "it keeps its namespaces");
    anna.blocked = false;
    store.put(&anna).await.unwrap();
    assert!(store.by_uuid("u-1").await.is_ok());
}

/// By name and by uuid.
pub async fn namespaces_belong_to_one_subject(store: Store) {
    store.put(&subject("anna", &[("one", "u-1")])).await.unwrap();
    for taken in [
        subject("berta", &[("mine", "u-2"), ("one", "u-3")]),
        subject("berta", &[("mine", "u-2"), ("other", "u-1")]),
        subject("berta", &[("mine", "u-2"), ("mine", "u-3")]),
        subject("berta", &[("mine", "u-2"), ("other", "u-2")]),
    ] {
        assert!(is_stale(store.put(&taken).await));
        assert!(is_missing(store.get("berta").await), "refused as a whole");
        assert!(is_missing(store.by_uuid("u-2").await));
    }
    assert_eq!(&*store.by_uuid("u-1").await.unwrap().subject, "anna");
}

/// The new ones are hers, those left out are free.
pub async fn replacing_a_subject_frees_its_namespaces(store: Store) {
    store.put(&subject("anna", &[("one", "u-1"), ("two", "u-2")])).await.unwrap();
    // Keys change hands too: two is now known by the uuid that one had.
    store.put(&subject("anna", &[("two", "u-1"), ("three", "u-3")])).await.unwrap();
    assert_eq!(store.by_uuid("u-1").await.unwrap().namespace.as_str(), "two");
    assert!(is_missing(store.by_uuid("u-2").await));
    assert!(is_missing(store.by_namespace(&parse("one")).await));
    store.put(&subject("berta", &[("one", "u-2")])).await.unwrap();
    assert_eq!(&*store.by_namespace(&parse("one")).await.unwrap().subject, "berta");
}

/// Another can have them.
pub async fn deleting_a_subject_frees_its_namespaces(store: Store) {
    store.put(&subject("anna", &[("one", "u-1")])).await.unwrap();
    store.delete("anna").await.unwrap();
    assert!(is_missing(store.by_uuid("u-1").await));
    assert!(is_missing(store.by_namespace(&parse("one")).await));
    assert!(is_missing(store.get("anna").await));
    assert!(is_missing(store.delete("anna").await));
    store.put(&subject("berta", &[("one", "u-1")])).await.unwrap();
    assert_eq!(&*store.by_uuid("u-1").await.unwrap().subject, "berta");
}

/// Blocked ones too.
pub async fn subjects_are_listed_by_name(store: Store) {
    assert!(store.list().await.unwrap().is_empty());
    for name in ["clara", "Berta", "anna"] {
        let mut subject = subject(name, &[(name, name)]);
        subject.blocked = name == "anna";
        store.put(&subject).await.unwrap();
    }
    let names: Vec<_> = store.list().await.unwrap().into_iter().map(|s| s.subject).collect();
    assert_eq!(names, ["Berta", "anna", "clara"]);
}

/// They are the namespace's, whoever owns it.
pub async fn limits_come_with_the_identity(store: Store) {
    let one = parse("one");
    store.put_limits(&one, Some(&few())).await.unwrap();
    assert_eq!(store.limits(&one).await.unwrap(), few());
    store.put(&subject("anna", &[("one", "u-1"), ("two", "u-2")])).await.unwrap();
    assert_eq!(store.by_uuid("u-1").await.unwrap().limits, few());
    assert_eq!(store.by_namespace(&one).await.unwrap().limits, few());
    assert_eq!(store.by_uuid("u-2").await.unwrap().limits, NamespaceLimits::default());
    let fewer = NamespaceLimits { concurrent_invocations: Some(0), ..few() };
    store.put_limits(&one, Some(&fewer)).await.unwrap();
    assert_eq!(store.by_uuid("u-1").await.unwrap().limits, fewer);
    store.delete("anna").await.unwrap();
    assert_eq!(store.limits(&one).await.unwrap(), fewer);
    for _ in 0..2 {
        store.put_limits(&one, None).await.unwrap();
        assert_eq!(store.limits(&one).await.unwrap(), NamespaceLimits::default());
    }
}

/// In names of subjects and in keys.
pub async fn any_text_survives(store: Store) {
    for text in ["ünï\u{1F980}", "nul\0nul", "'; drop table subjects; --"] {
        let odd = AuthKey::parse(&format!("{text}:{}", "ß".repeat(AuthKey::KEY_CHARS))).unwrap();
        let mut subject = subject(text, &[("one", "u")]);
        subject.namespaces[0].key = odd.clone();
        store.put(&subject).await.unwrap();
        let identity = store.by_uuid(text).await.unwrap();
        assert_eq!(&*identity.subject, text);
        assert!(identity.key.matches(&odd));
        store.delete(text).await.unwrap();
    }
}

/// Exactly one per name.
pub async fn of_concurrent_claims_to_a_namespace_one_wins(store: Store) {
    let claims: Vec<_> = (0..16)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let name = format!("claimant{n}");
                let claim = store.put(&subject(&name, &[("one", &name)])).await;
                claim.is_ok().then_some(name)
            })
        })
        .collect();
    let mut won = Vec::new();
    for claim in claims {
        won.extend(claim.await.unwrap());
    }
    assert_eq!(won, [store.by_namespace(&parse("one")).await.unwrap().subject.to_string()]);
}

/// Subjects, blocked or not, and limits, also of namespaces that nobody has.
pub async fn a_scan_gives_everything_once(store: Store) {
    let mut blocked = subject("berta", &[("three", "u-3")]);
    blocked.blocked = true;
    store.put(&blocked).await.unwrap();
    store.put(&subject("anna", &[("one", "u-1"), ("two", "u-2")])).await.unwrap();
    store.put(&subject("ünï:\u{1F980}", &[])).await.unwrap();
    for namespace in ["one", "nobodys", "berta"] {
        store.put_limits(&parse(namespace), Some(&few())).await.unwrap();
    }
    for limit in [1, 2, 3, 5, 6, 7] {
        let all = scanned(limit, async |after, portion| store.scan(after.as_ref(), portion).await).await;
        let (mut subjects, mut limits) = (Vec::new(), Vec::new());
        for one in all {
            match one {
                Registered::Subject(subject) => {
                    subjects.push((subject.subject, subject.namespaces.len(), subject.blocked))
                }
                Registered::Limits(namespace, own) => {
                    assert_eq!(own, few());
                    limits.push(namespace.to_string());
                }
            }
        }
        subjects.sort();
        limits.sort();
        let expected = [("anna", 2, false), ("berta", 1, true), ("ünï:\u{1F980}", 0, false)];
        assert_eq!(subjects, expected.map(|(name, namespaces, blocked)| (name.to_owned(), namespaces, blocked)));
        assert_eq!(limits, ["berta", "nobodys", "one"], "portions of {limit}");
    }
}
