//! What members do that keep subjects sealed.

use std::sync::Arc;

use whisker_entity::AuthKey;
use whisker_secrets::{Algorithm, Key, Seals, Secrets};

use super::samples::{key, parse, subject};
use crate::{Error, Renewed, Subjects};

const OLD: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW: &str = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
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
