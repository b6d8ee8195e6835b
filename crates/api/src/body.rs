//! Request bodies: what every reader of one needs.

use serde_json::{Map, Value};
use whisker_entity::{Parameter, Parameters, Version};

use crate::messages;

/// What is wrong with a body. Its text is the whole message for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It cannot be understood: 400, told by OpenWhisk's HTTP framework.
    #[error("{0}")]
    Malformed(String),
    /// It is understood and makes no sense: 400, told by OpenWhisk's handlers.
    #[error("{0}")]
    Refused(String),
    /// A part of it is too large: 413.
    #[error("{}", messages::larger_than_allowed(.field, *.is, *.allowed))]
    TooLarge {
        /// Which part, in OpenWhisk's words.
        field: &'static str,
        /// Its size in bytes.
        is: u64,
        /// The limit in bytes.
        allowed: u64,
    },
}

impl BodyError {
    /// A body of the wrong shape, told in OpenWhisk's wrapping.
    pub fn malformed(detail: impl AsRef<str>) -> Self {
        Self::Malformed(messages::malformed_body(detail.as_ref()))
    }

    /// A value that a rule refuses, told as OpenWhisk does: without wrapping.
    pub fn requirement(detail: impl std::fmt::Display) -> Self {
        Self::Refused(format!("requirement failed: {detail}"))
    }
}

/// Reads a body as JSON.
pub fn parse_json(body: &[u8]) -> Result<Value, BodyError> {
    serde_json::from_slice(body).map_err(|error| BodyError::malformed(error.to_string()))
}

/// The members of a body that is an entity.
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Reads an entity's body.
    pub fn parse(body: &[u8]) -> Result<Self, BodyError> {
        match parse_json(body)? {
            Value::Object(object) => Ok(Self(object)),
            // Whatever the entity: OpenWhisk's first look is for this field.
            _ => Err(BodyError::malformed("Object expected in field 'exec'")),
        }
    }

    /// A member, taken out; `null` counts as absent.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// A member, taken out, whatever it is.
    pub fn take_even_null(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// A list of `{"key","value"[,"init"][,"encryption"]}`.
    pub fn parameters(&mut self, name: &str) -> Result<Option<Parameters>, BodyError> {
        let malformed = || BodyError::malformed("parameters malformed!");
        let Some(value) = self.take(name) else { return Ok(None) };
        let Value::Array(items) = value else { return Err(malformed()) };
        let parameter = |item| match item {
            Value::Object(mut item) => {
                let (key, value) = (item.remove("key"), item.remove("value"));
                let (Some(Value::String(key)), Some(value)) = (key, value) else { return Err(malformed()) };
                let init = item.get("init").and_then(Value::as_bool).unwrap_or(false);
                let encryption = item.get("encryption").and_then(Value::as_str).map(str::to_owned);
                Ok(Parameter { key, value, init, encryption })
            }
            _ => Err(malformed()),
        };
        items.into_iter().map(parameter).collect::<Result<_, _>>().map(Some)
    }

    /// `parameters` and `annotations`, of `allowed` bytes each at most. The
    /// shape of both is looked at before the size of either, as in OpenWhisk.
    pub fn parameters_and_annotations(
        &mut self,
        allowed: u64,
    ) -> Result<(Option<Parameters>, Option<Parameters>), BodyError> {
        let (parameters, annotations) = (self.parameters("parameters")?, self.parameters("annotations")?);
        for (field, list) in [("parameters", &parameters), ("annotations", &annotations)] {
            let is = list.as_ref().map_or(0, Parameters::size_bytes);
            if is > allowed {
                return Err(BodyError::TooLarge { field, is, allowed });
            }
        }
        Ok((parameters, annotations))
    }

    /// `publish`.
    pub fn publish(&mut self) -> Result<Option<bool>, BodyError> {
        match self.take("publish") {
            None => Ok(None),
            Some(Value::Bool(publish)) => Ok(Some(publish)),
            Some(other) => Err(BodyError::malformed(format!("Expected JsBoolean, but got {other}"))),
        }
    }

    /// `version`.
    pub fn version(&mut self) -> Result<Option<Version>, BodyError> {
        let parse = |value: Value| value.as_str().and_then(|text| text.parse().ok());
        self.take("version")
            .map(|v| parse(v).ok_or_else(|| BodyError::malformed("semantic version malformed")))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: &str) -> Fields {
        Fields::parse(body.as_bytes()).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn parameters_of_the_wrong_shape_are_refused() {
        for bad in [r#"{"a":1}"#, "[1]", r#"[{"key":"a"}]"#, r#"[{"value":1}]"#, r#"[{"key":5,"value":1}]"#, r#""x""#] {
            let error = fields(&format!(r#"{{"parameters":{bad}}}"#)).parameters("parameters").map(|_| ());
            assert_eq!(error, Err(BodyError::malformed("parameters malformed!")), "{bad}");
        }
        assert_eq!(fields(r#"{"parameters":null}"#).parameters("parameters"), Ok(None));
    }

    #[test]
    fn a_body_that_is_no_object_is_told_so_in_openwhisks_odd_words() {
        for bad in ["[1]", "5", "null", "\"text\""] {
            let error = Fields::parse(bad.as_bytes()).map(|_| ()).map_err(|e| e.to_string());
            assert_eq!(
                error,
                Err("The request content was malformed:\nObject expected in field 'exec'".into()),
                "{bad}"
            );
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(Fields::parse("[".repeat(100_000).as_bytes()).is_err());
    }
}
