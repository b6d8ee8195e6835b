//! The bodies that create, update and switch a rule.

use serde_json::Value;
use whisker_entity::{EntityName, EntityPath, Parameters, QualifiedName, RuleStatus, Version};

use crate::{BodyError, Fields, parse_json};

/// A body that creates or updates a rule: what is absent stays as it is. A new
/// rule needs both trigger and action.
#[derive(Debug, Default)]
pub struct RulePut {
    /// What fires it.
    pub trigger: Option<QualifiedName>,
    /// What it invokes.
    pub action: Option<QualifiedName>,
    /// Replaces all annotations.
    pub annotations: Option<Parameters>,
    /// The version to give it.
    pub version: Option<Version>,
    /// Kept for clients.
    pub publish: Option<bool>,
}

impl RulePut {
    /// Reads and checks a body. `namespace` is what `_` means in it;
    /// annotations may take `max_bytes`.
    pub fn parse(body: &[u8], namespace: &EntityName, max_bytes: u64) -> Result<Self, BodyError> {
        let mut fields = Fields::parse(body)?;
        let (_, annotations) = fields.parameters_and_annotations(max_bytes)?;
        let mut reference = |member| fields.take(member).map(|value| read_reference(&value, namespace)).transpose();
        let (trigger, action) = (reference("trigger")?, reference("action")?);
        Ok(Self { trigger, action, annotations, version: fields.version()?, publish: fields.publish()? })
    }
}

/// `"/ns/[pkg/]name"` or `{"path":"ns[/pkg]","name"}`, where `_` is the
/// caller's namespace.
pub(crate) fn read_reference(value: &Value, namespace: &EntityName) -> Result<QualifiedName, BodyError> {
    let malformed = || BodyError::malformed("fully qualified name malformed");
    let mut name = match value {
        Value::String(text) if text.is_empty() => {
            return Err(BodyError::malformed("requirement failed: path undefined"));
        }
        Value::String(text) if text.split('/').filter(|segment| !segment.is_empty()).count() < 2 => {
            return Err(BodyError::malformed(
                "requirement failed: The fully qualified name of the entity must contain at least the namespace and \
                 the name of the entity.",
            ));
        }
        Value::String(text) => QualifiedName::parse(text.trim_end_matches('/')).map_err(|_| malformed())?,
        Value::Object(reference) => {
            let text = |member| reference.get(member).and_then(Value::as_str);
            let path = text("path").and_then(|path| EntityPath::parse(path).ok()).ok_or_else(malformed)?;
            let name = text("name").and_then(|name| EntityName::new(name).ok()).ok_or_else(malformed)?;
            QualifiedName::new(path, name)
        }
        _ => return Err(malformed()),
    };
    if name.path.namespace.as_str() == "_" {
        name.path.namespace = namespace.clone();
    }
    Ok(name)
}

/// Reads the body that switches a rule on or off: `{"status":"active"}`.
pub fn parse_rule_status(body: &[u8]) -> Result<RuleStatus, BodyError> {
    let Value::Object(body) = parse_json(body)? else {
        return Err(BodyError::malformed("JSON object expected"));
    };
    match body.get("status") {
        None => Err(BodyError::malformed("key not found: status")),
        Some(Value::String(text)) => match text.as_str() {
            "active" => Ok(RuleStatus::Active),
            "inactive" => Ok(RuleStatus::Inactive),
            other => Err(BodyError::malformed(format!("requirement failed: {other} is not a recognized rule state"))),
        },
        Some(other) => Err(BodyError::malformed(format!("{other} is not a recognized rule state"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(error: BodyError) -> String {
        error.to_string().replace("The request content was malformed:\n", "~")
    }

    fn trigger(value: &str) -> Result<Option<String>, String> {
        let body = format!(r#"{{"trigger":{value}}}"#);
        let put = RulePut::parse(body.as_bytes(), &"guest".parse().expect("a name"), 100);
        put.map(|put| put.trigger.map(|name| name.to_string())).map_err(words)
    }

    #[test]
    fn parts_are_named_by_path_or_object() {
        for (value, name) in [
            (r#""/_/t""#, "guest/t"),
            (r#""ns/t""#, "ns/t"),
            (r#""/ns/p/a""#, "ns/p/a"),
            (r#"{"path":"_","name":"t"}"#, "guest/t"),
            (r#"{"path":"ns/p","name":"a"}"#, "ns/p/a"),
        ] {
            assert_eq!(trigger(value), Ok(Some(name.into())), "{value}");
        }
        assert_eq!(trigger("null"), Ok(None));
        for bad in ["5", r#"{"name":"a"}"#, r#"{"path":"_","name":"-a"}"#, r#""/_/-t""#, r#""/a/b/c/d""#] {
            assert_eq!(trigger(bad), Err("~fully qualified name malformed".into()), "{bad}");
        }
        assert_eq!(trigger(r#""""#), Err("~requirement failed: path undefined".into()));
        assert!(trigger(r#""t""#).is_err_and(|text| text.contains("must contain at least the namespace")));
    }

    #[test]
    fn a_rule_is_active_or_inactive() {
        for (body, status) in [
            (r#"{"status":"active"}"#, Ok(RuleStatus::Active)),
            (r#"{"status":"inactive","more":1}"#, Ok(RuleStatus::Inactive)),
            (r#"{"status":"ACTIVE"}"#, Err("~requirement failed: ACTIVE is not a recognized rule state")),
            ("{}", Err("~key not found: status")),
            (r#"{"status":5}"#, Err("~5 is not a recognized rule state")),
            ("[]", Err("~JSON object expected")),
        ] {
            assert_eq!(parse_rule_status(body.as_bytes()).map_err(words), status.map_err(str::to_owned), "{body}");
        }
    }
}
