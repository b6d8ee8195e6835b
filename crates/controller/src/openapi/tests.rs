//! The document's own laws; that it is true is shown elsewhere, by answers.

use std::{collections::HashSet, sync::Arc};

use whisker_bus::ControllerId;
use whisker_entity::Manifest;

use super::*;
use crate::config::Limits;

fn config() -> Config {
    let manifest = r#"{"runtimes":{"nodejs":[{"kind":"nodejs:20","image":{"prefix":"o","name":"n","tag":"t"}}]}}"#;
    Config {
        id: ControllerId("0".into()),
        manifest: Arc::new(Manifest::parse(manifest).expect("a manifest")),
        limits: Limits::default(),
        build_date: String::new(),
        build_number: String::new(),
        events: whisker_events::Events::off(),
        tracer: whisker_traces::Tracer::off(),
    }
}

/// Everything that refers to something.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, member)| match member {
            Value::String(to) if name == "$ref" => found.push(to.clone()),
            other => references(other, found),
        }),
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn references_lead_somewhere_and_every_shape_is_needed() {
    let (api, platform) = (document(Part::Api, &config()), document(Part::Platform, &config()));
    let mut used = HashSet::new();
    for document in [&api, &platform] {
        let mut found = Vec::new();
        references(document, &mut found);
        for reference in found {
            let place = reference.trim_start_matches('#');
            assert!(document.pointer(place).is_some(), "{reference}");
            used.insert(place.to_owned());
        }
    }
    for kind in ["schemas", "responses", "headers"] {
        for name in api["components"][kind].as_object().expect("an object").keys() {
            assert!(used.contains(&format!("/components/{kind}/{name}")), "{kind}: {name} is not used");
        }
    }
}

#[test]
fn every_operation_is_described_once() {
    let mut ids = HashSet::new();
    for part in [Part::Api, Part::Platform] {
        let document = document(part, &config());
        for (path, item) in document["paths"].as_object().expect("an object") {
            assert!(path.starts_with('/'), "{path}");
            for (method, operation) in item.as_object().expect("an object") {
                let id = operation["operationId"].as_str().expect("an id");
                assert!(ids.insert(id.to_owned()), "{id}");
                assert!(operation["summary"].as_str().is_some_and(|text| text.ends_with('.')), "{method} {path}");
            }
        }
    }
    let rows = Operation::ALL.iter().map(|operation| operation.methods().len()).sum::<usize>();
    // What is on any path is told in words.
    assert_eq!(ids.len(), rows - 1);
}

#[test]
fn statuses_are_those_that_operations_are_said_to_have() {
    let document = document(Part::Api, &config());
    for &operation in Operation::ALL {
        let (Some(path), Some(statuses)) = (Part::Api.path(operation), operation.statuses()) else { continue };
        let method = operation.methods()[0].as_str().to_ascii_lowercase();
        let described = document["paths"][path][method]["responses"].as_object().expect("an object");
        let statuses: Vec<_> = statuses.iter().map(|status| status.as_u16().to_string()).collect();
        assert_eq!(described.keys().collect::<Vec<_>>(), statuses.iter().collect::<Vec<_>>(), "{operation:?}");
    }
}
