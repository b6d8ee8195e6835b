//! What a store holds, in few bytes: how many documents of each kind, and a sum
//! of their hashes, which does not ask in which order they came.

use std::fmt;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use whisker_entity::Activation;
use whisker_store::{Document, Registered};

/// How many documents, and the sum of their hashes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest {
    /// How many.
    pub count: u64,
    sum: [u8; 32],
}

impl Digest {
    fn add(&mut self, document: &impl Serialize) {
        self.count += 1;
        let hash = Sha256::digest(canonical(document).as_bytes());
        // A sum, and not an exclusive or: two equal documents must not cancel
        // each other out.
        let mut carry = 0;
        for (byte, more) in self.sum.iter_mut().zip(hash) {
            let both = u16::from(*byte) + u16::from(more) + carry;
            (*byte, carry) = ((both & 0xff) as u8, both >> 8);
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.count)?;
        self.sum[24..].iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Everything in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Content {
    /// Users.
    pub subjects: Digest,
    /// Namespaces with limits of their own.
    pub limits: Digest,
    /// Actions; their code is in it by its hash.
    pub actions: Digest,
    /// Packages and bindings.
    pub packages: Digest,
    /// Triggers.
    pub triggers: Digest,
    /// Rules.
    pub rules: Digest,
    /// Activation records.
    pub records: Digest,
}

impl Content {
    pub(crate) fn add_registered(&mut self, registered: &Registered) {
        match registered {
            Registered::Subject(subject) => self.subjects.add(subject),
            Registered::Limits(namespace, limits) => self.limits.add(&(namespace, limits)),
        }
    }

    pub(crate) fn add_document(&mut self, document: &Document) {
        match document {
            Document::Action(action) => self.actions.add(action),
            Document::Package(package) => self.packages.add(package),
            Document::Trigger(trigger) => self.triggers.add(trigger),
            Document::Rule(rule) => self.rules.add(rule),
        }
    }

    pub(crate) fn add_record(&mut self, record: &Activation) {
        self.records.add(record);
    }

    /// Each kind by its name.
    pub fn kinds(&self) -> [(&'static str, Digest); 7] {
        [
            ("users", self.subjects),
            ("limits of namespaces", self.limits),
            ("actions", self.actions),
            ("packages", self.packages),
            ("triggers", self.triggers),
            ("rules", self.rules),
            ("activation records", self.records),
        ]
    }
}

/// A document as one text, however its store had it: members in order, numbers
/// as numbers. One with a number that no JSON library reads is taken as it is.
fn canonical(document: &impl Serialize) -> String {
    match serde_json::to_value(document) {
        Ok(mut value) => {
            sort(&mut value);
            value.to_string()
        }
        Err(_) => serde_json::to_string(document).unwrap_or_default(),
    }
}

fn sort(value: &mut Value) {
    /// Beyond this not every whole number is one of the floating ones.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Object(members) => {
            members.sort_keys();
            members.values_mut().for_each(sort);
        }
        Value::Array(items) => items.iter_mut().for_each(sort),
        Value::Number(number) => {
            if let Some(float) = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXACT) {
                *value = Value::from(float as i64);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn of(texts: &[&str]) -> Digest {
        let mut digest = Digest::default();
        texts
            .iter()
            .for_each(|text| digest.add(&serde_json::from_str::<Box<serde_json::value::RawValue>>(text).unwrap()));
        digest
    }

    #[test]
    fn order_and_spelling_do_not_matter_and_content_does() {
        let one = of(&[r#"{"a": 1.0, "b": [100, {"x": 1, "y": 2}]}"#, "3"]);
        assert_eq!(one, of(&["3", r#"{"b":[1e2,{"y":2,"x":1}],"a":1}"#]));
        for other in [vec!["3"], vec!["3", "3"], vec!["3", r#"{"b":[{"y":2,"x":1},1e2],"a":1}"#]] {
            assert_ne!(one, of(&other));
        }
        assert_ne!(of(&["1", "1"]), of(&["2", "2"]), "equal ones do not cancel out");
        assert_ne!(of(&["1e400"]), of(&["1e401"]));
    }
}
