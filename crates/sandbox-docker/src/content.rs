//! The bodies of `/init` and `/run`.
//!
//! Code is as large as tens of megabytes and binary code goes out as base64, a
//! third larger still: it is encoded piece by piece, while it is sent.

use std::convert::Infallible;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use serde::Serialize;
use whisker_sandbox::{Code, Init, Run};

/// As hyper takes it.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Bytes of code that are encoded at once: a multiple of three, so that only
/// the last piece is padded.
const PIECE_BYTES: usize = 48 * 1024;

/// A body, to be sent as often as it takes.
#[derive(Clone)]
pub(crate) struct Content {
    before: Bytes,
    /// To be encoded between the two.
    binary: Bytes,
    after: Bytes,
}

impl Content {
    /// What initialises an action. A black box may have no code. `compiled`
    /// tells images of ours, and them alone, that no compiler need look at it.
    pub(crate) fn init(init: &Init, compiled: bool) -> serde_json::Result<Content> {
        #[derive(Serialize)]
        struct Head<'a> {
            name: &'a str,
            main: &'a str,
            binary: bool,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            compiled: bool,
            env: &'a std::collections::BTreeMap<String, String>,
        }
        let (text, binary) = match &init.code {
            Code::Text(text) => (Some(text), Bytes::new()),
            Code::Binary(bytes) => (None, bytes.clone()),
        };
        let head = Head { name: &init.name, main: &init.main, binary: text.is_none(), compiled, env: &init.env };
        let mut before = b"{\"value\":".to_vec();
        serde_json::to_writer(&mut before, &head)?;
        // The code is the last member.
        before.pop();
        let after = match text {
            Some(text) if text.is_empty() => "}}",
            Some(text) => {
                before.extend_from_slice(b",\"code\":");
                serde_json::to_writer(&mut before, &**text)?;
                "}}"
            }
            None => {
                before.extend_from_slice(b",\"code\":\"");
                "\"}}"
            }
        };
        Ok(Content { before: before.into(), binary, after: Bytes::from_static(after.as_bytes()) })
    }

    /// What runs it.
    pub(crate) fn run(run: &Run) -> serde_json::Result<Content> {
        let value = run.value.get();
        let mut body = Vec::with_capacity(value.len() + 400);
        body.extend_from_slice(b"{\"value\":");
        body.extend_from_slice(value.as_bytes());
        for (name, text) in &run.context {
            body.push(b',');
            serde_json::to_writer(&mut body, name)?;
            body.push(b':');
            serde_json::to_writer(&mut body, text)?;
        }
        body.push(b'}');
        Ok(Content { before: body.into(), binary: Bytes::new(), after: Bytes::new() })
    }

    /// Its length in bytes.
    pub(crate) fn length(&self) -> u64 {
        (self.before.len() + self.binary.len().div_ceil(3) * 4 + self.after.len()) as u64
    }

    /// The body.
    pub(crate) fn body(&self) -> Body {
        if self.binary.is_empty() && self.after.is_empty() {
            return Full::new(self.before.clone()).boxed_unsync();
        }
        let pieces = (0..self.binary.len().div_ceil(PIECE_BYTES)).map({
            let binary = self.binary.clone();
            move |piece| {
                let start = piece * PIECE_BYTES;
                let end = (start + PIECE_BYTES).min(binary.len());
                Bytes::from(STANDARD.encode(&binary[start..end]))
            }
        });
        let all = [self.before.clone()].into_iter().chain(pieces).chain([self.after.clone()]);
        StreamBody::new(stream::iter(all.map(|bytes| Ok(Frame::data(bytes))))).boxed_unsync()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use futures::FutureExt as _;
    use serde_json::{Value, json};
    use whisker_sandbox::testing::contract;

    use super::*;

    fn sent(content: &Content) -> Value {
        let bytes = content.body().collect().now_or_never().unwrap().unwrap().to_bytes();
        assert_eq!(bytes.len() as u64, content.length());
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn code_is_sent_as_openwhisk_sends_it() {
        let env = json!({ "__OW_ACTION_NAME": "/guest/tested" });
        let init = |code| contract::init(1, &code);
        let text = sent(&Content::init(&init(Code::Text("a\"\n".into())), false).unwrap());
        let value = json!({ "name": "tested", "main": "main", "binary": false, "env": env, "code": "a\"\n" });
        assert_eq!(text, json!({ "value": value }));
        let none = sent(&Content::init(&init(Code::Text("".into())), false).unwrap());
        assert_eq!(none["value"].get("code"), None);
        for length in [0, 1, 2, 3, PIECE_BYTES - 1, PIECE_BYTES, 2 * PIECE_BYTES + 2] {
            let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let binary = sent(&Content::init(&init(Code::Binary(bytes.clone().into())), true).unwrap());
            assert_eq!(binary["value"]["binary"], true);
            assert_eq!(binary["value"]["compiled"], true);
            assert_eq!(STANDARD.decode(binary["value"]["code"].as_str().unwrap()).unwrap(), bytes);
        }
    }

    #[test]
    fn a_run_carries_its_context_beside_its_value() {
        let run = sent(&Content::run(&contract::run(7, &json!([1]))).unwrap());
        let expected = json!({
            "value": [1],
            "namespace": "guest",
            "action_name": "/guest/tested",
            "activation_id": format!("{:032x}", 7),
        });
        assert_eq!(run, expected);
    }
}
