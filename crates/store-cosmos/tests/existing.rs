//! Documents of OpenWhisk's are read as they are, and what is written is what
//! OpenWhisk would have written: those by hand that CouchDB's tests have, as
//! OpenWhisk puts them into a Cosmos DB.
#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "each test uses a part")]
mod common {
    pub mod fake;
}

use std::{sync::Arc, time::Duration};

use common::fake::{Fake, answer};
use serde_json::{Value, json};
use whisker_entity::QualifiedName;
use whisker_store::{Activations, Entities, Registered, Subjects, testing::samples::parse};
use whisker_store_cosmos::Cosmos;

const ETAG: &str = "\"00000000-0000-0000-0000-5b9e1cab0000\"";

/// The documents of a file without the members of CouchDB's own; not those
/// whose code would be in a store of attachments.
fn documents(file: &str) -> Vec<(String, Value)> {
    let path = format!("{}/../../compat/couchdb/{file}", env!("CARGO_MANIFEST_DIR"));
    let all: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let all: Vec<_> = all
        .into_iter()
        .filter(|document| document.get("_attachments").is_none())
        .map(|mut document| {
            let id = document["_id"].as_str().unwrap().to_owned();
            document.as_object_mut().unwrap().retain(|name, _| !name.starts_with('_'));
            document["id"] = json!(id.replace('/', "|"));
            (id, document)
        })
        .collect();
    assert!(all.len() > 1, "{file}");
    all
}

/// With what Cosmos DB and OpenWhisk add.
fn stored(document: &Value) -> Value {
    let mut stored = document.clone();
    for (name, value) in
        [("_etag", json!(ETAG)), ("_ts", json!(1)), ("_rid", json!("x")), ("_clusterId", json!("east"))]
    {
        stored[name] = value;
    }
    stored["_c"] = json!({"rootns": "x"});
    stored
}

/// A store where each document is under its id, and every write is taken.
async fn opened(all: &[(String, Value)]) -> (Cosmos, Fake) {
    let all: Vec<_> = all.iter().map(|(_, document)| stored(document)).collect();
    let fake = Fake::start(move |asked| {
        let (method, target) = asked.line.split_once(' ').unwrap();
        let id = target.split_once("/docs/").map(|(_, id)| id.replace("%7C", "|").replace("%20", " "));
        match (method, id) {
            ("GET", Some(id)) => all.iter().find(|document| document["id"] == id.as_str()).map(|d| answer(200, d)),
            ("PUT" | "POST", _) if target.contains("/docs") && !asked.body.contains("\"query\"") => {
                Some(answer(200, json!({"_etag": "\"2\""})))
            }
            ("POST", _) => Some(answer(200, json!({"Documents": all}))),
            _ => None,
        }
    })
    .await;
    (fake.open(Duration::from_secs(60)).await.unwrap(), fake)
}

/// What was sent last so, and what OpenWhisk computes of it.
fn sent(fake: &Fake, line: &str) -> (Value, Value) {
    let mut sent: Value = serde_json::from_str(&fake.asked(line).last().unwrap().body).unwrap();
    let computed = sent.as_object_mut().unwrap().remove("_c").unwrap_or_default();
    (sent, computed)
}

#[tokio::test]
async fn entities_are_read_and_written_as_they_are() {
    let all = documents("whisks.json");
    let (store, fake) = opened(&all).await;
    for (id, document) in &all {
        let name: QualifiedName = parse(id);
        let read = Entities::get(&store, &name).await.unwrap_or_else(|e| panic!("{id}: {e:?}"));
        Entities::put(&store, &read.document, Some(&read.revision)).await.unwrap();
        let target = id.replace('/', "%7C").replace(' ', "%20");
        let (sent, computed) = sent(&fake, &format!("PUT /dbs/db/colls/whisks/docs/{target}"));
        assert_eq!(&sent, document, "{id}");
        assert_eq!(computed, json!({"rootns": name.path.namespace}), "{id}");
    }
}

#[tokio::test]
async fn records_are_read_and_written_as_they_are() {
    let all = documents("activations.json");
    let (store, fake) = opened(&all).await;
    for (id, document) in &all {
        let (namespace, activation) = id.split_once('/').unwrap();
        let read = Activations::get(&store, &parse(namespace), parse(activation)).await.unwrap();
        let name = read.filter_name().to_string();
        Activations::put(&store, &[Arc::new(read)]).await.unwrap();
        let (mut sent, computed) = sent(&fake, "POST /dbs/db/colls/activations/docs");
        // It is dated by the record, where OpenWhisk reads a clock.
        sent["updated"] = document["updated"].clone();
        assert_eq!(&sent, document, "{id}");
        assert_eq!(computed["nspath"], name, "{id}");
    }
}

#[tokio::test]
async fn subjects_and_limits_are_read_as_they_are() {
    let all = documents("subjects.json");
    let (store, _fake) = opened(&all).await;
    let scan = Subjects::scan(&store, None, whisker_store::Portion { limit: 1_000, max_bytes: u64::MAX });
    let scan = scan.await.unwrap();
    assert_eq!(scan.items.len(), all.len());
    for item in scan.items {
        match item.unwrap() {
            Registered::Subject(subject) => {
                assert_eq!(Subjects::get(&store, &subject.subject).await.unwrap().subject, subject.subject);
            }
            Registered::Limits(namespace, limits) => assert_eq!(store.limits(&namespace).await.unwrap(), limits),
        }
    }
}
