//! Arguments of a run: members to be merged over parameters, or the result of
//! another run, passed on.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde_json::value::RawValue;
use whisker_entity::Parameters;

use crate::Payload;

/// What an action is invoked with.
///
/// A client sends an object. Within a sequence a component gets what the one
/// before it answered, which may be an array too: that replaces parameters
/// instead of being merged with them, since it has no names.
#[derive(Clone)]
pub enum Arguments {
    /// An object whose members are known.
    Members(Payload),
    /// A JSON object or array, as text. It is not parsed unless it must be.
    Text(Arc<RawValue>),
}

impl Arguments {
    /// A result as the next run's arguments: whatever is neither object nor
    /// array counts as nothing.
    pub fn of_result(result: Option<&RawValue>) -> Self {
        match result {
            Some(result) if result.get().starts_with(['{', '[']) => Self::Text(result.to_owned().into()),
            _ => Self::Members(Payload::default()),
        }
    }

    /// Which of the parameters these leave as they are, being encrypted, and
    /// with which algorithms.
    pub fn locked(&self, parameters: &Parameters) -> BTreeMap<String, String> {
        let mut locked: BTreeMap<String, String> =
            parameters.iter().filter_map(|p| Some((p.key.clone(), p.encryption.clone()?))).collect();
        // Mostly there are none, and then nothing is parsed.
        if locked.is_empty() {
            return locked;
        }
        match self {
            Self::Members(payload) => payload.names().for_each(|name| drop(locked.remove(name))),
            Self::Text(text) => match Payload::of(text) {
                Some(payload) => payload.names().for_each(|name| drop(locked.remove(name))),
                // An array has no parameters.
                None => locked.clear(),
            },
        }
        locked
    }

    /// These over parameters, as one line of text.
    pub fn over(self, parameters: &Parameters) -> Arc<RawValue> {
        let text = match self {
            Self::Members(payload) => return payload.over(parameters).to_text(),
            Self::Text(text) => text,
        };
        // Results are mostly on one line already, and then cost nothing here.
        let as_it_is = parameters.is_empty() || text.get().starts_with('[');
        if as_it_is && !text.get().contains(['\n', '\r']) {
            return text;
        }
        match Payload::of(&text) {
            Some(payload) => payload.over(parameters).to_text(),
            None => RawValue::from_string(text.get().replace(['\n', '\r'], " ")).map_or(text, Into::into),
        }
    }
}

impl From<Payload> for Arguments {
    fn from(payload: Payload) -> Self {
        Self::Members(payload)
    }
}

// Arguments are private.
impl fmt::Debug for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Members(payload) => payload.fmt(f),
            Self::Text(text) => write!(f, "arguments of {} bytes", text.get().len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(result: &str, parameters: serde_json::Value, content: &str) {
        let result = RawValue::from_string(result.into()).expect("JSON");
        let parameters: Parameters = serde_json::from_value(parameters).expect("parameters");
        assert_eq!(Arguments::of_result(Some(&result)).over(&parameters).get(), content);
    }

    #[test]
    fn a_result_goes_over_the_next_ones_parameters() {
        let by = json!([{"key": "by", "value": "component"}]);
        check(r#"{"n": 1e400}"#, json!([]), r#"{"n": 1e400}"#);
        check(r#"{"n": 1e400}"#, by.clone(), r#"{"by":"component","n":1e400}"#);
        check(r#"{"by": 2}"#, by.clone(), r#"{"by":2}"#);
        check("{\"a\":\n1}", json!([]), r#"{"a":1}"#);
        check("5", by, r#"{"by":"component"}"#);
        check("null", json!([]), "{}");
    }

    #[test]
    fn what_arguments_replace_is_locked_no_more() {
        let parameters = json!([
            {"key": "a", "value": "x", "encryption": "aes-128"}, {"key": "b", "value": "y", "encryption": "aes-256"},
            {"key": "c", "value": "z"},
        ]);
        let parameters: Parameters = serde_json::from_value(parameters).expect("parameters");
        for (result, locked) in [
            (r#"{"c":1}"#, json!({"a": "aes-128", "b": "aes-256"})),
            (r#"{"a":1}"#, json!({"b": "aes-256"})),
            ("[1]", json!({})),
        ] {
            let result = RawValue::from_string(result.into()).expect("JSON");
            assert_eq!(json!(Arguments::of_result(Some(&result)).locked(&parameters)), locked);
            if let Some(payload) = Payload::of(&result) {
                assert_eq!(json!(Arguments::Members(payload).locked(&parameters)), locked);
            }
        }
    }

    #[test]
    fn an_array_replaces_parameters() {
        let by = json!([{"key": "by", "value": "component"}]);
        check("[1, 2]", by.clone(), "[1, 2]");
        check("[1,\n2]", by, "[1, 2]");
    }
}
