//! A database of OpenWhisk's opens as it is, and what is written to one is what
//! OpenWhisk would have written.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use common::{archive, documents, large, open, shape};
use serde_json::{Value, json};
use whisker_entity::{CodeHash, ExecCode, QualifiedName};
use whisker_store::{
    Activations, Collection, Document, Entities, Error, Portion, Subjects,
    testing::samples::{WHOLE, all_of, parse, path},
};
use whisker_store_couchdb::CouchDb;
use whisker_testkit::CouchDb as Server;

const WHOLE_SCAN: Portion = Portion { limit: 1_000, max_bytes: u64::MAX };

/// The store on a database that OpenWhisk has left.
async fn existing(prefix: &str) -> (CouchDb, &'static Server) {
    let server = tokio::task::spawn_blocking({
        let prefix = prefix.to_owned();
        move || {
            let server = Server::shared();
            server.load(&format!("{prefix}whisks"), &documents("whisks.json"));
            server.load(&format!("{prefix}whisks"), &documents("whisks-old.json"));
            server.load(&format!("{prefix}activations"), &documents("activations.json"));
            server.load(&format!("{prefix}subjects"), &documents("subjects.json"));
            server
        }
    });
    let server = server.await.unwrap();
    (open(&server.url_of(prefix)).await, server)
}

async fn document(server: &'static Server, database: String, id: String) -> Value {
    tokio::task::spawn_blocking(move || server.document(&database, &id)).await.unwrap()
}

async fn get(store: &CouchDb, name: &str) -> Document {
    Entities::get(store, &parse(name)).await.unwrap_or_else(|e| panic!("{name}: {e:?}")).document
}

async fn code(store: &CouchDb, name: &str) -> String {
    let document = get(store, name).await;
    let code = document.exec().and_then(|exec| exec.code()).unwrap();
    let ExecCode::Attached { hash, length } = code else { panic!("code in {name}") };
    let text = store.code(*hash).await.unwrap();
    assert_eq!(text.len() as u64, *length, "{name}");
    text.to_string()
}

#[tokio::test]
async fn everything_is_read() {
    let (store, _) = existing("read_").await;
    for listed in documents("whisks.json").iter().chain(&documents("whisks-old.json")) {
        let id = listed["_id"].as_str().unwrap();
        assert_eq!(get(&store, id).await.qualified_name().to_string(), id);
    }
    assert!(code(&store, "guest/hello").await.starts_with("function main(p)"));
    assert!(code(&store, "guest/tools/shout").await.starts_with("def main(args)"));
    assert_eq!(code(&store, "guest/large").await, large());
    assert_eq!(code(&store, "guest/archive").await, STANDARD.encode(archive()));
    assert_eq!(code(&store, "guest/image-with-code").await, "#!/bin/sh\ncat\n");

    // As it was written earlier.
    assert_eq!(code(&store, "guest/bare").await, "function main() { return { bare: true } }");
    assert_eq!(code(&store, "guest/jar").await, "UEsDBAo=");
    let Document::Rule(rule) = get(&store, "guest/plainly").await else { panic!("no rule") };
    assert_eq!((rule.trigger.0.to_string(), rule.action.0.to_string()), ("guest/tick".into(), "guest/hello".into()));
    let Document::Action(parts) = get(&store, "guest/parts").await else { panic!("no action") };
    assert_eq!(parts.exec.components().unwrap().len(), 2);
    assert_eq!(parts.updated, 1_500_000_000_200);
    assert_eq!(get(&store, "guest/undated").await.updated(), 0);
}

#[tokio::test]
async fn views_list_and_count_it() {
    let (store, _) = existing("list_").await;
    let names = async |collection, at: &str| {
        let list = Entities::list(&store, collection, &path(at), WHOLE).await.unwrap();
        assert_eq!(Entities::count(&store, collection, &path(at)).await.unwrap(), list.len() as u64);
        list.iter().map(|document| document.qualified_name().name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(Collection::Actions, "guest/tools").await, ["shout"]);
    assert_eq!(names(Collection::Packages, "guest").await, ["tools"]);
    assert_eq!(names(Collection::PublicPackages, "guest").await, ["tools"]);
    assert_eq!(names(Collection::PublicPackages, "team").await, [""; 0]);
    assert_eq!(names(Collection::Packages, "team").await, ["bound"]);
    assert_eq!(names(Collection::Triggers, "guest").await, ["lonely", "tick", "undated"]);
    assert_eq!(names(Collection::Rules, "guest").await, ["asleep", "on-tick", "plainly"]);
    assert_eq!(names(Collection::Actions, "guest").await.len(), 12);

    let records = Activations::list(&store, &all_of("guest"), WHOLE).await.unwrap();
    let names: Vec<_> = records.iter().map(|record| record.name.as_str()).collect();
    assert_eq!(names, ["tick", "chain", "shout", "hello"], "by start, then by id");
    assert_eq!(store.list_full(&all_of("guest"), WHOLE, u64::MAX).await.unwrap().len(), 4);
    let named = whisker_store::ActivationQuery { name: Some(parse("guest/tools/shout")), ..all_of("guest") };
    assert_eq!(Activations::count(&store, &named).await.unwrap(), 1);
}

#[tokio::test]
async fn subjects_are_who_they_were() {
    let (store, _) = existing("who_").await;
    let team = store.by_namespace(&parse("team")).await.unwrap();
    assert_eq!((&*team.subject, team.limits.fires_per_minute), ("guest", Some(7)));
    assert_eq!(team.limits.max_payload_size, "2 MB".parse().ok());
    let guest = store.by_uuid("23bc46b1-71f6-4ed5-8c54-816aa4f8c502").await.unwrap();
    assert_eq!(guest.namespace.as_str(), "guest");
    assert!(matches!(store.by_namespace(&parse("mallory")).await, Err(Error::Missing)), "blocked");
    let names: Vec<_> = Subjects::list(&store).await.unwrap().into_iter().map(|s| s.subject).collect();
    assert_eq!(names, ["guest", "mallory", "whisk.system"]);
}

/// Whoever copies compares hashes.
#[tokio::test]
async fn a_scan_names_attached_code_by_its_text() {
    let (store, _) = existing("hash_").await;
    let scan = Entities::scan(&store, None, WHOLE_SCAN).await.unwrap();
    let mut met = 0;
    for stored in scan.items.into_iter().map(Result::unwrap) {
        let Some(code) = stored.document.exec().and_then(|exec| exec.code()) else { continue };
        let text = store.code(code.hash()).await.unwrap();
        assert_eq!((CodeHash::of(&text), text.len() as u64), (code.hash(), code.length()));
        met += 1;
    }
    assert_eq!(met, 9);
}

/// Everything, read and written again, elsewhere and in its own place.
#[tokio::test]
async fn what_is_written_has_openwhisks_shape() {
    let (store, server) = existing("shape_").await;
    let url = server.url_of("shape2_");
    let copy = open(&url).await;
    for fixture in documents("whisks.json") {
        let name: QualifiedName = parse(fixture["_id"].as_str().unwrap());
        let stored = Entities::get(&store, &name).await.unwrap();
        let mut document = stored.document.clone();
        if let Document::Action(action) = &mut document
            && let Some(code) = action.exec.code_mut()
        {
            *code = ExecCode::Inline(store.code(code.hash()).await.unwrap());
        }
        Entities::put(&copy, &document, None).await.unwrap();
        Entities::put(&store, &stored.document, Some(&stored.revision)).await.unwrap();

        let before = comparable(fixture.clone());
        let again = document_of(server, "shape_whisks", &name).await;
        assert_eq!(shape(&comparable(again.clone())), shape(&before), "{name} in its place");
        assert_eq!(again["exec"], fixture["exec"], "{name} keeps its code where it is");

        // OpenWhisk leaves length and digest of attached code to CouchDB.
        let mut elsewhere = document_of(server, "shape2_whisks", &name).await;
        if elsewhere["exec"]["code"]["attachmentName"].as_str().is_some_and(|name| name.starts_with("couch:")) {
            let attached = elsewhere["exec"]["code"].as_object_mut().unwrap();
            assert!(attached.remove("length").unwrap().is_u64());
            assert!(attached.remove("digest").unwrap().is_string());
            assert_eq!(elsewhere["_attachments"].as_object().unwrap().len(), 1, "one attachment a document");
        }
        assert_eq!(shape(&comparable(elsewhere)), shape(&before), "{name} written anew");
    }

    for fixture in documents("activations.json") {
        let id = fixture["activationId"].as_str().unwrap();
        let record = Activations::get(&store, &parse("guest"), parse(id)).await.unwrap();
        Activations::put(&copy, &[Arc::new(record)]).await.unwrap();
        let mut written = document(server, "shape2_activations".into(), format!("guest/{id}")).await;
        written.as_object_mut().unwrap().remove("_rev");
        let mut fixture = fixture.clone();
        // When it was written is not part of the record.
        fixture["updated"] = written["updated"].clone();
        assert_eq!(written, fixture);
    }

    for fixture in documents("subjects.json") {
        let id = fixture["_id"].as_str().unwrap();
        match id.strip_suffix("/limits") {
            Some(namespace) => {
                let limits = store.limits(&parse(namespace)).await.unwrap();
                copy.put_limits(&parse(namespace), Some(&limits)).await.unwrap();
            }
            None => Subjects::put(&copy, &Subjects::get(&store, id).await.unwrap()).await.unwrap(),
        }
        let mut written = document(server, "shape2_subjects".into(), id.to_owned()).await;
        written.as_object_mut().unwrap().remove("_rev");
        assert_eq!(written, fixture);
    }
}

async fn document_of(server: &'static Server, database: &str, name: &QualifiedName) -> Value {
    document(server, database.to_owned(), name.to_string()).await
}

/// Without what CouchDB adds; of parameters, and of the rules of a trigger, any
/// one shows how they are written.
fn comparable(mut document: Value) -> Value {
    let members = document.as_object_mut().unwrap();
    members.remove("_rev");
    members.remove("_attachments");
    document
}

#[tokio::test]
async fn what_is_not_known_stays() {
    let (store, server) = existing("stay_").await;
    for (name, member) in [("guest/undated", "department")] {
        let stored = Entities::get(&store, &parse(name)).await.unwrap();
        Entities::put(&store, &stored.document, Some(&stored.revision)).await.unwrap();
        let after = document(server, "stay_whisks".into(), name.into()).await;
        assert_eq!(after[member], "of nobody's knowledge");
        assert_eq!(after["entityType"], "trigger");
    }
    let own = json!({"_id": "carol", "subject": "carol", "namespaces": [], "mail": "carol@example.org"});
    let limits = json!({"_id": "guest/limits", "firesPerMinute": 1, "note": "ask carol"});
    tokio::task::spawn_blocking(move || server.load("stay_subjects", &[own, limits])).await.unwrap();
    let mut carol = Subjects::get(&store, "carol").await.unwrap();
    carol.blocked = true;
    Subjects::put(&store, &carol).await.unwrap();
    let after = document(server, "stay_subjects".into(), "carol".into()).await;
    assert_eq!((&after["mail"], &after["blocked"]), (&json!("carol@example.org"), &json!(true)));
    let fewer = whisker_entity::NamespaceLimits { invocations_per_minute: Some(2), ..Default::default() };
    store.put_limits(&parse("guest"), Some(&fewer)).await.unwrap();
    let after = document(server, "stay_subjects".into(), "guest/limits".into()).await;
    assert_eq!((&after["note"], &after["firesPerMinute"]), (&json!("ask carol"), &Value::Null));
}

/// Each is named with its reason, and hides nothing else.
#[tokio::test]
async fn what_cannot_be_read_is_said() {
    let (store, server) = existing("odd_").await;
    let odd = documents("unreadable.json");
    let loaded = odd.clone();
    tokio::task::spawn_blocking(move || {
        for entry in &loaded {
            server.load(&format!("odd_{}", entry["database"].as_str().unwrap()), &[entry["document"].clone()]);
        }
    })
    .await
    .unwrap();
    let mut found: Vec<(String, String)> = Vec::new();
    let mut note = |error: Error| match error {
        Error::Corrupt(id, reason) => found.push((id, reason.to_string())),
        other => panic!("{other:?}"),
    };
    let whisks = Entities::scan(&store, None, WHOLE_SCAN).await.unwrap();
    whisks.items.into_iter().filter_map(Result::err).for_each(&mut note);
    let records = Activations::scan(&store, None, WHOLE_SCAN).await.unwrap();
    records.items.into_iter().filter_map(Result::err).for_each(&mut note);
    let subjects = Subjects::scan(&store, None, WHOLE_SCAN).await.unwrap();
    subjects.items.into_iter().filter_map(Result::err).for_each(&mut note);
    found.sort();
    let mut expected: Vec<_> = odd.iter().map(|entry| (&entry["document"]["_id"], &entry["why"])).collect();
    expected.sort_by_key(|(id, _)| id.as_str());
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((id, reason), (expected_id, why)) in found.iter().zip(expected) {
        assert_eq!(id, expected_id);
        assert!(reason.contains(why.as_str().unwrap()), "{id}: {reason}");
    }

    assert!(matches!(Entities::get(&store, &parse("guest/odd")).await, Err(Error::Corrupt(..))));
    assert!(Entities::list(&store, Collection::Actions, &path("guest"), WHOLE).await.unwrap().len() >= 12);
    let guest = store.by_namespace(&parse("guest")).await.unwrap();
    assert_eq!(guest.limits, Default::default(), "limits that cannot be read do not count");
    // What is torn can be cleared away.
    let torn = Entities::get(&store, &parse("guest/torn")).await.unwrap();
    Entities::delete(&store, &parse("guest/torn"), &torn.revision).await.unwrap();
}
