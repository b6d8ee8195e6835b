//! What a container's answer means (`ActivationResult.scala`).

use serde_json::{Value, value::RawValue};
use whisker_sandbox::{InitEnd, RunEnd};

use crate::client::Reply;

/// An answer to `/init`.
pub(crate) fn of_init(reply: Reply) -> InitEnd {
    if reply.status == 200 {
        return InitEnd::Ready;
    }
    match error_of(&reply.body) {
        Some(error) if reply.whole => InitEnd::Failed(error),
        _ => InitEnd::Nonsense(text(reply.body)),
    }
}

/// An answer to `/run`.
pub(crate) fn of_run(reply: Reply) -> RunEnd {
    if !reply.whole {
        return RunEnd::TooLong { length_bytes: reply.length_bytes, beginning: cut(reply.body) };
    }
    if reply.status != 200 {
        return match error_of(&reply.body) {
            Some(error) => RunEnd::Failed(error),
            None => RunEnd::Nonsense(text(reply.body)),
        };
    }
    let body = text(reply.body);
    match serde_json::from_str::<&RawValue>(body.trim()) {
        Ok(raw) if raw.get().starts_with(['{', '[']) => RunEnd::Answered(raw.to_owned()),
        _ => RunEnd::Nonsense(body),
    }
}

/// The member `error` of an object.
fn error_of(body: &[u8]) -> Option<Value> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(mut object)) => object.remove("error"),
        _ => None,
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Text of which the last character may have been cut in two.
fn cut(mut bytes: Vec<u8>) -> String {
    if let Err(error) = std::str::from_utf8(&bytes)
        && error.error_len().is_none()
    {
        bytes.truncate(error.valid_up_to());
    }
    text(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, body: body.into(), length_bytes: body.len() as u64, whole: true }
    }

    #[test]
    fn a_run_is_judged_as_openwhisk_judges_it() {
        for (status, body, expected) in [
            (200, r#"{"a":1}"#, r#"Answered(RawValue({"a":1}))"#),
            (200, " [1]\n", "Answered(RawValue([1]))"),
            (200, r#"{"error":1}"#, r#"Answered(RawValue({"error":1}))"#),
            (200, "7", r#"Nonsense("7")"#),
            (200, "", r#"Nonsense("")"#),
            (200, "{", r#"Nonsense("{")"#),
            (502, r#"{"error":{"x":1}}"#, r#"Failed(Object {"x": Number(1)})"#),
            (502, r#"{"err":1}"#, r#"Nonsense("{\"err\":1}")"#),
            (400, "gone", r#"Nonsense("gone")"#),
        ] {
            assert_eq!(format!("{:?}", of_run(reply(status, body))), expected, "{status} {body}");
        }
    }

    #[test]
    fn an_init_is_judged_by_its_status() {
        for (status, body, expected) in [
            (200, "OK", "Ready"),
            (502, r#"{"error":"no"}"#, r#"Failed(String("no"))"#),
            (403, "no", r#"Nonsense("no")"#),
        ] {
            assert_eq!(format!("{:?}", of_init(reply(status, body))), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_long_answer_is_cut_at_a_character() {
        let long = Reply { status: 200, body: "{\"ü".as_bytes()[..3].into(), length_bytes: 99, whole: false };
        assert_eq!(format!("{:?}", of_run(long)), r#"TooLong { length_bytes: 99, beginning: "{\"" }"#);
    }
}
