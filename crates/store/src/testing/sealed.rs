//! What members do that keep subjects sealed.

use std::sync::Arc;

use whisker_entity::{AuthKey, NamespaceLimits};
use whisker_secrets::{Algorithm, Key, Seals, Secrets};

use super::samples::{key, parse, subject};
use crate::{Error, Renewed, Subjects};

/// A key of the operator's.
pub const OLD: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// One that takes its place.
pub const NEW: &str = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
/// More than one step of a renewal takes.
const MANY: usize = 150;

/// Of these keys, the first of which seals.
#[must_use]
pub fn seals(keys: &[&str]) -> Seals {
    let keys = keys.iter().map(|key| Key::parse(Algorithm::Aes256, key).unwrap());
    Secrets::new(keys).encrypting_with(Algorithm::Aes256).unwrap().seals().unwrap()
}

/// Seals of one key, for the contract.
#[must_use]
pub fn some() -> Seals {
    seals(&[OLD])
}

async fn renewed(store: &dyn Subjects) -> Renewed {
    let mut all = store.renew(None).await.unwrap();
    while let Some(next) = all.next.take() {
        let step = store.renew(Some(&next)).await.unwrap();
        all.written += step.written;
        all.left.extend(step.left);
        all.next = step.next;
    }
    all
}

/// From no key to one and on to the next one: at each step all is found, nothing
/// can be taken twice, and a dump has what it should. `open` opens the same
/// store again, `dump` reads whatever is on its disk while it is closed.
pub async fn keys_change_under_a_store<S: Subjects>(
    open: impl AsyncFn(Seals) -> Arc<S>,
    dump: impl AsyncFn() -> Vec<u8>,
) {
    let uuids: Vec<_> = (0..MANY).map(|n| format!("0b5e1d5c-{n:04}")).collect();
    let secret = "k".repeat(AuthKey::KEY_CHARS);
    let hits = async || {
        let dump = dump().await;
        let hits = |text: &str| dump.windows(text.len()).filter(|window| *window == text.as_bytes()).count();
        (hits(&secret), hits("0b5e1d5c-"))
    };
    let all_is_found = async |store: &dyn Subjects| {
        for (n, uuid) in uuids.iter().enumerate().step_by(50) {
            let identity = store.by_uuid(uuid).await.unwrap();
            assert!(identity.key.matches(&key(uuid)));
            assert_eq!(&*identity.subject, format!("user-{n:04}"));
            let thief = subject("thief", &[("other", uuid)]);
            assert!(matches!(store.put(&thief).await, Err(Error::Stale)), "{uuid} is taken");
            let by_name = store.by_namespace(&parse(&format!("ns-{n}"))).await.unwrap();
            assert!(by_name.key.matches(&key(uuid)));
        }
        assert_eq!(store.list().await.unwrap().len(), MANY);
    };

    let clear = open(Seals::default()).await;
    for (n, uuid) in uuids.iter().enumerate() {
        clear.put(&subject(&format!("user-{n:04}"), &[(&format!("ns-{n}"), uuid)])).await.unwrap();
    }
    assert_eq!(renewed(&*clear).await, Renewed::default(), "without a key nothing is to be done");
    drop(clear);
    let (keys, names) = hits().await;
    assert!(keys >= MANY && names >= MANY, "a dump of a store in clear has the keys: {keys}, {names}");

    let first = open(seals(&[OLD])).await;
    all_is_found(&*first).await;
    assert_eq!(renewed(&*first).await.written, MANY as u64);
    assert_eq!(renewed(&*first).await, Renewed::default(), "once is enough");
    all_is_found(&*first).await;
    drop(first);
    assert_eq!(hits().await, (0, 0), "nothing of them is left");

    let both = open(seals(&[NEW, OLD])).await;
    all_is_found(&*both).await;
    // What is written meanwhile has the new key already.
    both.put(&subject("user-0000", &[("ns-0", &uuids[0])])).await.unwrap();
    assert_eq!(renewed(&*both).await.written, MANY as u64 - 1);
    drop(both);
    let second = open(seals(&[NEW])).await;
    all_is_found(&*second).await;
    drop(second);

    // Without the key nobody is anyone, and nothing is taken for what it is not.
    for lost in [Seals::default(), seals(&[OLD])] {
        let closed = open(lost).await;
        assert!(matches!(closed.get("user-0000").await, Err(Error::Corrupt(..))));
        assert!(matches!(closed.by_uuid(&uuids[0]).await, Err(Error::Missing)));
        assert!(matches!(closed.by_namespace(&parse("ns-0")).await, Err(Error::Corrupt(..))));
        let renewed = renewed(&*closed).await;
        assert!(renewed.written == 0 && [0, MANY].contains(&renewed.left.len()), "{renewed:?}");
    }
    assert_eq!(hits().await, (0, 0));
}

/// More than one step of a renewal takes where it writes one document each.
const SOME: usize = 60;

/// From keys in clear to sealed ones, on to the next key and back, in a store
/// whose documents are OpenWhisk's: uuids stay. `open` opens the same store
/// again, with keys sealed or not, `dump` reads its subjects as they are kept.
pub async fn keys_are_sealed_by_choice<S: Subjects>(
    open: impl AsyncFn(Seals, bool) -> Arc<S>,
    dump: impl AsyncFn() -> String,
) {
    let uuids: Vec<_> = (0..SOME).map(|n| format!("0b5e1d5c-{n:04}")).collect();
    let user = |n: usize| subject(&format!("user-{n:04}"), &[(&format!("ns-{n}"), &uuids[n])]);
    let secret = "k".repeat(AuthKey::KEY_CHARS);
    // Of how many the key is in clear; and all of them can be found.
    let clear = async || {
        let dump = dump().await;
        assert!(uuids.iter().all(|uuid| dump.contains(uuid.as_str())), "uuids stay: {dump}");
        dump.matches(&secret).count()
    };
    let all_is_found = async |store: &dyn Subjects| {
        for (n, uuid) in uuids.iter().enumerate().step_by(SOME / 2) {
            let identity = store.by_uuid(uuid).await.unwrap();
            assert!(identity.key.matches(&key(uuid)));
            assert_eq!(&*identity.subject, format!("user-{n:04}"));
            assert!(store.by_namespace(&identity.namespace).await.unwrap().key.matches(&key(uuid)));
            let thief = subject("thief", &[("other", uuid)]);
            assert!(matches!(store.put(&thief).await, Err(Error::Stale)), "{uuid} is taken");
        }
        let list = store.list().await.unwrap();
        assert!(
            list.len() == SOME && list.iter().all(|s| s.namespaces[0].key.matches(&key(s.namespaces[0].key.uuid())))
        );
    };

    let none = open(Seals::default(), false).await;
    let mut blocked = user(1);
    blocked.blocked = true;
    none.put(&blocked).await.unwrap();
    for n in (0..SOME).filter(|n| *n != 1) {
        none.put(&user(n)).await.unwrap();
    }
    none.put_limits(&parse("ns-0"), Some(&NamespaceLimits { fires_per_minute: Some(7), ..Default::default() }))
        .await
        .unwrap();
    assert_eq!(renewed(&*none).await, Renewed::default());
    assert!(clear().await >= SOME, "OpenWhisk could read them");
    drop(none);

    let sealed = open(seals(&[OLD]), true).await;
    all_is_found(&*sealed).await;
    assert_eq!(renewed(&*sealed).await, Renewed { written: SOME as u64, ..Renewed::default() });
    assert_eq!(renewed(&*sealed).await, Renewed::default(), "once is enough");
    assert_eq!(clear().await, 0);
    all_is_found(&*sealed).await;
    drop(sealed);

    let both = open(seals(&[NEW, OLD]), true).await;
    all_is_found(&*both).await;
    // What is written meanwhile has the new key already.
    both.put(&user(0)).await.unwrap();
    assert_eq!(clear().await, 0);
    assert_eq!(renewed(&*both).await, Renewed { written: SOME as u64 - 1, ..Renewed::default() });
    drop(both);

    // Without the key nobody is anyone, and nothing is taken for what it is not.
    for lost in [Seals::default(), seals(&[OLD])] {
        let closed = open(lost, false).await;
        let told = closed.by_uuid(&uuids[0]).await.unwrap_err();
        assert!(matches!(&told, Error::Corrupt(name, _) if name == "user-0000"), "{told:?}");
        assert!(matches!(closed.get("user-0000").await, Err(Error::Corrupt(..))));
        assert!(matches!(closed.by_namespace(&parse("ns-0")).await, Err(Error::Corrupt(..))));
        let renewed = renewed(&*closed).await;
        assert!(renewed.written == 0 && renewed.left.len() == SOME, "{renewed:?}");
        assert!(matches!(closed.put(&subject("thief", &[("other", &uuids[0])])).await, Err(Error::Stale)));
    }

    let back = open(seals(&[NEW]), false).await;
    all_is_found(&*back).await;
    assert_eq!(clear().await, 0);
    assert_eq!(renewed(&*back).await, Renewed { written: SOME as u64, ..Renewed::default() });
    drop(back);
    let none = open(Seals::default(), false).await;
    assert!(clear().await >= SOME, "OpenWhisk could read them again");
    assert!(none.get("user-0001").await.unwrap().blocked);
    assert_eq!(none.limits(&parse("ns-0")).await.unwrap().fires_per_minute, Some(7));
    all_is_found(&*none).await;
}
