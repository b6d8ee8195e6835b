//! Parts that ended, for tests.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use serde_json::{json, value::RawValue};
use whisker_entity::{Activation, ActivationId, Parameters, Response, Status, Version};

use crate::compose::part::Part;

/// A record with this result.
pub fn activation(status: Status, result: &str) -> Activation {
    let mut annotations = Parameters::default();
    annotations.set_value("limits", json!({"memory": 128}));
    Activation {
        namespace: "guest".parse().unwrap(),
        name: "a".parse().unwrap(),
        subject: "guest".into(),
        id: ActivationId::new(1, 2),
        start: 10,
        end: 20,
        cause: None,
        response: Response { status, result: RawValue::from_string(result.into()).ok(), size: Some(1) },
        logs: vec![],
        version: Version::FIRST,
        publish: false,
        annotations,
        duration: Some(5),
    }
}

/// A part that ended well.
pub fn ended(result: &str) -> Part {
    Part::Ended(Arc::new(activation(Status::Success, result)))
}
