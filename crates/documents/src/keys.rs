//! Users' keys in subjects' documents: in clear, as OpenWhisk reads them, or
//! sealed.
//!
//! Where they are sealed it is the member `key` of each namespace that is, and
//! nothing else: names and uuids are what documents are found by. What is
//! sealed opens however new keys are kept, so that the choice can be changed
//! and changed back, document by document.

use serde_json::{Map, Value, json};
use whisker_entity::{AuthKey, Namespace};
use whisker_secrets::{Seals, Unsealable};
use whisker_store::Error;

use crate::corrupt;

/// How users' keys are to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Users {
    /// As OpenWhisk reads them, so that it can come back.
    #[default]
    Clear,
    /// So that only who has the operator's key reads them.
    Sealed,
}

impl Users {
    /// From the word for it in a store's URL.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "clear" => Some(Users::Clear),
            "sealed" => Some(Users::Sealed),
            _ => None,
        }
    }
}

/// Keys are to be sealed, and nothing seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("users=sealed needs a key to encrypt with: see --parameter-encryption")]
pub struct NothingSeals;

/// Writes and reads users' keys.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    users: Users,
    seals: Seals,
}

impl Keys {
    /// Keys that are kept so, with these seals.
    pub fn new(users: Users, seals: &Seals) -> Result<Self, NothingSeals> {
        if users == Users::Sealed && !seals.is_sealing() {
            return Err(NothingSeals);
        }
        Ok(Self { users, seals: seals.clone() })
    }

    /// The member `namespaces` of a subject's document.
    pub fn kept(&self, namespaces: &[Namespace]) -> Value {
        let mut kept = json!(namespaces);
        if self.users == Users::Sealed {
            for own in owned(&mut kept) {
                *own.key = self.seals.seal_text(&place(own.uuid), std::mem::take(own.key));
            }
        }
        kept
    }

    /// A key, from the namespace with this uuid in the document `id`.
    pub fn opened(&self, id: &str, uuid: &str, key: String) -> Result<String, Error> {
        Ok(self.clear(uuid, &key).map_err(|e| corrupt(id, e))?.unwrap_or(key))
    }

    /// Opens what is sealed in the document `id`.
    pub fn open(&self, id: &str, document: &mut Map<String, Value>) -> Result<(), Error> {
        for own in document.get_mut("namespaces").into_iter().flat_map(owned) {
            if let Some(clear) = self.clear(own.uuid, own.key).map_err(|e| corrupt(id, e))? {
                *own.key = clear;
            }
        }
        Ok(())
    }

    /// Has the keys in the document `id` as they would be kept now; whether any
    /// was kept otherwise.
    pub fn renew(&self, id: &str, document: &mut Map<String, Value>) -> Result<bool, Error> {
        let mut is_changed = false;
        for own in document.get_mut("namespaces").into_iter().flat_map(owned) {
            let clear = self.clear(own.uuid, own.key).map_err(|e| corrupt(id, e))?;
            let anew = match self.users {
                Users::Clear => clear,
                Users::Sealed if self.seals.is_outdated_text(own.key) => {
                    let clear = clear.unwrap_or_else(|| own.key.clone());
                    Some(self.seals.seal_text(&place(own.uuid), clear))
                }
                Users::Sealed => None,
            };
            if let Some(anew) = anew {
                *own.key = anew;
                is_changed = true;
            }
        }
        Ok(is_changed)
    }

    /// What is sealed in a text; `None` if that is in clear.
    fn clear(&self, uuid: &str, key: &str) -> Result<Option<String>, Unsealable> {
        // Sealed texts are longer, whatever a user's key begins with.
        if key.chars().count() == AuthKey::KEY_CHARS {
            return Ok(None);
        }
        self.seals.open_text(&place(uuid), key)
    }
}

/// What the seals are bound to: nobody's key passes for another's.
fn place(uuid: &str) -> String {
    format!("key of {uuid}")
}

/// What of a namespace is looked at here.
struct Owned<'a> {
    uuid: &'a str,
    key: &'a mut String,
}

/// Those of the member `namespaces`. What has another shape is not touched:
/// who reads the document says so.
fn owned(namespaces: &mut Value) -> impl Iterator<Item = Owned<'_>> {
    namespaces.as_array_mut().into_iter().flatten().filter_map(|own| {
        let (mut uuid, mut key) = (None, None);
        for (name, value) in own.as_object_mut()? {
            match (name.as_str(), value) {
                ("uuid", Value::String(text)) => uuid = Some(text.as_str()),
                ("key", Value::String(text)) => key = Some(text),
                _ => {}
            }
        }
        Some(Owned { uuid: uuid?, key: key? })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use whisker_entity::Subject;
    use whisker_store::testing::{
        samples::{key, subject},
        sealed::{NEW, OLD, seals},
    };

    use super::*;
    use crate::subject::read_subject;

    fn keys(users: Users, keys: &[&str]) -> Keys {
        Keys::new(users, &seals(keys)).unwrap()
    }

    /// A document with members that nobody here knows.
    fn document(keys: &Keys) -> Map<String, Value> {
        let mut namespaces = keys.kept(&anna().namespaces);
        namespaces[0]["colour"] = json!("red");
        json!({"_id": "anna", "subject": "anna", "namespaces": namespaces, "age": 7}).as_object().unwrap().clone()
    }

    fn anna() -> Subject {
        subject("anna", &[("anna", "uuid-1"), ("team", "uuid-2")])
    }

    fn is_anna(keys: &Keys, document: &Map<String, Value>) {
        let read = read_subject(keys, "anna", document.clone()).unwrap();
        for (own, uuid) in read.namespaces.iter().zip(["uuid-1", "uuid-2"]) {
            assert!(own.key.uuid() == uuid && own.key.matches(&key(uuid)));
        }
    }

    fn text(document: &Map<String, Value>) -> String {
        json!(document).to_string()
    }

    /// As [`key`] has it.
    fn secret() -> String {
        "k".repeat(AuthKey::KEY_CHARS)
    }

    #[test]
    fn what_is_sealed_is_the_key_and_nothing_else() {
        let (clear, sealed) = (document(&Keys::default()), document(&keys(Users::Sealed, &[OLD])));
        assert!(text(&clear).contains(&secret()) && !text(&sealed).contains(&secret()));
        let without_keys = |document: &Map<String, Value>| {
            let mut document = json!(document);
            for own in document["namespaces"].as_array_mut().unwrap() {
                own.as_object_mut().unwrap().remove("key");
            }
            document
        };
        assert_eq!(without_keys(&clear), without_keys(&sealed));
        for users in [Users::Clear, Users::Sealed] {
            is_anna(&keys(users, &[OLD]), &clear);
            is_anna(&keys(users, &[NEW, OLD]), &sealed);
        }
    }

    #[test]
    fn what_does_not_open_is_an_error_with_the_subject_and_no_secret() {
        let sealed = document(&keys(Users::Sealed, &[OLD]));
        let mut moved = sealed.clone();
        moved["namespaces"][0]["key"] = sealed["namespaces"][1]["key"].clone();
        let mut damaged = sealed.clone();
        damaged["namespaces"][0]["key"] = json!("sealed:?");
        for (with, document) in
            [(Keys::default(), sealed), (keys(Users::Sealed, &[OLD]), moved), (keys(Users::Clear, &[OLD]), damaged)]
        {
            let before = document.clone();
            let mut renewed = document.clone();
            for error in
                [read_subject(&with, "anna", document).unwrap_err(), with.renew("anna", &mut renewed).unwrap_err()]
            {
                let told = format!("{error} {error:?}");
                assert!(matches!(&error, Error::Corrupt(id, _) if id == "anna"), "{told}");
                assert!(!told.contains("sealed:") && !told.contains("kkkk"), "{told}");
            }
            assert_eq!(text(&renewed), text(&before), "it stays as it is");
        }
    }

    #[test]
    fn a_renewal_goes_both_ways() {
        let (clear, old) = (Keys::default(), keys(Users::Sealed, &[OLD]));
        let both = keys(Users::Sealed, &[NEW, OLD]);
        let back = keys(Users::Clear, &[NEW]);
        let mut document = document(&clear);
        let first = document.clone();
        for (step, written, in_clear) in
            [(&clear, false, true), (&old, true, false), (&both, true, false), (&back, true, true)]
        {
            assert_eq!(step.renew("anna", &mut document).unwrap(), written);
            assert!(!step.renew("anna", &mut document).unwrap(), "once is enough");
            assert_eq!(text(&document).contains(&secret()), in_clear);
            is_anna(step, &document);
        }
        assert_eq!(document, first);
        // Some of it was done already.
        assert!(old.renew("anna", &mut document).unwrap());
        document["namespaces"][1]["key"] = json!(secret());
        assert!(old.renew("anna", &mut document).unwrap());
        assert!(!text(&document).contains(&secret()));
        is_anna(&old, &document);
    }

    #[test]
    fn a_key_that_looks_sealed_is_a_key() {
        let odd = format!("sealed:{}", "k".repeat(AuthKey::KEY_CHARS - 7));
        let mut document = document(&Keys::default());
        document["namespaces"][0]["key"] = json!(odd);
        let seal = keys(Users::Sealed, &[OLD]);
        for keys in [&Keys::default(), &seal] {
            assert_eq!(keys.opened("anna", "uuid-1", odd.clone()).unwrap(), odd);
        }
        assert!(seal.renew("anna", &mut document).unwrap());
        assert!(!text(&document).contains(&odd));
        seal.open("anna", &mut document).unwrap();
        assert_eq!(document["namespaces"][0]["key"], odd.as_str());
    }

    #[test]
    fn sealing_needs_a_key_and_other_shapes_are_left_to_their_readers() {
        assert_eq!(Keys::new(Users::Sealed, &Seals::default()).unwrap_err(), NothingSeals);
        assert_eq!([Users::parse("clear"), Users::parse("sealed")], [Some(Users::Clear), Some(Users::Sealed)]);
        assert_eq!(Users::parse("Sealed"), None);
        for odd in [json!({}), json!({"namespaces": 1}), json!({"namespaces": [1, {"uuid": 1, "key": "k"}, {}]})] {
            let mut document = odd.as_object().unwrap().clone();
            assert!(!keys(Users::Sealed, &[OLD]).renew("anna", &mut document).unwrap());
            assert_eq!(json!(document), odd);
        }
    }
}
