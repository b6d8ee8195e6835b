//! Headers that answers have in common, by a word.
//!
//! Recorded answers spell out each of their headers. In scenarios that people
//! write and read, `"like": "rest"` stands for those that every answer of the
//! REST API carries, so that only what a scenario is about catches the eye.

use serde_json::{Map, Value, json};

/// What answers that let any page read them carry.
const ALLOWED_HEADERS: &str = "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent";

/// The headers that a word stands for.
fn common(word: &str) -> Value {
    match word {
        // An answer of the REST API.
        "rest" => json!({
            "access-control-allow-origin": "*",
            "access-control-allow-headers": ALLOWED_HEADERS,
            "access-control-allow-methods": "GET, DELETE, POST, PUT, HEAD",
            "content-type": "application/json",
        }),
        // The same with the activation that a request made.
        "activation" => with("rest", json!({"x-openwhisk-activation-id": "${activationId}"})),
        // A refusal from before any handler: it carries no CORS headers.
        "refusal" => json!({"content-type": "application/json"}),
        // A refusal that asks for credentials.
        "challenge" => {
            with("refusal", json!({"www-authenticate": "Basic realm=\"OpenWhisk secure realm\",charset=UTF-8"}))
        }
        // An answer about a web action that did not run.
        "web" => json!({
            "access-control-allow-origin": "*",
            "access-control-allow-headers": ALLOWED_HEADERS,
            "access-control-allow-methods": "OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH",
            "content-type": "application/json",
        }),
        // An answer of a web action.
        "web activation" => with("web", json!({"x-openwhisk-activation-id": "${activationId}"})),
        _ => panic!("no answer is like {word:?}"),
    }
}

fn with(word: &str, more: Value) -> Value {
    let mut headers = common(word);
    if let (Some(headers), Value::Object(more)) = (headers.as_object_mut(), more) {
        headers.extend(more);
    }
    headers
}

/// Puts the headers that `like` stands for into an answer. Those that are
/// spelled out count for more; `null` takes one away.
pub fn fill_in(response: &mut Value) {
    let Some(word) = response.as_object_mut().and_then(|response| response.shift_remove("like")) else { return };
    let mut headers = common(word.as_str().unwrap_or_else(|| panic!("`like` is a word, not {word}")));
    let own: Map<String, Value> = response["headers"].as_object().cloned().unwrap_or_default();
    for (name, value) in own {
        headers[name] = value;
    }
    if let Some(headers) = headers.as_object_mut() {
        headers.retain(|_, value| !value.is_null());
    }
    response["headers"] = headers;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stands_for_headers() {
        let mut response = json!({"status": 200, "like": "challenge", "headers": {"content-type": null, "x-a": "1"}});
        fill_in(&mut response);
        let challenge = "Basic realm=\"OpenWhisk secure realm\",charset=UTF-8";
        assert_eq!(response, json!({"status": 200, "headers": {"www-authenticate": challenge, "x-a": "1"}}));
    }
}
