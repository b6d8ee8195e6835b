//! Who asks: HTTP basic credentials, looked up in the store through a cache.

use std::{net::IpAddr, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, header};
use moka::sync::Cache;
use whisker_entity::{AuthKey, EntityName, Identity, Millis};
use whisker_store::{Error, Subjects};

use crate::{rejection::Rejection, throttle::Rates};

/// Checks credentials.
pub struct Authenticator {
    subjects: Arc<dyn Subjects>,
    known: Cache<Arc<str>, Arc<Identity>>,
    owners: Cache<EntityName, Arc<Identity>>,
    failures: Rates<IpAddr>,
    failures_per_minute: u64,
}

/// How long a key goes on being accepted after its subject was blocked, or its
/// limits changed, by another process.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Identities remembered at once; of more, the least used are looked up again.
const REMEMBERED_MAX: u64 = 100_000;

impl Authenticator {
    /// With nothing remembered.
    pub fn new(subjects: Arc<dyn Subjects>, failures_per_minute: u32) -> Self {
        let known = Cache::builder().max_capacity(REMEMBERED_MAX).time_to_live(REMEMBERED).build();
        let owners = Cache::builder().max_capacity(REMEMBERED_MAX).time_to_live(REMEMBERED).build();
        Self { subjects, known, owners, failures: Rates::default(), failures_per_minute: failures_per_minute.into() }
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
        let identity = match self.known.get(key.uuid()) {
            Some(identity) => identity,
            None => match self.subjects.by_uuid(key.uuid()).await {
                Ok(identity) => {
                    let identity = Arc::new(identity);
                    self.known.insert(key.uuid().into(), identity.clone());
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
        let identity = Arc::new(self.subjects.by_namespace(namespace).await?);
        self.owners.insert(namespace.clone(), identity.clone());
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
