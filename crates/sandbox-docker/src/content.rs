//! The bodies of `/init` and `/run`.
//!
//! Code is as large as tens of megabytes, and OpenWhisk has binary code sent as
//! base64, a third larger still: it is encoded piece by piece, while it is sent.
//! Images that say so take it as it is, behind the line of JSON that it has no
//! place in, which saves them to look for its end and to decode it: of two
//! megabytes, most of what a prewarmed container needs to begin.

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

/// How binary code is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// As OpenWhisk has it.
    AsBase64,
    /// To images with the label `whisker.init=bytes`.
    AsItIs,
}

/// A body, to be sent as often as it takes.
#[derive(Clone)]
pub(crate) struct Content {
    before: Bytes,
    /// Between the two.
    binary: Bytes,
    sent: Sent,
    after: Bytes,
}

impl Content {
    /// What initialises an action. A black box may have no code. `compiled`
    /// tells images of ours, and them alone, that no compiler need look at it.
    pub(crate) fn init(init: &Init, compiled: bool, sent: Sent) -> serde_json::Result<Content> {
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
        let (sent, after) = match (text, sent) {
            (Some(text), _) => {
                if !text.is_empty() {
                    before.extend_from_slice(b",\"code\":");
                    serde_json::to_writer(&mut before, &**text)?;
                }
                (Sent::AsBase64, "}}")
            }
            (None, Sent::AsBase64) => {
                before.extend_from_slice(b",\"code\":\"");
                (sent, "\"}}")
            }
            (None, Sent::AsItIs) => {
                before.extend_from_slice(b"}}\n");
                (sent, "")
            }
        };
        Ok(Content { before: before.into(), binary, sent, after: Bytes::from_static(after.as_bytes()) })
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
        Ok(Content { before: body.into(), binary: Bytes::new(), sent: Sent::AsBase64, after: Bytes::new() })
    }

    /// Its length in bytes.
    pub(crate) fn length(&self) -> u64 {
        let binary = match self.sent {
            Sent::AsBase64 => self.binary.len().div_ceil(3) * 4,
            Sent::AsItIs => self.binary.len(),
        };
        (self.before.len() + binary + self.after.len()) as u64
    }

    /// What it is, for `Content-Type`.
    pub(crate) fn media_type(&self) -> &'static str {
        match self.sent {
            Sent::AsBase64 => "application/json",
            Sent::AsItIs => "application/octet-stream",
        }
    }

    /// The body.
    pub(crate) fn body(&self) -> Body {
        if self.binary.is_empty() && self.after.is_empty() {
            return Full::new(self.before.clone()).boxed_unsync();
        }
        if self.sent == Sent::AsItIs {
            let both = [self.before.clone(), self.binary.clone()];
            return StreamBody::new(stream::iter(both.map(|bytes| Ok(Frame::data(bytes))))).boxed_unsync();
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

    fn bytes(content: &Content) -> Bytes {
        let bytes = content.body().collect().now_or_never().unwrap().unwrap().to_bytes();
        assert_eq!(bytes.len() as u64, content.length());
        bytes
    }

    fn sent(content: &Content) -> Value {
        assert_eq!(content.media_type(), "application/json");
        serde_json::from_slice(&bytes(content)).unwrap()
    }

    #[test]
    fn code_is_sent_as_openwhisk_sends_it() {
        let env = json!({ "__OW_ACTION_NAME": "/guest/tested" });
        let init = |code| contract::init(1, &code);
        let text = sent(&Content::init(&init(Code::Text("a\"\n".into())), false, Sent::AsItIs).unwrap());
        let value = json!({ "name": "tested", "main": "main", "binary": false, "env": env, "code": "a\"\n" });
        assert_eq!(text, json!({ "value": value }));
        let none = sent(&Content::init(&init(Code::Text("".into())), false, Sent::AsBase64).unwrap());
        assert_eq!(none["value"].get("code"), None);
        for length in [0, 1, 2, 3, PIECE_BYTES - 1, PIECE_BYTES, 2 * PIECE_BYTES + 2] {
            let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let binary = sent(&Content::init(&init(Code::Binary(bytes.clone().into())), true, Sent::AsBase64).unwrap());
            assert_eq!(binary["value"]["binary"], true);
            assert_eq!(binary["value"]["compiled"], true);
            assert_eq!(STANDARD.decode(binary["value"]["code"].as_str().unwrap()).unwrap(), bytes);
        }
    }

    #[test]
    fn images_that_take_bytes_get_them_behind_a_line() {
        let code = [b'\n', 0, 255, b'"'];
        let content = Content::init(&contract::init(1, &Code::Binary(code.to_vec().into())), true, Sent::AsItIs);
        let content = content.unwrap();
        assert_eq!(content.media_type(), "application/octet-stream");
        let bytes = bytes(&content);
        let (line, after) = bytes.split_at(bytes.len() - code.len());
        assert_eq!(after, code);
        let (end, line) = line.split_last().unwrap();
        assert_eq!((*end, line.contains(&b'\n')), (b'\n', false));
        let line: Value = serde_json::from_slice(line).unwrap();
        assert_eq!(line["value"]["binary"], true);
        assert_eq!(line["value"]["compiled"], true);
        assert_eq!(line["value"].get("code"), None);
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
