//! Who asks: HTTP basic credentials, looked up in the store through a cache.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, header};
use moka::sync::Cache;
use whisker_entity::{AuthKey, EntityName, Identity, Millis};
use whisker_store::{Changes, Error, Subjects};

use crate::{rejection::Rejection, throttle::Rates};

/// Checks credentials.
pub struct Authenticator {
    subjects: Arc<dyn Subjects>,
    known: Cache<Arc<str>, Arc<Identity>>,
    owners: Cache<EntityName, Arc<Identity>>,
    /// Counts changes, so that what was read before one is not remembered
    /// after it.
    changes: AtomicU64,
    remembering: Mutex<()>,
    failures: Rates<IpAddr>,
    failures_per_minute: u64,
}

/// How long a key goes on being accepted at most after its subject was blocked,
/// or its limits changed, by another process that does not tell.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Identities remembered at once; of more, the least used are looked up again.
const REMEMBERED_MAX: u64 = 100_000;

impl Authenticator {
    /// With nothing remembered.
    pub fn new(subjects: Arc<dyn Subjects>, failures_per_minute: u32) -> Self {
        let known = Cache::builder().max_capacity(REMEMBERED_MAX).time_to_live(REMEMBERED).build();
        let owners = Cache::builder().max_capacity(REMEMBERED_MAX).time_to_live(REMEMBERED).build();
        Self {
            subjects,
            known,
            owners,
            changes: AtomicU64::new(0),
            remembering: Mutex::new(()),
            failures: Rates::default(),
            failures_per_minute: failures_per_minute.into(),
        }
    }

    /// Forgets everyone, after this process changed users or limits: what is
    /// asked from now on is asked by who they are now.
    pub fn forget(&self) {
        let _remembering = self.remembering.lock().unwrap_or_else(PoisonError::into_inner);
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.known.invalidate_all();
        self.owners.invalidate_all();
    }

    /// What other servers change of users and limits.
    pub fn changes(&self) -> Changes {
        self.subjects.changes()
    }

    /// Remembers what was read when there had been so many changes.
    fn remember(&self, changes: u64, remember: impl FnOnce()) {
        let _remembering = self.remembering.lock().unwrap_or_else(PoisonError::into_inner);
        if self.changes.load(Ordering::Acquire) == changes {
            remember();
        }
    }

    /// Whoever these headers are from.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
        now: Millis,
    ) -> Result<Arc<Identity>, Rejection> {
        let credentials = credentials(headers)?;
        // Somebody who guesses keys is stopped, right or wrong. This host's own
        // users share one address and are not.
        let guessing = !peer.is_loopback();
        if guessing && self.failures.so_far(&peer, now) >= self.failures_per_minute {
            return Err(Rejection::TooManyFailed);
        }
        let rejected = || {
            if guessing {
                self.failures.count(peer, now);
            }
            Rejection::CredentialsRejected
        };
        let key = AuthKey::parse(&credentials).map_err(|_| rejected())?;
        let changes = self.changes.load(Ordering::Acquire);
        let identity = match self.known.get(key.uuid()) {
            Some(identity) => identity,
            None => match self.subjects.by_uuid(key.uuid()).await {
                Ok(identity) => {
                    let identity = Arc::new(identity);
                    self.remember(changes, || self.known.insert(key.uuid().into(), identity.clone()));
                    identity
                }
                Err(Error::Missing) => return Err(rejected()),
                Err(error) => return Err(error.into()),
            },
        };
        if identity.key.matches(&key) { Ok(identity) } else { Err(rejected()) }
    }

    /// Whoever these headers are from, where anyone may ask: whoever cannot be
    /// told is nobody.
    ///
    /// There the header may be meant for the action, which has users of its
    /// own. So only what has the shape of a key counts as an attempt at one.
    pub async fn recognise(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
        now: Millis,
    ) -> Result<Option<Arc<Identity>>, Rejection> {
        let is_key = |credentials: String| AuthKey::parse(&credentials).is_ok();
        if !credentials(headers).is_ok_and(is_key) {
            return Ok(None);
        }
        match self.authenticate(headers, peer, now).await {
            Ok(identity) => Ok(Some(identity)),
            Err(Rejection::CredentialsRejected | Rejection::TooManyFailed) => Ok(None),
            Err(rejection) => Err(rejection),
        }
    }

    /// Whoever owns a namespace: what is done there for strangers is done in
    /// the owner's name.
    pub async fn owner(&self, namespace: &EntityName) -> Result<Arc<Identity>, Error> {
        if let Some(identity) = self.owners.get(namespace) {
            return Ok(identity);
        }
        let changes = self.changes.load(Ordering::Acquire);
        let identity = Arc::new(self.subjects.by_namespace(namespace).await?);
        self.remember(changes, || self.owners.insert(namespace.clone(), identity.clone()));
        Ok(identity)
    }
}

/// The text behind `Basic`. What we cannot read counts as not given.
fn credentials(headers: &HeaderMap) -> Result<String, Rejection> {
    let text = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).ok_or(Rejection::CredentialsMissing)?;
    let (scheme, encoded) = text.split_once(' ').ok_or(Rejection::CredentialsMissing)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(Rejection::CredentialsMissing);
    }
    let decoded = STANDARD.decode(encoded.trim()).map_err(|_| Rejection::CredentialsMissing)?;
    String::from_utf8(decoded).map_err(|_| Rejection::CredentialsRejected)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;
    use whisker_store::Memory;

    use super::*;

    const KEY: &str = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";

    async fn authenticator() -> Authenticator {
        let store = Memory::new();
        let namespaces = json!([{"name": "guest", "uuid": "u", "key": KEY}]);
        let subject = serde_json::from_value(json!({"subject": "guest", "namespaces": namespaces}));
        store.put(&subject.expect("a subject")).await.expect("stored");
        Authenticator::new(Arc::new(store), 3)
    }

    fn with(scheme: &str, credentials: &str) -> HeaderMap {
        let text = format!("{scheme} {}", STANDARD.encode(credentials));
        let value = HeaderValue::from_str(&text).expect("a header");
        HeaderMap::from_iter([(header::AUTHORIZATION, value)])
    }

    #[tokio::test]
    async fn where_anyone_may_ask_the_wrong_key_is_nobodys_and_a_guess_all_the_same() {
        let authenticator = authenticator().await;
        let peer = IpAddr::from([192, 0, 2, 1]);
        let right = with("Basic", &format!("u:{KEY}"));
        let recognised = async |headers: &HeaderMap| {
            let caller = authenticator.recognise(headers, peer, 0).await.expect("no refusal");
            caller.map(|caller| caller.namespace.to_string())
        };
        assert_eq!(recognised(&right).await.as_deref(), Some("guest"));
        // The action's own users are no concern of ours.
        for own in [HeaderMap::new(), with("Bearer", KEY), with("Basic", "ann:pass"), with("Basic", "ann")] {
            for _ in 0..10 {
                assert_eq!(recognised(&own).await, None);
            }
        }
        assert!(authenticator.authenticate(&right, peer, 0).await.is_ok());
        let wrong = with("Basic", &format!("u:{}", KEY.replace('k', "w")));
        for _ in 0..3 {
            assert_eq!(recognised(&wrong).await, None);
        }
        assert_eq!(authenticator.authenticate(&right, peer, 0).await.err(), Some(Rejection::TooManyFailed));
        assert_eq!(recognised(&right).await, None, "whoever guesses is not told when they are right");
        assert_eq!(authenticator.recognise(&right, peer, 60_000).await.map(|c| c.is_some()), Ok(true));
    }

    #[tokio::test]
    async fn whoever_was_changed_is_asked_for_again() {
        let store = Arc::new(Memory::new());
        let namespaces = json!([{"name": "guest", "uuid": "u", "key": KEY}]);
        let mut subject: whisker_entity::Subject =
            serde_json::from_value(json!({"subject": "guest", "namespaces": namespaces})).expect("a subject");
        store.put(&subject).await.expect("stored");
        let authenticator = Authenticator::new(store.clone(), 3);
        let (peer, right, guest) = (IpAddr::from([127, 0, 0, 1]), with("Basic", &format!("u:{KEY}")), "guest".parse());
        let guest = guest.expect("a name");
        assert!(authenticator.authenticate(&right, peer, 0).await.is_ok());
        assert!(authenticator.owner(&guest).await.is_ok());
        subject.blocked = true;
        store.put(&subject).await.expect("stored");
        assert!(authenticator.authenticate(&right, peer, 0).await.is_ok(), "known for a while");
        authenticator.forget();
        assert_eq!(authenticator.authenticate(&right, peer, 0).await.err(), Some(Rejection::CredentialsRejected));
        assert!(authenticator.owner(&guest).await.is_err());
    }
}
