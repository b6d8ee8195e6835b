//! What holds for any request and any result, whoever wrote them: nothing
//! panics, nothing is forged, nothing is smuggled out.
//!
//! Random tests and the fuzz targets share these checks.

use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::{Map, Value, value::RawValue};
use whisker_entity::{Response, Status, TransactionId};

use super::{
    json,
    media::Media,
    path::{Extension, Target},
    request::Asked,
    transcode::transcode,
};

/// A request: a line of path, one of query, one of content type, a body.
pub fn request(bytes: &[u8]) {
    let mut parts = bytes.splitn(4, |&b| b == b'\n');
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (path, query, content_type) = (text(), text(), text());
    let body = parts.next().unwrap_or_default();

    if let Some(target) = Target::parse(&path) {
        assert!(target.rest.is_empty() || target.rest.starts_with('/'), "{path:?}");
        assert!(path.ends_with(&target.rest), "{path:?}");
    }
    if let Some(media) = Media::parse(&content_type) {
        for shown in [media.told(), media.declared(media.form())] {
            assert!(HeaderValue::from_str(&shown).is_ok(), "{content_type:?}");
            assert_eq!(Media::parse(&shown).map(|again| again.essence().to_owned()), Some(media.essence().into()));
        }
    }
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(content_type.as_bytes()) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    let asked = Asked { method: &Method::POST, headers: &headers, query: &query, path: "/p", body, caller: None };
    for given in asked.parsed().into_iter().chain([asked.raw()]) {
        let arguments = asked.arguments(given).to_text();
        assert!(!arguments.get().contains(['\n', '\r']), "arguments are one line");
        // Not every number fits our own type, and none must.
        let Ok(arguments) = serde_json::from_str::<Map<String, Value>>(arguments.get()) else { continue };
        assert_eq!(arguments["__ow_method"], "post");
        assert_eq!(arguments["__ow_path"], "/p");
        assert!(arguments["__ow_headers"].is_object());
        assert!(!arguments.contains_key("__ow_user"));
    }
}

/// A result, as JSON.
pub fn result(text: &str) {
    let Ok(value) = RawValue::from_string(text.to_owned()) else { return };
    if let Ok(parsed) = serde_json::from_str::<Value>(text) {
        let again = serde_json::from_str(&json::pretty(&value));
        assert_eq!(again.ok(), Some(parsed), "layout changes space alone");
    }
    let extensions = [Extension::Http, Extension::Json, Extension::Html, Extension::Svg, Extension::Text];
    for (extension, status) in
        extensions.into_iter().flat_map(|e| [(e, Status::Success), (e, Status::ApplicationError)])
    {
        let Ok(reply) = transcode(extension, &Response { status, result: Some(value.clone()), size: None }) else {
            continue;
        };
        assert!((200..600).contains(&reply.status().as_u16()), "{text}");
        let response = reply.finish(&TransactionId::generate(1, 2), false);
        for (name, value) in response.headers() {
            assert!(!value.as_bytes().iter().any(|b| matches!(b, b'\r' | b'\n' | 0)), "{name} in {text}");
        }
        for ours in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION] {
            assert!(!response.headers().contains_key(&ours), "{ours} in {text}");
        }
        assert!(response.headers().get_all(header::CONTENT_TYPE).iter().count() <= 1, "{text}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// A text that is likely to mean something to the code that reads it.
    fn word() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[a-z/.;=+%&\"\\\\ \r\n_-]{0,12}",
            proptest::sample::select(vec![
                "__ow_method",
                "__ow_body",
                "application/json",
                "application/x-www-form-urlencoded",
                "text/html; charset=utf-8",
                "image/png",
                "/web/ns/default/say.json/rest",
                "aGVsbG8=",
                "set-cookie",
                "content-type",
                "Content-Length",
                "x\r\ny: z",
                "",
            ])
            .prop_map(str::to_owned),
        ]
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-10i64..700).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            word().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            let names = prop_oneof![
                word(),
                proptest::sample::select(vec!["statusCode", "headers", "body", "html", "text", "svg", "error"])
                    .prop_map(str::to_owned),
            ];
            prop_oneof![
                vec(inner.clone(), 0..5).prop_map(Value::from),
                vec((names, inner), 0..6).prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_request_becomes_arguments_or_is_refused(words in vec(word(), 0..8), body in value(), json in any::<bool>()) {
            let mut text = words.join("\n");
            if json {
                text = format!("\nq=1\napplication/json\n{body}");
            }
            request(text.as_bytes());
        }

        #[test]
        fn any_result_becomes_a_response_or_is_refused(value in value()) {
            result(&value.to_string());
        }
    }
}
