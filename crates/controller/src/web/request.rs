//! A request as a web action's arguments.
//!
//! Two ways, and the action says which. Parsed: query, JSON objects and forms
//! become arguments of their own names, the body over the query. Raw: query
//! and body arrive whole, as `__ow_query` and `__ow_body`. Both ways the
//! request itself is told in further `__ow_*` arguments, which no query and no
//! body can forge.
//!
//! JSON has no bytes, so a body that is not text arrives in base64; see
//! [`media`](super::media) for which is which.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use whisker_api::{BodyError, Payload, messages};
use whisker_entity::EntityName;

use super::media::{Form, Media};
use crate::rejection::Rejection;

const METHOD: &str = "__ow_method";
const HEADERS: &str = "__ow_headers";
const PATH: &str = "__ow_path";
const USER: &str = "__ow_user";
const QUERY: &str = "__ow_query";
const BODY: &str = "__ow_body";

/// Names that neither query nor body may define. Others that begin alike may
/// be, as in OpenWhisk.
const RESERVED: [&str; 6] = [METHOD, HEADERS, PATH, USER, QUERY, BODY];

/// A request for a web action, read whole.
pub struct Asked<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// What follows `?`, as it was sent.
    pub query: &'a str,
    /// What follows the action in the path, as it was sent.
    pub path: &'a str,
    /// Its body.
    pub body: &'a [u8],
    /// Who asks, if that is known.
    pub caller: Option<&'a EntityName>,
}

type Member = (String, Box<RawValue>);

impl Asked<'_> {
    /// What query and body say, parsed. Whether it may be said of a `final`
    /// action is the caller's to check.
    pub fn parsed(&self) -> Result<Payload, Rejection> {
        let query = pairs(self.query.as_bytes()).map(text_member);
        let media = self.media();
        let (spread, whole): (Payload, Option<Box<RawValue>>) = match &media {
            None => Default::default(),
            Some(media) if media.is_json() && self.body.is_empty() => Default::default(),
            Some(media) if media.is_json() => json(self.body)?,
            Some(media) if media.essence() == "application/x-www-form-urlencoded" => {
                (pairs(self.body).map(text_member).collect(), None)
            }
            Some(media) => (Payload::default(), Some(text(&as_text(media, self.body)))),
        };
        let given: Payload = query.chain(spread).collect();
        if given.names().any(|name| RESERVED.contains(&name)) {
            return Err(Rejection::Bad(messages::PARAMETERS_NOT_ALLOWED.into()));
        }
        Ok(given.into_iter().chain(whole.map(|body| (BODY.to_owned(), body))).collect())
    }

    /// Query and body, whole.
    pub fn raw(&self) -> Payload {
        let body = self.media().map_or_else(String::new, |media| {
            // OpenWhisk does not take JSON for text here.
            let bytes = media.essence() == "application/json";
            if bytes { STANDARD.encode(self.body) } else { as_text(&media, self.body) }
        });
        [(QUERY, normalised(self.query)), (BODY, body)].into_iter().map(text_member).collect()
    }

    /// All arguments: what was given, and what is told of the request.
    pub fn arguments(&self, given: Payload) -> Payload {
        let told = [(METHOD, self.method.as_str().to_ascii_lowercase()), (PATH, self.path.to_owned())];
        let caller = self.caller.map(|caller| (USER, caller.as_str().to_owned()));
        let headers = (HEADERS.to_owned(), any(&Headers(self)));
        told.into_iter().chain(caller).map(text_member).chain([headers]).chain(given).collect()
    }

    /// The type of the body. Without body and type there is none; a body
    /// without a type, or with one that makes no sense, is mere bytes.
    fn media(&self) -> Option<Media> {
        let declared = self.headers.get(header::CONTENT_TYPE);
        if declared.is_none() && self.body.is_empty() {
            return None;
        }
        let declared = declared.and_then(|value| value.to_str().ok()).and_then(Media::parse);
        Some(declared.unwrap_or_else(|| Media::known("application/octet-stream")))
    }
}

/// A JSON body: the members of an object, or any other value whole.
fn json(body: &[u8]) -> Result<(Payload, Option<Box<RawValue>>), BodyError> {
    // Syntax first, since what is told of an error is where it is.
    let value: &RawValue = serde_json::from_slice(body).map_err(|e| BodyError::malformed(e.to_string()))?;
    if value.get().starts_with('{') {
        return Ok((Payload::parse(body)?, None));
    }
    // Within an object it is held to the same depth as an object.
    let mut wrapped = Payload::parse(format!("{{\"{BODY}\":{}}}", value.get()).as_bytes())?;
    Ok((Payload::default(), wrapped.take(BODY)))
}

/// A body as a string: text as it is, bytes in base64.
fn as_text(media: &Media, body: &[u8]) -> String {
    match media.form() {
        Form::Bytes => STANDARD.encode(body),
        Form::Text | Form::Utf8 => String::from_utf8_lossy(body).into_owned(),
    }
}

/// The pairs of a query or a form, decoded. What is no proper encoding stands
/// for itself, what is not UTF-8 becomes U+FFFD.
fn pairs(text: &[u8]) -> impl Iterator<Item = (String, String)> {
    let decode = |text: &[u8]| {
        let spaced: Vec<u8> = text.iter().map(|&b| if b == b'+' { b' ' } else { b }).collect();
        percent_decode(&spaced).decode_utf8_lossy().into_owned()
    };
    text.split(|&b| b == b'&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let end = pair.iter().position(|&b| b == b'=').unwrap_or(pair.len());
        (decode(&pair[..end]), decode(pair.get(end + 1..).unwrap_or_default()))
    })
}

/// A query as OpenWhisk tells it to raw actions: decoded and encoded again, so
/// that a space is always `+`.
fn normalised(query: &str) -> String {
    /// What is encoded within a name or a value.
    const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~')
        .remove(b'!')
        .remove(b'$')
        .remove(b'\'')
        .remove(b'(')
        .remove(b')')
        .remove(b'*')
        .remove(b',')
        .remove(b';')
        .remove(b':')
        .remove(b'@')
        .remove(b'/')
        .remove(b'?')
        .remove(b' ');
    let again = |text: &[u8]| {
        let spaced: Vec<u8> = text.iter().map(|&b| if b == b'+' { b' ' } else { b }).collect();
        let decoded: Vec<u8> = percent_decode(&spaced).collect();
        percent_encode(&decoded, ENCODED).to_string().replace(' ', "+")
    };
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, value)) => format!("{}={}", again(name.as_bytes()), again(value.as_bytes())),
        None => again(pair.as_bytes()),
    };
    query.split('&').map(pair).collect::<Vec<_>>().join("&")
}

fn text_member((name, value): (impl Into<String>, String)) -> Member {
    (name.into(), text(&value))
}

fn text(value: &str) -> Box<RawValue> {
    any(value)
}

fn any(value: &(impl Serialize + ?Sized)) -> Box<RawValue> {
    // Texts and maps of texts can always be written.
    to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// The headers, each once: of several the last counts.
struct Headers<'a>(&'a Asked<'a>);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let headers = self.0.headers;
        // These frame the message, which is no longer one.
        let framing = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONTENT_TYPE];
        let told = headers.keys().filter(|name| !framing.contains(name)).filter_map(|name| {
            let last = headers.get_all(name).iter().next_back()?;
            Some((name.as_str(), as_sent(last)))
        });
        let media = self.0.media().map(|media| (header::CONTENT_TYPE.as_str(), media.told()));
        serializer.collect_map(told.chain(media))
    }
}

/// A header's value: UTF-8, or else the Latin-1 that HTTP once said it was.
fn as_sent(value: &HeaderValue) -> String {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => value.as_bytes().iter().copied().map(char::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use serde_json::{Value, json};

    use super::*;

    /// A request, told shortly.
    struct Sent {
        method: Method,
        headers: HeaderMap,
        query: &'static str,
        body: Vec<u8>,
    }

    fn sent(query: &'static str, content_type: &'static str, body: impl Into<Vec<u8>>) -> Sent {
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        Sent { method: Method::POST, headers, query, body: body.into() }
    }

    impl Sent {
        fn asked(&self) -> Asked<'_> {
            Asked {
                method: &self.method,
                headers: &self.headers,
                query: self.query,
                path: "",
                body: &self.body,
                caller: None,
            }
        }

        fn parsed(&self) -> Result<Value, Rejection> {
            self.asked().parsed().map(|payload| value(&payload))
        }
    }

    fn value(payload: &Payload) -> Value {
        serde_json::from_str(payload.to_text().get()).expect("JSON")
    }

    #[test]
    fn queries_become_strings_and_the_last_of_a_name_counts() {
        for (query, arguments) in [
            ("", json!({})),
            ("a=1&b=two%20words&c=&d&e=x+y", json!({"a": "1", "b": "two words", "c": "", "d": "", "e": "x y"})),
            ("a=1&a=2", json!({"a": "2"})),
            ("%D0%BA=%E5%80%A4", json!({"к": "値"})),
            ("a[]=1&a[]=2&&x=%zz%ff", json!({"a[]": "2", "x": "%zz\u{fffd}"})),
            ("a=b=c", json!({"a": "b=c"})),
        ] {
            assert_eq!(sent(query, "", "").parsed(), Ok(arguments), "{query}");
        }
    }

    #[test]
    fn bodies_are_spread_or_arrive_whole() {
        for (content_type, body, arguments) in [
            ("application/json", r#"{"a":1,"b":{"c":[true]}}"#, json!({"a": 1, "b": {"c": [true]}})),
            ("application/json", "[1,2]", json!({"__ow_body": [1, 2]})),
            ("application/json", "\"text\"", json!({"__ow_body": "text"})),
            ("application/json", " 5 ", json!({"__ow_body": 5})),
            ("application/json", "null", json!({"__ow_body": null})),
            ("application/vnd.x+json", r#"{"a":1}"#, json!({"a": 1})),
            ("application/json", "", json!({})),
            (
                "application/x-www-form-urlencoded",
                "a=1&b=two+words&c=%26",
                json!({"a": "1", "b": "two words", "c": "&"}),
            ),
            ("application/x-www-form-urlencoded", "", json!({})),
            ("text/plain", "plain text", json!({"__ow_body": "plain text"})),
            ("text/plain; charset=utf-8", "café", json!({"__ow_body": "café"})),
            ("application/xml", "<a/>", json!({"__ow_body": "<a/>"})),
            ("application/octet-stream", "\0\u{1}", json!({"__ow_body": "AAE="})),
            ("image/png", "", json!({"__ow_body": ""})),
            ("", "no type", json!({"__ow_body": "bm8gdHlwZQ=="})),
            ("nonsense", "no type", json!({"__ow_body": "bm8gdHlwZQ=="})),
            ("multipart/form-data; boundary=b", "--b--", json!({"__ow_body": "LS1iLS0="})),
        ] {
            assert_eq!(sent("", content_type, body).parsed(), Ok(arguments), "{content_type} {body}");
        }
        let both = sent("a=query&q=1", "application/json", r#"{"a":"body"}"#);
        assert_eq!(both.parsed(), Ok(json!({"a": "body", "q": "1"})));
    }

    #[test]
    fn reserved_names_are_refused() {
        let refused = Err(Rejection::Bad(messages::PARAMETERS_NOT_ALLOWED.into()));
        for name in RESERVED {
            let query: &'static str = format!("{name}=x").leak();
            assert_eq!(sent(query, "", "").parsed(), refused, "{name}");
            assert_eq!(sent("", "application/json", format!("{{\"{name}\":1}}")).parsed(), refused, "{name}");
            assert_eq!(sent("", "application/x-www-form-urlencoded", query).parsed(), refused, "{name}");
        }
        assert_eq!(sent("__ow_other=x", "", "").parsed(), Ok(json!({"__ow_other": "x"})));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for body in
            ["{bad".to_owned(), "{} x".into(), "[".repeat(100_000), format!("{}{}", "[".repeat(2000), "]".repeat(2000))]
        {
            let refused = sent("", "application/json", body).parsed();
            assert!(matches!(refused, Err(Rejection::Body(_))), "{refused:?}");
        }
        assert!(sent("", "application/json", *b"{\"a\":\"\xff\"}").parsed().is_err());
    }

    #[test]
    fn raw_actions_get_query_and_body_whole() {
        for (query, content_type, body, told_query, told_body) in [
            ("a=1&b=two%20words&c", "", "", "a=1&b=two+words&c", ""),
            ("q=%C3%A9%26%2b;/?", "application/json", r#"{"a":1}"#, "q=%C3%A9%26%2B;/?", "eyJhIjoxfQ=="),
            ("", "text/plain", "plain", "", "plain"),
            ("", "application/octet-stream", "\0", "", "AA=="),
            ("", "application/x-www-form-urlencoded", "a=1&b=2", "", "a=1&b=2"),
            ("", "application/json", "", "", ""),
            ("__ow_method=x", "application/json", "{bad", "__ow_method=x", "e2JhZA=="),
            ("", "application/problem+json", "{}", "", "{}"),
        ] {
            let raw = value(&sent(query, content_type, body).asked().raw());
            assert_eq!(raw, json!({"__ow_query": told_query, "__ow_body": told_body}), "{query} {content_type} {body}");
        }
    }

    #[test]
    fn the_request_is_told_beside_what_it_says() {
        let mut sent = sent("a=1", "Text/Plain; charset=utf-8", "x");
        for (name, value) in [("x-test", &b"1"[..]), ("x-test", b"2"), ("cookie", b"a=b; c=d"), ("x-latin", b"\xe9")] {
            sent.headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a value"));
        }
        sent.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("1"));
        let caller = EntityName::new("guest").expect("a name");
        let asked = Asked { path: "/x/y", caller: Some(&caller), ..sent.asked() };
        let arguments = asked.arguments(asked.parsed().expect("arguments"));
        let told = json!({
            "__ow_method": "post",
            "__ow_path": "/x/y",
            "__ow_user": "guest",
            "__ow_headers": {
                "x-test": "2", "cookie": "a=b; c=d", "x-latin": "é", "content-type": "text/plain; charset=UTF-8",
            },
            "__ow_body": "x",
            "a": "1",
        });
        assert_eq!(value(&arguments), told);
    }
}
