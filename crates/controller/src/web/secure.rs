//! Who may call a web action: everyone, unless `require-whisk-auth` says otherwise.

use http::HeaderMap;
use serde_json::Value;
use subtle::ConstantTimeEq;
use whisker_entity::{Identity, Parameters};

/// The annotation.
const REQUIRE_WHISK_AUTH: &str = "require-whisk-auth";
/// The header that carries a secret. A secret is no key: it opens this action only.
const SECRET: &str = "x-require-whisk-auth";

/// Whether a request may pass. `true` asks for any valid key, a text or a
/// number for itself in a header; what is none of these lets nobody pass.
pub fn allows(annotations: &Parameters, headers: &HeaderMap, caller: Option<&Identity>) -> bool {
    let secret = |expected: &str| {
        let given = headers.get(SECRET).map_or(&b""[..], |value| value.as_bytes());
        headers.contains_key(SECRET) & bool::from(given.ct_eq(expected.as_bytes()))
    };
    match annotations.get(REQUIRE_WHISK_AUTH) {
        None | Some(Value::Bool(false)) => true,
        Some(Value::Bool(true)) => caller.is_some(),
        Some(Value::String(expected)) => secret(expected),
        Some(Value::Number(expected)) => secret(&expected.to_string()),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;
    use whisker_entity::{AuthKey, NamespaceLimits};

    use super::*;

    #[test]
    fn each_kind_of_annotation_asks_for_something_else() {
        let somebody = Identity {
            subject: "somebody".into(),
            namespace: "somebody".parse().expect("a name"),
            key: AuthKey::parse(&format!("u:{}", "k".repeat(64))).expect("a key"),
            limits: NamespaceLimits::default(),
        };
        for (annotation, header, known, allowed) in [
            (None, None, false, true),
            (Some(json!(false)), None, false, true),
            (Some(json!(true)), None, false, false),
            (Some(json!(true)), Some("true"), false, false),
            (Some(json!(true)), None, true, true),
            (Some(json!("s3cret")), Some("s3cret"), false, true),
            (Some(json!("s3cret")), Some("s3cre"), false, false),
            (Some(json!("s3cret")), Some(""), false, false),
            (Some(json!("s3cret")), None, true, false),
            (Some(json!("")), None, false, false),
            (Some(json!(12345)), Some("12345"), false, true),
            (Some(json!(12345)), Some("1"), false, false),
            (Some(json!({"a": 1})), None, true, false),
            (Some(json!(null)), None, true, false),
        ] {
            let mut annotations = Parameters::default();
            annotation.iter().for_each(|value| annotations.set_value(REQUIRE_WHISK_AUTH, value.clone()));
            let mut headers = HeaderMap::new();
            header.iter().for_each(|value| drop(headers.insert(SECRET, HeaderValue::from_static(value))));
            let caller = known.then_some(&somebody);
            assert_eq!(allows(&annotations, &headers, caller), allowed, "{annotation:?} {header:?} {known}");
        }
    }
}
