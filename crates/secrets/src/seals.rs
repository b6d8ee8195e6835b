//! Bytes that are sealed at rest, and names under which they are found.
//!
//! ```text
//! 0        8      24        32           len − 16
//! │ key id │ salt │ counter │ ciphertext │ tag │
//! ```
//!
//! Each process seals with a key of its own, derived from the operator's and a
//! random salt, and counts: so no nonce comes twice, however many entries a
//! journal writes in a year. AES-256-GCM and HMAC-SHA-256, whatever the length
//! of the operator's key. What is sealed is bound to a *context*, the words for
//! its place: moved to another place it does not open.
//!
//! Why not as parameters are? Their format is OpenWhisk's, in which nonces are
//! chosen at random, nothing is bound to anything, and every key has to be
//! tried.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Payload},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

const ID_BYTES: usize = 8;
const SALT_BYTES: usize = 16;
const COUNTER_BYTES: usize = 8;

/// How sealed texts begin; JSON cannot.
const SEALED: &str = "sealed:";
/// How the names begin that stand for others; no uuid does.
const NAMED: &str = "sealed-";

/// What was sealed and cannot be opened. It tells neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsealable {
    /// With a key that is not among those given.
    #[error("it is encrypted with a key that is not there")]
    NoKey,
    /// It was changed, or moved here from another place.
    #[error("it is encrypted and damaged")]
    Damaged,
}

/// Seals, and opens what was sealed. Without keys it passes everything on, and
/// opens nothing.
#[derive(Clone, Default)]
pub struct Seals(Arc<Inner>);

#[derive(Default)]
struct Inner {
    session: Option<Session>,
    /// The newest first.
    roots: Vec<Root>,
}

/// What is derived from a key of the operator's.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Root {
    id: [u8; ID_BYTES],
    seal: [u8; 32],
    name: [u8; 32],
}

/// What this process seals with.
struct Session {
    root: Root,
    salt: [u8; SALT_BYTES],
    cipher: Aes256Gcm,
    sealed: AtomicU64,
}

impl Root {
    pub(crate) fn of(key: &[u8]) -> Self {
        let [id, seal, name] = ["id", "seal", "name"].map(|what| derived(key, &[b"whisker ", what.as_bytes()]));
        let mut short = [0; ID_BYTES];
        short.copy_from_slice(&id[..ID_BYTES]);
        Self { id: short, seal, name }
    }

    fn cipher(&self, salt: &[u8; SALT_BYTES]) -> Aes256Gcm {
        Aes256Gcm::new(&derived(&self.seal, &[salt]).into())
    }

    /// What stands for a name, where only its equal is looked for.
    fn name(&self, name: &str) -> String {
        let hash = derived(&self.name, &[name.as_bytes()]);
        hash[..16].iter().fold(NAMED.to_owned(), |text, byte| text + &format!("{byte:02x}"))
    }
}

impl Seals {
    /// Seals with the newest key, if there is to be one, and opens with any.
    /// `None` if the kernel gives no random numbers.
    pub(crate) fn new<'a>(newest: Option<&'a Root>, keys: impl IntoIterator<Item = &'a Root>) -> Option<Self> {
        let others = keys.into_iter().filter(|root| Some(*root) != newest);
        let roots = newest.into_iter().chain(others).cloned().collect();
        let session = |root: &Root| {
            let mut salt = [0; SALT_BYTES];
            getrandom::fill(&mut salt).ok()?;
            Some(Session { root: root.clone(), salt, cipher: root.cipher(&salt), sealed: AtomicU64::new(0) })
        };
        let session = match newest {
            Some(root) => Some(session(root)?),
            None => None,
        };
        Some(Self(Arc::new(Inner { session, roots })))
    }

    /// Whether anything is sealed from now on.
    pub fn is_sealing(&self) -> bool {
        self.0.session.is_some()
    }

    /// The bytes, sealed for a place; `None` where nothing is to be.
    pub fn seal(&self, context: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        let session = self.0.session.as_ref()?;
        let counter = session.sealed.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let payload = Payload { msg: bytes, aad: context.as_bytes() };
        // The cipher refuses 64 GB and more, which is beyond every limit.
        let sealed = session.cipher.encrypt(&nonce(counter), payload).expect("a message within the cipher's bounds");
        Some([&session.root.id, &session.salt[..], &counter, &sealed].concat())
    }

    /// What was sealed for a place.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, Unsealable> {
        let parts = sealed.split_first_chunk::<ID_BYTES>().and_then(|(id, rest)| {
            let (salt, rest) = rest.split_first_chunk::<SALT_BYTES>()?;
            let (counter, rest) = rest.split_first_chunk::<COUNTER_BYTES>()?;
            Some((id, salt, *counter, rest))
        });
        let (id, salt, counter, rest) = parts.ok_or(Unsealable::Damaged)?;
        let root = self.0.roots.iter().find(|root| root.id == *id).ok_or(Unsealable::NoKey)?;
        let payload = Payload { msg: rest, aad: context.as_bytes() };
        let opened = match &self.0.session {
            Some(session) if session.root == *root && session.salt == *salt => {
                session.cipher.decrypt(&nonce(counter), payload)
            }
            _ => root.cipher(salt).decrypt(&nonce(counter), payload),
        };
        opened.map_err(|_| Unsealable::Damaged)
    }

    /// Whether this would be sealed, or sealed otherwise, if it came now.
    /// `None` for what is not sealed.
    pub fn is_outdated(&self, sealed: Option<&[u8]>) -> bool {
        let Some(session) = &self.0.session else { return false };
        !sealed.is_some_and(|sealed| sealed.starts_with(&session.root.id))
    }

    /// A text, sealed for a place; the text itself where nothing is to be.
    pub fn seal_text(&self, context: &str, text: String) -> String {
        match self.seal(context, text.as_bytes()) {
            Some(sealed) => SEALED.to_owned() + &STANDARD.encode(sealed),
            None => text,
        }
    }

    /// What [`seal_text`](Self::seal_text) was given. `None` for a text that
    /// is not sealed.
    pub fn open_text(&self, context: &str, text: &str) -> Result<Option<String>, Unsealable> {
        let Some(sealed) = text.strip_prefix(SEALED) else { return Ok(None) };
        let sealed = STANDARD.decode(sealed).map_err(|_| Unsealable::Damaged)?;
        let opened = self.open(context, &sealed)?;
        String::from_utf8(opened).map(Some).map_err(|_| Unsealable::Damaged)
    }

    /// [`is_outdated`](Self::is_outdated) for a text.
    pub fn is_outdated_text(&self, text: &str) -> bool {
        let sealed = text.strip_prefix(SEALED).and_then(|sealed| STANDARD.decode(sealed).ok());
        self.is_outdated(sealed.as_deref())
    }

    /// What a secret name may be kept as, for whoever looks for it: the first
    /// is what it is kept as now, the others are of older keys and of times
    /// without any. The name cannot be found from them without the key.
    pub fn names(&self, name: &str) -> Vec<String> {
        let mut names: Vec<_> = self.0.roots.iter().map(|root| root.name(name)).collect();
        let itself = if self.0.session.is_some() { names.len() } else { 0 };
        names.insert(itself, name.to_owned());
        names
    }
}

impl fmt::Debug for Seals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seals({} keys, sealing: {})", self.0.roots.len(), self.0.session.is_some())
    }
}

/// 96 bits, of which the counter takes the last 64.
fn nonce(counter: [u8; COUNTER_BYTES]) -> aes_gcm::Nonce<aes_gcm::aead::consts::U12> {
    let mut nonce = aes_gcm::Nonce::default();
    nonce[12 - COUNTER_BYTES..].copy_from_slice(&counter);
    nonce
}

fn derived(key: &[u8], words: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    words.iter().for_each(|word| mac.update(word));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use crate::{Algorithm, Key, Secrets};

    use super::*;

    const OLD: &str = "AAECAwQFBgcICQoLDA0ODw==";
    const NEW: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn old() -> Key {
        Key::parse(Algorithm::Aes128, OLD).unwrap()
    }

    fn new() -> Key {
        Key::parse(Algorithm::Aes256, NEW).unwrap()
    }

    fn with(keys: impl IntoIterator<Item = Key>, current: Option<Algorithm>) -> Seals {
        let secrets = Secrets::new(keys);
        let secrets = current.map_or(Ok(secrets.clone()), |current| secrets.encrypting_with(current));
        secrets.unwrap().seals().unwrap()
    }

    #[test]
    fn what_was_sealed_opens_in_its_place_and_nowhere_else() {
        let (one, other) = (with([new()], Some(Algorithm::Aes256)), with([new()], Some(Algorithm::Aes256)));
        for bytes in [&b""[..], b"s3cret", &[0; 100_000]] {
            let sealed = one.seal("here", bytes).unwrap();
            assert!(!sealed.windows(6).any(|window| window == b"s3cret"));
            for seals in [&one, &other] {
                assert_eq!(seals.open("here", &sealed).unwrap(), bytes, "also by the next process");
                assert_eq!(seals.open("there", &sealed), Err(Unsealable::Damaged));
            }
            for at in [8, 24, 32, sealed.len() - 1] {
                let mut changed = sealed.clone();
                changed[at] ^= 1;
                assert_eq!(one.open("here", &changed), Err(Unsealable::Damaged), "byte {at}");
            }
            assert_eq!(one.open("here", &sealed[..sealed.len().min(31)]), Err(Unsealable::Damaged));
            assert_ne!(one.seal("here", bytes).unwrap(), sealed, "twice the same looks different");
        }
    }

    #[test]
    fn a_new_key_seals_and_an_old_one_opens() {
        let before = with([old()], Some(Algorithm::Aes128));
        let sealed = before.seal_text("here", "text".into());
        let after = with([old(), new()], Some(Algorithm::Aes256));
        assert_eq!(after.open_text("here", &sealed).unwrap().unwrap(), "text");
        assert!(after.is_outdated_text(&sealed) && !before.is_outdated_text(&sealed));
        assert!(after.is_outdated_text("{}") && !after.is_outdated_text(&after.seal_text("here", "text".into())));
        assert_eq!(with([new()], Some(Algorithm::Aes256)).open_text("here", &sealed), Err(Unsealable::NoKey));

        let (name, names) = (before.names("uuid")[0].clone(), after.names("uuid"));
        assert_eq!((names.len(), &names[1], names[2].as_str()), (3, &name, "uuid"));
        assert!(names[0] != name && names[0].starts_with("sealed-"));
        assert_ne!(after.names("other")[0], names[0]);
    }

    #[test]
    fn without_a_current_key_nothing_is_sealed_and_what_was_still_opens() {
        let sealed = with([new()], Some(Algorithm::Aes256)).seal_text("here", "text".into());
        let off = with([new()], None);
        assert_eq!(off.seal("here", b"text"), None);
        assert_eq!(off.seal_text("here", "text".into()), "text");
        assert_eq!(off.open_text("here", "{}"), Ok(None));
        assert_eq!(off.open_text("here", &sealed).unwrap().unwrap(), "text");
        assert_eq!((off.names("uuid")[0].as_str(), off.names("uuid").len()), ("uuid", 2));
        assert!(!off.is_outdated_text("{}"));
        let none = Seals::default();
        assert_eq!(none.names("uuid"), ["uuid"]);
        assert_eq!(none.open_text("here", &sealed), Err(Unsealable::NoKey));
        assert_eq!(none.open_text("here", "sealed:?"), Err(Unsealable::Damaged));
    }
}
