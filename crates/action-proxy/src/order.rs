//! From the bodies of `/init` and `/run` to the lines that launchers take.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{
    DecodeError, Engine as _,
    alphabet::STANDARD,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig},
};
use hyper::body::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, value::RawValue};
use whisker_entity::ActivationId;
use whisker_frame::order;

/// Lets through what looks like base64 to OpenWhisk, stray bits included.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// The body of `/init`.
#[derive(Deserialize)]
pub(crate) struct InitBody<'a> {
    #[serde(default, borrow)]
    pub value: Init<'a>,
}

/// What an action is.
#[derive(Default, Deserialize)]
pub(crate) struct Init<'a> {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub main: String,
    /// As long as the body, of which it should not need to be a copy.
    #[serde(default, borrow)]
    pub code: Cow<'a, str>,
    #[serde(default)]
    pub binary: bool,
    /// Whether the code is what a compiler made: a tar, which no compiler need look
    /// at again.
    #[serde(default)]
    pub compiled: bool,
    #[serde(default, deserialize_with = "texts")]
    pub env: BTreeMap<String, String>,
}

/// The body of `/run`.
#[derive(Deserialize)]
pub(crate) struct RunBody<'a> {
    #[serde(borrow)]
    pub value: Option<&'a RawValue>,
    #[serde(flatten)]
    pub context: Map<String, Value>,
}

/// Values as user code sees them in its environment: texts as they are,
/// nothing as the empty text, all else as JSON.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let read: Option<Map<String, Value>> = Deserialize::deserialize(deserializer)?;
    Ok(read.unwrap_or_default().into_iter().map(|(name, value)| (name, text(value))).collect())
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

impl Init<'_> {
    /// Apart from its body, of which binary code is taken out and decoded; there is
    /// none beside source text.
    pub(crate) fn decoded(self) -> Result<(Init<'static>, Option<Bytes>), DecodeError> {
        let decoded = self.binary.then(|| LENIENT.decode(self.code.trim())).transpose()?.map(Bytes::from);
        Ok((self.apart(), decoded))
    }

    /// Apart from its body, and without binary code.
    pub(crate) fn apart(self) -> Init<'static> {
        let Init { name, main, code, binary, compiled, env } = self;
        let code = if binary { Cow::Borrowed("") } else { Cow::Owned(code.into_owned()) };
        Init { name, main, code, binary, compiled, env }
    }

    /// The activation that pays for the initialisation and owns its lines.
    pub(crate) fn activation(&self) -> ActivationId {
        named(self.env.get("__OW_ACTIVATION_ID").map(String::as_str), 0)
    }

    /// The line, with source text or the folder that holds the code.
    pub(crate) fn line(&self, folder: Option<&str>, concurrent: bool) -> serde_json::Result<Vec<u8>> {
        order::init(order::Init {
            activation: self.activation(),
            name: &self.name,
            main: if self.main.is_empty() { "main" } else { &self.main },
            code: folder.is_none().then_some(&*self.code),
            folder,
            concurrent,
            env: &self.env,
        })
    }
}

impl RunBody<'_> {
    /// The activation. A launcher knows a run by 32 hex digits; a caller that
    /// gives none, or others, gets the `number`th of our own.
    pub(crate) fn activation(&self, number: u64) -> ActivationId {
        named(self.context.get("activation_id").and_then(Value::as_str), number)
    }

    /// The line. The value comes first, the activation last.
    pub(crate) fn line(&self, activation: ActivationId) -> serde_json::Result<Vec<u8>> {
        let context = self.context.iter().map(|(name, value)| (name, text(value.clone())));
        order::run(self.value.map_or("{}", RawValue::get), context, activation)
    }
}

fn named(given: Option<&str>, number: u64) -> ActivationId {
    given.and_then(|text| text.parse().ok()).unwrap_or_else(|| ActivationId::new(0, number.into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_is_one_line_with_its_activation_last() {
        let id = "0123456789abcdef0123456789abcdef";
        let body = format!("{{\n\"activation_id\": \"{id}\", \"deadline\": 7, \"value\": {{\n \"a\": 1 }}}}");
        let body: RunBody<'_> = serde_json::from_str(&body).unwrap();
        let line = String::from_utf8(body.line(body.activation(1)).unwrap()).unwrap();
        assert_eq!(line, format!("{{\"value\":{{  \"a\": 1 }},\"deadline\":\"7\",\"activation_id\":\"{id}\"}}\n"));
    }

    #[test]
    fn what_a_caller_leaves_out_has_a_default() {
        let body: RunBody<'_> = serde_json::from_str("{}").unwrap();
        let line: Value = serde_json::from_slice(&body.line(body.activation(26)).unwrap()).unwrap();
        assert_eq!(line, json!({ "value": {}, "activation_id": format!("{:032x}", 26) }));
        let init: InitBody<'_> = serde_json::from_str(r#"{"value":{"code":"x","env":{"A":null,"B":[1]}}}"#).unwrap();
        let line: Value = serde_json::from_slice(&init.value.line(None, false).unwrap()).unwrap();
        assert_eq!(line["init"]["main"], "main");
        assert_eq!(line["init"]["env"], json!({ "A": "", "B": "[1]" }));
        assert_eq!(line["init"]["folder"], Value::Null);
    }
}
