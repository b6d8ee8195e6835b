//! The body that creates or updates a package or a binding.

use serde_json::{Map, Value};
use whisker_entity::{Binding, EntityName, EntityPath, Parameters, QualifiedName, Version};

use crate::{BodyError, Fields};

/// A body that creates or updates a package: what is absent stays as it is, or
/// takes its default.
#[derive(Debug, Default)]
pub struct PackagePut {
    /// Makes it a binding to this package.
    pub binding: Option<Binding>,
    /// Replaces all parameters.
    pub parameters: Option<Parameters>,
    /// Replaces all annotations.
    pub annotations: Option<Parameters>,
    /// The version to give it.
    pub version: Option<Version>,
    /// Whether others may use it.
    pub publish: Option<bool>,
}

impl PackagePut {
    /// Reads and checks a body. `namespace` is what `_` means in it; parameters
    /// and annotations may take `max_bytes` each.
    pub fn parse(body: &[u8], namespace: &EntityName, max_bytes: u64) -> Result<Self, BodyError> {
        let mut fields = Fields::parse(body)?;
        let (parameters, annotations) = fields.parameters_and_annotations(max_bytes)?;
        Ok(Self {
            binding: fields
                .take_even_null("binding")
                .map(|value| read_binding(value, namespace))
                .transpose()?
                .flatten(),
            parameters,
            annotations,
            version: fields.version()?,
            publish: fields.publish()?,
        })
    }
}

/// `{"namespace","name"}`; `{}` is no binding.
fn read_binding(value: Value, namespace: &EntityName) -> Result<Option<Binding>, BodyError> {
    let Value::Object(binding) = value else {
        return Err(BodyError::malformed("Object expected in field 'namespace'"));
    };
    if binding.is_empty() {
        return Ok(None);
    }
    let (bound, name) = (read_member(&binding, "namespace")?, read_member(&binding, "name")?);
    let bound = if bound.as_str() == "_" { namespace.clone() } else { bound };
    Ok(Some(Binding(QualifiedName::new(EntityPath::root(bound), name))))
}

fn read_member(binding: &Map<String, Value>, member: &str) -> Result<EntityName, BodyError> {
    let value = binding
        .get(member)
        .ok_or_else(|| BodyError::malformed(format!("Object is missing required member '{member}'")))?;
    let name = value.as_str().and_then(|text| EntityName::new(text).ok());
    name.ok_or_else(|| BodyError::malformed("entity name malformed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(text: &str) -> Result<Option<String>, String> {
        let body = format!(r#"{{"binding":{text}}}"#);
        let put = PackagePut::parse(body.as_bytes(), &"guest".parse().expect("a name"), 100);
        put.map(|put| put.binding.map(|Binding(name)| name.to_string()))
            .map_err(|e| e.to_string().replace("The request content was malformed:\n", "~"))
    }

    #[test]
    fn a_binding_names_a_package_whole() {
        assert_eq!(binding("{}"), Ok(None));
        assert_eq!(binding(r#"{"namespace":"_","name":"p"}"#), Ok(Some("guest/p".into())));
        assert_eq!(binding(r#"{"namespace":"whisk.system","name":"p"}"#), Ok(Some("whisk.system/p".into())));
        for (bad, words) in [
            (r#"{"name":"p"}"#, "~Object is missing required member 'namespace'"),
            (r#"{"namespace":"_"}"#, "~Object is missing required member 'name'"),
            (r#""p""#, "~Object expected in field 'namespace'"),
            ("null", "~Object expected in field 'namespace'"),
            (r#"{"namespace":"_","name":"-bad"}"#, "~entity name malformed"),
            (r#"{"namespace":5,"name":"p"}"#, "~entity name malformed"),
        ] {
            assert_eq!(binding(bad), Err(words.into()), "{bad}");
        }
    }

    #[test]
    fn what_is_absent_is_not_touched() {
        let put = PackagePut::parse(b"{}", &"guest".parse().expect("a name"), 100).expect("a body");
        assert!(put.parameters.is_none() && put.annotations.is_none() && put.version.is_none());
        assert_eq!(put.publish, None);
    }
}
