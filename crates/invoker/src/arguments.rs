//! Arguments: what goes to the run, and what to the container's environment.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};
use whisker_secrets::Secrets;

/// Arguments, split.
pub(crate) struct Split {
    /// For the environment, as texts.
    pub env: BTreeMap<String, String>,
    /// For the run. Numbers and spacing are as they came.
    pub value: Arc<RawValue>,
}

/// An argument that stays locked.
#[derive(Debug, thiserror::Error)]
#[error("argument {name} cannot be decrypted")]
pub(crate) struct Locked {
    pub name: String,
    source: whisker_secrets::Error,
}

/// Decrypts the members named in `locked`, with the algorithms that it says.
/// The result is for user code alone. Arrays, and content of which nothing is
/// locked, are passed on unread.
pub(crate) fn unlock(
    content: &Arc<RawValue>,
    locked: &BTreeMap<String, String>,
    secrets: &Secrets,
) -> Result<Arc<RawValue>, Locked> {
    if locked.is_empty() {
        return Ok(content.clone());
    }
    let Ok(Members(members)) = serde_json::from_str::<Members<'_>>(content.get()) else { return Ok(content.clone()) };
    let mut object = Object::with_capacity(content.get().len());
    for (name, value) in members {
        let unlocked = match locked.get(&name) {
            None => None,
            Some(algorithm) => match secrets.unlock(algorithm, value) {
                Ok(unlocked) => unlocked,
                Err(source) => return Err(Locked { name, source }),
            },
        };
        object.set(name, unlocked.as_deref().unwrap_or(value));
    }
    Ok(object.end().unwrap_or_else(|| content.clone()))
}

/// The text of an object, member by member.
struct Object(String);

impl Object {
    fn with_capacity(bytes: usize) -> Self {
        let mut text = String::with_capacity(bytes);
        text.push('{');
        Self(text)
    }

    fn set(&mut self, name: String, value: &RawValue) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&Value::String(name).to_string());
        self.0.push(':');
        self.0.push_str(value.get());
    }

    fn end(mut self) -> Option<Arc<RawValue>> {
        self.0.push('}');
        RawValue::from_string(self.0).ok().map(Into::into)
    }
}

/// Takes the members named in `init_args` out of `content`. Arrays, and
/// content of which nothing is to be taken, are passed on unread.
pub(crate) fn split(content: &Arc<RawValue>, init_args: &[String]) -> Split {
    let whole = || Split { env: BTreeMap::new(), value: content.clone() };
    if init_args.is_empty() {
        return whole();
    }
    let Ok(Members(members)) = serde_json::from_str::<Members<'_>>(content.get()) else { return whole() };
    let mut env = BTreeMap::new();
    let mut rest = Object::with_capacity(content.get().len());
    for (key, value) in members {
        if init_args.contains(&key) {
            env.insert(key, text(value));
        } else {
            rest.set(key, value);
        }
    }
    match rest.end() {
        Some(value) => Split { env, value },
        None => whole(),
    }
}

/// Tells apart invocations that want different things in the environment, by
/// what is not unlocked yet. 64 bits: all that could collide belongs to one
/// action of one namespace.
pub(crate) fn environment_digest(content: &Arc<RawValue>, init_args: &[String]) -> u64 {
    if init_args.is_empty() {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    split(content, init_args).env.hash(&mut hasher);
    hasher.finish()
}

/// A value as OpenWhisk puts it into the environment.
fn text(value: &RawValue) -> String {
    let raw = value.get();
    match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw).unwrap_or_default(),
        Some(b'n') => String::new(),
        // Compact, unless it holds numbers that only its text can hold.
        Some(b'{' | b'[') => serde_json::from_str::<Value>(raw).map_or_else(|_| raw.into(), |value| value.to_string()),
        _ => raw.into(),
    }
}

/// The members of an object in their order, values unread.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = vec![];
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use whisker_secrets::{Algorithm, Key};

    use super::*;

    #[track_caller]
    fn check(content: &str, init_args: &[&str], env: &[(&str, &str)], value: &str) {
        let content: Arc<RawValue> = RawValue::from_string(content.into()).expect("JSON").into();
        let init_args: Vec<String> = init_args.iter().map(|name| (*name).to_owned()).collect();
        let split = split(&content, &init_args);
        let env: BTreeMap<_, _> = env.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
        assert_eq!((split.env, split.value.get()), (env, value));
    }

    #[test]
    fn init_arguments_go_to_the_environment_as_texts() {
        check(
            r#"{"s":"a\"b","n":null,"t":true,"f":1.50,"o":{"x": [1]},"rest":1e400}"#,
            &["s", "n", "t", "f", "o", "absent"],
            &[("s", "a\"b"), ("n", ""), ("t", "true"), ("f", "1.50"), ("o", r#"{"x":[1]}"#)],
            r#"{"rest":1e400}"#,
        );
    }

    #[test]
    fn what_is_not_split_is_passed_on_as_it_is() {
        check(r#"{"a": 1e400}"#, &[], &[], r#"{"a": 1e400}"#);
        check("[1, 2]", &["a"], &[], "[1, 2]");
        check("{}", &["a"], &[], "{}");
    }

    #[test]
    fn what_is_locked_is_unlocked_and_the_rest_is_not_touched() {
        let key = Key::parse(Algorithm::Aes128, "AAECAwQFBgcICQoLDA0ODw==").expect("a key");
        let secrets = Secrets::new([key]);
        let encrypted = "AAAADP/+/fz7+vn49/b19I1j7+6Cbamljf1lXY/rlr5sGGi2O0TGsQ==";
        let content = format!(r#"{{"n":1e400,"a":"{encrypted}","b":"{encrypted}","c":7}}"#);
        let content: Arc<RawValue> = RawValue::from_string(content).expect("JSON").into();
        let locked = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), "aes-128".to_owned())).collect();
        let clear = unlock(&content, &locked(&["a", "c", "absent"]), &secrets).expect("unlocked");
        assert_eq!(clear.get(), format!(r#"{{"n":1e400,"a":"s3cret","b":"{encrypted}","c":7}}"#));
        let error = unlock(&content, &locked(&["b"]), &Secrets::default()).expect_err("no key");
        assert_eq!((error.name.as_str(), error.to_string().contains(encrypted)), ("b", false));
    }
}
