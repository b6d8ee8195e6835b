//! From an action's outcome to a response, as the extension says.

use http::{HeaderValue, StatusCode, header};
use serde_json::value::RawValue;
use whisker_api::messages;
use whisker_entity::{Response, Status};

use super::{
    json::{self, Kind},
    path::Extension,
    response,
};
use crate::{rejection::Rejection, reply::Reply};

/// The response to show for an outcome. What an action calls an error is its
/// answer as well: the value of `error` goes the way of any result.
pub fn transcode(extension: Extension, outcome: &Response) -> Result<Reply, Rejection> {
    let result = outcome.result.as_deref().unwrap_or(RawValue::NULL);
    let shown = match outcome.status {
        Status::Success => result,
        Status::ApplicationError => {
            json::members(result).and_then(|fields| fields.get("error")).ok_or(Rejection::PropertyMissing)?
        }
        // What went wrong is told to the action's owner, in the record.
        Status::DeveloperError | Status::WhiskError => return Err(Rejection::Bad(messages::WEB_ERROR.into())),
    };
    match extension {
        Extension::Http => response::http(shown),
        Extension::Json => match json::kind(shown) {
            Kind::Object | Kind::Array => Ok(Reply::json_text(StatusCode::OK, json::pretty(shown))),
            _ => Err(invalid("application/json")),
        },
        Extension::Html => string(shown, "html", "text/html; charset=UTF-8"),
        Extension::Svg => string(shown, "svg", "image/svg+xml"),
        Extension::Text => {
            let value = projected(shown, "text").ok_or(Rejection::PropertyMissing)?;
            let text = json::string(value).unwrap_or_else(|| json::pretty(value));
            Ok(Reply::text(StatusCode::OK, text))
        }
    }
}

/// The part of a result that an extension shows: its `body`, or what is called
/// as the extension is; of what is no object, all.
fn projected<'a>(result: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    match json::members(result) {
        Some(fields) => fields.get("body").or_else(|| fields.get(name)),
        None => Some(result),
    }
}

/// A part that must be a string.
fn string(result: &RawValue, name: &str, content_type: &'static str) -> Result<Reply, Rejection> {
    let media = content_type.split(';').next().unwrap_or(content_type);
    let text = projected(result, name).and_then(json::string).ok_or_else(|| invalid(media))?;
    Ok(Reply::bytes(StatusCode::OK, text).with(header::CONTENT_TYPE, HeaderValue::from_static(content_type)))
}

fn invalid(media: &str) -> Rejection {
    Rejection::Bad(messages::invalid_media(media))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use http_body_util::BodyExt;
    use whisker_entity::TransactionId;

    use super::*;

    /// What is sent for a result: type and body, or the words of the refusal.
    fn sent(extension: Extension, result: &str) -> Result<(String, String), Rejection> {
        let value = RawValue::from_string(result.into()).expect(result);
        let status = if result.starts_with("{\"error\"") { Status::ApplicationError } else { Status::Success };
        let reply = transcode(extension, &Response { status, result: Some(value), size: None })?;
        assert_eq!(reply.status(), StatusCode::OK, "{result}");
        let content_type = reply.content_type().unwrap_or("").to_owned();
        let body = reply.finish(&TransactionId::generate(1, 2), false).into_body();
        let body = body.collect().now_or_never().expect("a whole body").expect("a body").to_bytes();
        Ok((content_type, String::from_utf8_lossy(&body).into_owned()))
    }

    #[track_caller]
    fn check(extension: Extension, content_type: &str, table: &[(&str, Result<&str, Rejection>)]) {
        for (result, expected) in table {
            let expected = expected.clone().map(|body| (content_type.to_owned(), body.to_owned()));
            assert_eq!(sent(extension, result), expected, "{result}");
        }
    }

    #[test]
    fn json_is_the_whole_result() {
        let bad = Rejection::Bad("Response is not valid 'application/json'.".into());
        check(
            Extension::Json,
            "application/json",
            &[
                (r#"{"statusCode":404,"body":1e400}"#, Ok("{\n  \"statusCode\": 404,\n  \"body\": 1e400\n}")),
                ("{}", Ok("{}")),
                (r#"[1,{"a":2}]"#, Ok("[1, {\n  \"a\": 2\n}]")),
                (r#"{"error":{"a":1}}"#, Ok("{\n  \"a\": 1\n}")),
                (r#"{"error":"text"}"#, Err(bad)),
            ],
        );
    }

    #[test]
    fn html_is_a_string_of_the_result() {
        let bad = || Err(Rejection::Bad("Response is not valid 'text/html'.".into()));
        check(
            Extension::Html,
            "text/html; charset=UTF-8",
            &[
                (r#"{"html":"<b>h</b>"}"#, Ok("<b>h</b>")),
                (r#"{"body":"<i>b</i>","html":"<b>h</b>"}"#, Ok("<i>b</i>")),
                (r#"{"html":"<b>h</b>","statusCode":201,"headers":{"x-test":"1"}}"#, Ok("<b>h</b>")),
                (r#"{"error":"e"}"#, Ok("e")),
                (r#"{"error":{"html":"<u>e</u>"}}"#, Ok("<u>e</u>")),
                (r#"{"other":1}"#, bad()),
                (r#"{"html":5}"#, bad()),
                (r#"{"body":{"a":1}}"#, bad()),
                (r#"{"body":null,"html":"h"}"#, bad()),
                ("{}", bad()),
                ("[1]", bad()),
            ],
        );
    }

    #[test]
    fn svg_is_a_string_of_the_result() {
        let bad = || Err(Rejection::Bad("Response is not valid 'image/svg+xml'.".into()));
        check(
            Extension::Svg,
            "image/svg+xml",
            &[
                (r#"{"svg":"<svg/>"}"#, Ok("<svg/>")),
                (r#"{"body":"<svg/>"}"#, Ok("<svg/>")),
                (r#"{"error":{"svg":"<svg/>"}}"#, Ok("<svg/>")),
                (r#"{"svg":5}"#, bad()),
                ("{}", bad()),
            ],
        );
    }

    #[test]
    fn text_is_any_part_of_the_result() {
        check(
            Extension::Text,
            "text/plain; charset=UTF-8",
            &[
                (r#"{"text":"t"}"#, Ok("t")),
                (r#"{"body":"b","text":"t"}"#, Ok("b")),
                (
                    r#"{"text":{"a":[1,2],"b":{"c":null}}}"#,
                    Ok("{\n  \"a\": [1, 2],\n  \"b\": {\n    \"c\": null\n  }\n}"),
                ),
                (r#"{"text":5}"#, Ok("5")),
                (r#"{"text":1.5}"#, Ok("1.5")),
                (r#"{"text":true}"#, Ok("true")),
                (r#"{"text":null}"#, Ok("null")),
                (r#"{"text":[1,"two"]}"#, Ok("[1, \"two\"]")),
                (r#"{"error":"e"}"#, Ok("e")),
                ("[1,2]", Ok("[1, 2]")),
                (r#"{"other":1}"#, Err(Rejection::PropertyMissing)),
            ],
        );
    }

    #[test]
    fn a_failure_tells_nothing() {
        for status in [Status::DeveloperError, Status::WhiskError] {
            let outcome = Response::error(status, "at /secret/path.js:1");
            let refused = transcode(Extension::Json, &outcome).map(|_| ());
            assert_eq!(refused, Err(Rejection::Bad("There was an error processing your request.".into())));
        }
    }
}
