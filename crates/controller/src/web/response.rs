//! `.http`: a result that says what the response is: `statusCode`, `headers`, `body`.
//!
//! A function is somebody's program, and may pass on what its own callers sent
//! it. So nothing of a result reaches the wire unchecked: a header that is no
//! header (a line break in it, say) makes the whole result invalid, and what
//! frames a message is ours to say.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::value::RawValue;
use whisker_api::messages;

use super::{
    json::{self, Kind},
    media::{Form, Media},
};
use crate::{
    rejection::Rejection,
    reply::{ACTIVATION_ID, REQUEST_ID, Reply},
};

/// The response that a result describes.
pub fn http(result: &RawValue) -> Result<Reply, Rejection> {
    let invalid = || Rejection::Bad(messages::invalid_media("message/http"));
    let fields = json::members(result).ok_or_else(invalid)?;
    let headers = match fields.get("headers") {
        Some(headers) => Headers::read(headers).ok_or_else(invalid)?,
        None => Headers::default(),
    };
    let status = fields.get("statusCode").map(|code| status(code).ok_or_else(invalid)).transpose()?;
    let content = match fields.get("body").map(|body| (json::kind(body), body)) {
        None | Some((Kind::Null, _)) => None,
        Some((Kind::String, body)) => match json::string(body).ok_or_else(invalid)? {
            text if text.is_empty() => None,
            text => Some(of_text(headers.content_type.as_deref(), text)?),
        },
        Some((_, body)) => Some(of_json(headers.content_type.as_deref(), body)?),
    };
    let status = status.unwrap_or(if content.is_some() { StatusCode::OK } else { StatusCode::NO_CONTENT });
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
    let reply = match content.filter(|_| !bodiless) {
        Some((content_type, body)) => {
            let content_type = HeaderValue::from_str(&content_type).map_err(|_| invalid())?;
            Reply::bytes(status, body).with(header::CONTENT_TYPE, content_type)
        }
        None => Reply::empty(status),
    };
    Ok(headers.others.into_iter().fold(reply, |reply, (name, value)| reply.with(name, value)))
}

/// A whole number, or the text of one. What HTTP has no final answer for is refused.
fn status(code: &RawValue) -> Option<StatusCode> {
    let number = match json::kind(code) {
        Kind::Number => match code.get().parse::<i64>() {
            Ok(number) => number,
            // 200.0 and 2e2 are whole.
            Err(_) => Some(code.get().parse::<f64>().ok()?).filter(|n| n.fract() == 0.0 && n.abs() < 1e4)? as i64,
        },
        Kind::String => json::string(code)?.parse::<i64>().ok()?,
        Kind::Object | Kind::Array | Kind::Boolean | Kind::Null => return None,
    };
    let number = u16::try_from(number).ok().filter(|number| (200..600).contains(number))?;
    StatusCode::from_u16(number).ok()
}

/// Headers of a result, checked.
#[derive(Default)]
struct Headers {
    content_type: Option<String>,
    others: Vec<(HeaderName, HeaderValue)>,
}

/// Most headers of one result; of more the result is invalid.
const MAX_HEADERS: usize = 1000;

/// Most lists within lists of one header's values; of more the result is invalid.
const MAX_NESTING: usize = 8;

/// What the server says of the message or the connection. OpenWhisk, too,
/// ignores what a function says here.
const OURS: [HeaderName; 12] = [
    ACTIVATION_ID,
    REQUEST_ID,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::DATE,
    header::SERVER,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

impl Headers {
    fn read(headers: &RawValue) -> Option<Self> {
        let mut read = Self::default();
        for (name, value) in json::members(headers)?.iter() {
            read.add(name, value, MAX_NESTING)?;
        }
        Some(read)
    }

    fn add(&mut self, name: &str, value: &RawValue, nesting: usize) -> Option<()> {
        let value = match json::kind(value) {
            // A list repeats the header, and so do the lists in it.
            Kind::Array => {
                let deeper = nesting.checked_sub(1)?;
                return json::items(value)?.into_iter().try_for_each(|item| self.add(name, item, deeper));
            }
            Kind::String => json::string(value)?,
            Kind::Number | Kind::Boolean => value.get().trim().to_owned(),
            Kind::Object | Kind::Null => return None,
        };
        // Both refuse line breaks and all other control characters.
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let checked = HeaderValue::from_bytes(value.as_bytes()).ok()?;
        if name == header::CONTENT_TYPE {
            self.content_type.get_or_insert(value);
        } else if !OURS.contains(&name) {
            self.others.push((name, checked));
        }
        (self.others.len() <= MAX_HEADERS).then_some(())
    }
}

/// A string as a body: text, or bytes in base64, as its type says.
fn of_text(content_type: Option<&str>, text: String) -> Result<(String, Bytes), Rejection> {
    let media = match content_type {
        Some(declared) => {
            Media::parse(declared).ok_or_else(|| Rejection::Bad(messages::UNKNOWN_CONTENT_TYPE.into()))?
        }
        None => Media::known("text/html"),
    };
    let (form, body) = match media.form() {
        // JSON was once sent in base64. Digits alone may be either; we take them for what they say.
        _ if media.is_json() => (
            Form::Utf8,
            match BASE64.decode(text.trim()) {
                Ok(bytes) if serde_json::from_str::<&RawValue>(&text).is_err() => bytes,
                _ => text.into_bytes(),
            },
        ),
        Form::Bytes => match BASE64.decode(&text) {
            Ok(bytes) => (Form::Bytes, bytes),
            Err(_) => return Err(mismatch()),
        },
        form @ (Form::Text | Form::Utf8) => (form, text.into_bytes()),
    };
    Ok((media.declared(form), body.into()))
}

/// Any other value as a body, which must not be declared as anything but JSON.
fn of_json(content_type: Option<&str>, body: &RawValue) -> Result<(String, Bytes), Rejection> {
    let media = match content_type {
        Some(declared) => Media::parse(declared).filter(Media::is_json).ok_or_else(mismatch)?,
        None => Media::known("application/json"),
    };
    Ok((media.declared(Form::Utf8), json::pretty(body).into()))
}

fn mismatch() -> Rejection {
    Rejection::Bad(messages::CONTENT_TYPE_MISMATCH.into())
}

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use http_body_util::BodyExt;
    use serde_json::json;
    use whisker_entity::TransactionId;

    use super::*;

    type Sent = (u16, Vec<(String, String)>, Vec<u8>);

    /// What is sent for a result: status, headers, body.
    fn sent(result: &str) -> Result<Sent, Rejection> {
        let result = RawValue::from_string(result.into()).expect(result);
        let response = http(&result)?.cors(crate::reply::Cors::Bare).finish(&TransactionId::generate(1, 2), false);
        let show = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let headers = response.headers().iter().map(show).filter(|(name, _)| name != "x-request-id").collect();
        let status = response.status().as_u16();
        let body = response.into_body().collect().now_or_never().expect("a whole body").expect("a body").to_bytes();
        Ok((status, headers, body.into()))
    }

    #[track_caller]
    fn check(result: serde_json::Value, status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) {
        let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!(sent(&result.to_string()), Ok((status, headers, body.as_ref().to_vec())), "{result}");
    }

    #[track_caller]
    fn refused(result: serde_json::Value, words: &str) {
        assert_eq!(sent(&result.to_string()), Err(Rejection::Bad(words.into())), "{result}");
    }

    const HTML: (&str, &str) = ("content-type", "text/html; charset=UTF-8");
    const JSON: (&str, &str) = ("content-type", "application/json");
    const NOT_HTTP: &str = "Response is not valid 'message/http'.";
    const MISMATCH: &str = "Response type in header did not match generated content type.";
    const UNKNOWN: &str = "Response did not specify a known content-type.";

    #[test]
    fn strings_are_html_and_all_else_is_json() {
        check(json!({"body": "hello"}), 200, &[HTML], "hello");
        check(json!({"body": {"a": 1}}), 200, &[JSON], "{\n  \"a\": 1\n}");
        check(json!({"body": [1, 2]}), 200, &[JSON], "[1, 2]");
        check(json!({"body": 5}), 200, &[JSON], "5");
        check(json!({"body": true}), 200, &[JSON], "true");
        check(json!({"body": {}}), 200, &[JSON], "{}");
    }

    #[test]
    fn nothing_is_no_content() {
        for nothing in [json!({}), json!({"body": ""}), json!({"body": null}), json!({"result": "x"})] {
            check(nothing, 204, &[], "");
        }
        check(json!({"statusCode": 200, "body": ""}), 200, &[], "");
        check(json!({"headers": {"content-type": "text/plain", "x-test": "1"}}), 204, &[("x-test", "1")], "");
        check(json!({"headers": {"content-type": "nonsense"}}), 204, &[], "");
        check(json!({"statusCode": 204, "body": "x"}), 204, &[], "");
        check(json!({"statusCode": 304, "headers": {"etag": "\"1\""}, "body": {}}), 304, &[("etag", "\"1\"")], "");
    }

    #[test]
    fn codes_are_whole_numbers_that_http_has() {
        for (code, status) in [(json!(201), 201), (json!("202"), 202), (json!(299), 299), (json!(599), 599)] {
            check(json!({"statusCode": code, "body": "x"}), status, &[HTML], "x");
        }
        assert_eq!(sent(r#"{"statusCode":2.0e2,"body":"x"}"#).map(|s| s.0), Ok(200));
        check(json!({"statusCode": 302, "headers": {"Location": "/rel"}}), 302, &[("location", "/rel")], "");
        for bad in [json!(999), json!("abc"), json!(99), json!({}), json!(200.5), json!(null), json!(-1), json!(600)] {
            refused(json!({"statusCode": bad, "body": "x"}), NOT_HTTP);
        }
        // No answer to a request; OpenWhisk's server fails on them.
        for bad in [json!(100), json!(101), json!("1e99"), json!(true), json!(18446744073709551615u64)] {
            refused(json!({"statusCode": bad}), NOT_HTTP);
        }
    }

    #[test]
    fn headers_may_be_of_several_types_and_repeat() {
        let headers = json!({"x-text": "t", "x-number": 5, "x-float": 1.5, "x-bool": true, "X-Mixed-Case": "é"});
        let (_, mut headers, _) = sent(&json!({"headers": headers, "body": "x"}).to_string()).expect("headers");
        headers.sort();
        let sorted = ["x-bool: true", "x-float: 1.5", "x-mixed-case: é", "x-number: 5", "x-text: t"];
        let shown: Vec<String> = headers.iter().skip(1).map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(shown, sorted);
        check(
            json!({"headers": {"set-cookie": ["a=1", "b=2; Path=/"]}, "body": "x"}),
            200,
            &[HTML, ("set-cookie", "a=1"), ("set-cookie", "b=2; Path=/")],
            "x",
        );
        check(json!({"headers": {"x-list": [1, true]}}), 204, &[("x-list", "1"), ("x-list", "true")], "");
        check(json!({"headers": {"x-list": ["a", ["b", []]]}}), 204, &[("x-list", "a"), ("x-list", "b")], "");
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let refusal = sent(&format!(r#"{{"headers": {{"x": {deep}}}, "body": "x"}}"#));
        assert!(refusal.is_err(), "{refusal:?}");
        for bad in [json!({"x": null}), json!({"x": {}}), json!("x"), json!([]), json!(null), json!({"x": [[null]]})] {
            refused(json!({"headers": bad, "body": "x"}), NOT_HTTP);
        }
    }

    #[test]
    fn nothing_can_be_smuggled_into_the_head() {
        for (name, value) in [
            ("x", "a\r\nset-cookie: b=1"),
            ("x", "a\nb"),
            ("x", "a\rb"),
            ("x", "a\0b"),
            ("x\r\ny", "a"),
            ("x: y", "a"),
            ("", "a"),
            ("x y", "a"),
            ("content-type", "text/html\r\nx: y"),
        ] {
            refused(json!({"headers": {name: value}, "body": "x"}), NOT_HTTP);
            refused(json!({"headers": {name: [value]}, "body": "x"}), NOT_HTTP);
        }
        for name in [
            "Content-Length",
            "Transfer-Encoding",
            "connection",
            "upgrade",
            "X-OpenWhisk-Activation-Id",
            "x-request-id",
        ] {
            check(json!({"headers": {name: "5"}, "body": "x"}), 200, &[HTML], "x");
        }
        let many: Vec<u32> = (0..100_000).collect();
        refused(json!({"headers": {"x": many}}), NOT_HTTP);
    }

    #[test]
    fn the_type_says_how_a_string_is_sent() {
        for (declared, body, shown, bytes) in [
            ("text/plain", "plain", "text/plain; charset=UTF-8", &b"plain"[..]),
            ("text/css", "a{}", "text/css; charset=UTF-8", b"a{}"),
            ("text/plain; charset=iso-8859-1", "é", "text/plain; charset=UTF-8", "é".as_bytes()),
            ("application/xml", "<a/>", "application/xml; charset=UTF-8", b"<a/>"),
            ("application/javascript", "1", "application/javascript; charset=UTF-8", b"1"),
            ("application/json", "{\"a\":1}", "application/json", b"{\"a\":1}"),
            ("application/json", "eyJhIjoxfQ==", "application/json", b"{\"a\":1}"),
            ("application/json", "1234", "application/json", b"1234"),
            ("application/vnd.new+json", "{\"a\":1}", "application/vnd.new+json", b"{\"a\":1}"),
            ("image/png", "iVBORw0KGgo=", "image/png", b"\x89PNG\r\n\x1a\n"),
            ("application/octet-stream", "AAEC/w", "application/octet-stream", b"\0\x01\x02\xff"),
        ] {
            check(json!({"headers": {"Content-Type": declared}, "body": body}), 200, &[("content-type", shown)], bytes);
        }
        let api = json!({"headers": {"content-type": "application/vnd.api+json"}, "body": {"a": 1}});
        check(api, 200, &[("content-type", "application/vnd.api+json")], "{\n  \"a\": 1\n}");
    }

    #[test]
    fn type_and_body_must_agree() {
        for (declared, body, words) in [
            (json!("image/png"), json!("not base64!"), MISMATCH),
            (json!("image/svg+xml"), json!("<svg/>"), MISMATCH),
            (json!("text/plain"), json!({"a": 1}), MISMATCH),
            (json!("image/png"), json!({"a": 1}), MISMATCH),
            (json!("text/html"), json!(5), MISMATCH),
            (json!("nonsense"), json!("x"), UNKNOWN),
            (json!(""), json!("x"), UNKNOWN),
            (json!(5), json!("x"), UNKNOWN),
        ] {
            refused(json!({"headers": {"content-type": declared}, "body": body}), words);
        }
    }

    #[test]
    fn what_is_no_object_is_no_answer() {
        for result in [json!([1, 2]), json!([]), json!("plain"), json!(null), json!(5)] {
            refused(result, NOT_HTTP);
        }
    }
}
