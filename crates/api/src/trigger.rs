//! The body that creates or updates a trigger.

use whisker_entity::{EntityPath, Parameters, Version};

use crate::{BodyError, Fields, messages};

/// A body that creates or updates a trigger: what is absent stays as it is, or
/// takes its default. Its rules are not a matter of bodies.
#[derive(Debug, Default)]
pub struct TriggerPut {
    /// Replaces all parameters.
    pub parameters: Option<Parameters>,
    /// Replaces all annotations.
    pub annotations: Option<Parameters>,
    /// The version to give it.
    pub version: Option<Version>,
    /// Kept for clients.
    pub publish: Option<bool>,
}

impl TriggerPut {
    /// Reads and checks a body. Parameters and annotations may take
    /// `max_bytes` each.
    pub fn parse(body: &[u8], max_bytes: u64) -> Result<Self, BodyError> {
        let mut fields = Fields::parse(body)?;
        // A trigger has no limits, but the member must look like some.
        if fields.take("limits").is_some_and(|limits| !limits.is_object()) {
            return Err(BodyError::malformed("Object expected"));
        }
        let (parameters, annotations) = fields.parameters_and_annotations(max_bytes)?;
        Ok(Self { parameters, annotations, version: fields.version()?, publish: fields.publish()? })
    }

    /// Checks what names the source of a new trigger's events: a path, of
    /// which nobody asks whether it leads anywhere.
    pub fn check_feed(&self) -> Result<(), BodyError> {
        match self.annotations.as_ref().and_then(|annotations| annotations.get("feed")) {
            None => Ok(()),
            Some(feed) if feed.as_str().is_some_and(is_path) => Ok(()),
            Some(_) => Err(BodyError::Refused(messages::FEED_INVALID.into())),
        }
    }
}

/// Names joined by slashes, one at least; empty ones do not count.
fn is_path(text: &str) -> bool {
    let mut segments = text.split('/').filter(|segment| !segment.is_empty()).peekable();
    segments.peek().is_some() && segments.all(|segment| EntityPath::parse(segment).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_is_a_path() {
        for (feed, good) in [
            (r#""/whisk.system/alarms/alarm""#, true),
            (r#""alarm""#, true),
            ("5", false),
            ("null", false),
            (r#""-bad-""#, false),
            (r#""""#, false),
        ] {
            let body = format!(r#"{{"annotations":[{{"key":"feed","value":{feed}}}]}}"#);
            let put = TriggerPut::parse(body.as_bytes(), 1000).expect("a body");
            assert_eq!(put.check_feed().is_ok(), good, "{feed}");
        }
    }
}
