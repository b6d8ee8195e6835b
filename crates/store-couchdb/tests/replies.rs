//! CouchDB's own replies, where the server that other tests start differs, and
//! what becomes of callers when it is away.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common {
    pub mod fake;
}

use std::{sync::Arc, time::Duration};

use common::fake::{Fake, Reply, answer};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use whisker_store::{
    Activations, Change, Changes, Entities, Error, Renewed, Revision, Subjects,
    testing::{
        samples::{WHOLE, all_of, id, parse, record, records, sequence, subject},
        sealed,
    },
};
use whisker_store_couchdb::{Config, CouchDb, OpenError};

const PATIENT: &str = "patience=60s";
const A: &str = "/whisker_whisks/ns%2Fa";
const BULK: &str = "POST /whisker_activations/_bulk_docs";

async fn open(fake: &Fake, parameters: &str) -> CouchDb {
    CouchDb::open(&Config::parse(&fake.url(parameters), None).unwrap()).await.unwrap()
}

/// What an error says, down to its causes.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn stored(revision: &str) -> String {
    let mut document = serde_json::to_value(sequence("ns/a", 1)).unwrap();
    document["_id"] = json!("ns/a");
    document["_rev"] = json!(revision);
    document.to_string()
}

#[tokio::test]
async fn what_is_there_stays_and_what_is_missing_is_made() {
    let fake = Fake::start().await;
    let missing = || [answer(404, r#"{"error":"not_found","reason":"Database does not exist."}"#)];
    // Two servers start at the same time: one is too late.
    fake.on("GET /whisker_whisks", missing())
        .on("PUT /whisker_whisks", [answer(412, r#"{"error":"file_exists","reason":"The database exists."}"#)])
        .on("GET /whisker_subjects", missing())
        .on("PUT /whisker_subjects", [answer(201, r#"{"ok":true}"#)])
        .on("GET /whisker_whisks/_design/whisks.v2.1.0", missing())
        .on("PUT /whisker_whisks/_design/whisks.v2.1.0", [answer(409, r#"{"error":"conflict","reason":""}"#)])
        .on("GET /whisker_activations/_design/activations", missing())
        .on("PUT /whisker_activations/_design/activations", [answer(201, r#"{"ok":true,"id":"x","rev":"1-x"}"#)]);
    open(&fake, PATIENT).await;
    let made = fake.bodies("PUT /whisker_activations/_design/activations");
    let made: Value = serde_json::from_str(&made[0]).unwrap();
    assert!(made["views"]["byDate"]["map"].as_str().unwrap().starts_with("function (doc)"));
    assert!(fake.bodies("PUT /whisker_subjects/_design/subjects.v2.0.0").is_empty(), "it was there");
}

#[tokio::test]
async fn a_refused_password_is_said_and_not_shown() {
    let fake = Fake::start().await;
    let refused = answer(401, r#"{"error":"unauthorized","reason":"Name or password is incorrect."}"#);
    fake.on("GET /whisker_subjects", [refused.clone()]);
    let config = Config::parse(&fake.url(PATIENT), None).unwrap();
    let error = CouchDb::open(&config).await.unwrap_err();
    assert!(matches!(error, OpenError::Database { .. }), "{error:?}");
    let words = format!("{} {error:?} {config:?}", told(&error));
    assert!(words.contains("password is incorrect") && !words.contains("hunter2"), "{words}");

    fake.on("GET /whisker_subjects", [answer(200, "{}")]).on(&format!("GET {A}"), [refused]);
    let store = open(&fake, PATIENT).await;
    let error = Entities::get(&store, &parse("ns/a")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)) && !told(&error).contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn conflicts_and_deletions_are_what_they_are() {
    let fake = Fake::start().await;
    let store = open(&fake, PATIENT).await;
    let conflict = || [answer(409, r#"{"error":"conflict","reason":"Document update conflict."}"#)];
    fake.on(&format!("GET {A}"), [answer(404, r#"{"error":"not_found","reason":"deleted"}"#)]);
    assert!(matches!(Entities::get(&store, &parse("ns/a")).await, Err(Error::Missing)));
    let revision = Revision("1-a".into());
    assert!(matches!(Entities::delete(&store, &parse("ns/a"), &revision).await, Err(Error::Missing)));

    // Accepted by one node of a cluster, and not yet by the others.
    fake.on(&format!("PUT {A}"), [answer(202, r#"{"ok":true,"id":"ns/a","rev":"3-b"}"#)]);
    assert_eq!(Entities::put(&store, &sequence("ns/a", 1), None).await.unwrap(), Revision("3-b".into()));
    fake.on(&format!("PUT {A}"), conflict());
    assert!(matches!(Entities::put(&store, &sequence("ns/a", 1), None).await, Err(Error::Stale)));

    // Written by another between the look and the write.
    fake.on(&format!("GET {A}"), [answer(200, &stored("1-a"))]).on(&format!("DELETE {A}?rev=1-a"), conflict());
    assert!(matches!(Entities::delete(&store, &parse("ns/a"), &revision).await, Err(Error::Stale)));
    assert!(matches!(Entities::put(&store, &sequence("ns/a", 2), Some(&revision)).await, Err(Error::Stale)));
    let sent: Value = serde_json::from_str(fake.bodies(&format!("PUT {A}")).last().unwrap()).unwrap();
    assert_eq!((&sent["_rev"], &sent["_id"]), (&json!("1-a"), &json!("ns/a")));
}

#[tokio::test]
async fn of_a_batch_each_record_has_an_outcome() {
    let fake = Fake::start().await;
    let store = open(&fake, PATIENT).await;
    let there =
        r#"[{"id":"a","error":"conflict","reason":"Document update conflict."},{"ok":true,"id":"b","rev":"1-b"}]"#;
    fake.on(BULK, [answer(201, there)]);
    Activations::put(&store, &records([1, 2])).await.unwrap();
    let refused = r#"[{"id":"a","error":"forbidden","reason":"quota"}]"#;
    fake.on(BULK, [answer(201, refused)]);
    let error = Activations::put(&store, &records([1])).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)) && told(&error).contains("forbidden (quota)"), "{}", told(&error));
}

/// `max_document_size` is 8 MB by default, less than the logs that an action
/// may write.
#[tokio::test]
async fn a_record_that_is_too_long_is_cut_and_harms_no_other() {
    let fake = Fake::start().await;
    let store = open(&fake, PATIENT).await;
    let too_large = answer(413, r#"{"error":"document_too_large","reason":"ns/1"}"#);
    let good = answer(201, r#"[{"ok":true,"id":"x","rev":"1-x"}]"#);
    fake.on(BULK, [too_large.clone(), too_large.clone(), too_large, good]);
    let mut long = record("ns", "ns/a", id(1), 1);
    long.logs = vec!["x".repeat(1000); 64];
    Activations::put(&store, &[Arc::new(long), records([2]).remove(0)]).await.unwrap();
    let sent: Vec<_> = fake.bodies(BULK).iter().map(|body| serde_json::from_str::<Value>(body).unwrap()).collect();
    let logs: Vec<_> = sent.iter().map(|sent| sent["docs"][0]["logs"].as_array().unwrap().len()).collect();
    assert_eq!(logs, [64, 64, 33, 17, 1], "the batch, the long one until it is taken, the other one");
    assert!(sent[3]["docs"][0]["logs"][16].as_str().unwrap().starts_with("Logs were truncated"));
}

/// Keys and values of views went through JavaScript; deleted documents have
/// rows of their own.
#[tokio::test]
async fn views_and_lists_of_ids_are_read_as_couchdb_writes_them() {
    let fake = Fake::start().await;
    let store = open(&fake, PATIENT).await;
    let id_text = id(1).to_string();
    let row = json!({"id": format!("ns/{id_text}"), "key": ["ns", 18_446_744_073_709_552_000.0_f64], "value": {
        "namespace": "ns", "name": "a", "version": "0.0.1", "publish": false, "annotations": [],
        "activationId": id_text, "start": 18_446_744_073_709_552_000.0_f64, "cause": null}});
    let view = "GET /whisker_activations/_design/whisks.v2.1.0/_view/activations\
                ?startkey=%5B%22ns%22%2C%7B%7D%5D&endkey=%5B%22ns%22%5D&descending=true&reduce=false";
    fake.on(view, [answer(200, &json!({"total_rows": 9, "offset": 0, "rows": [row]}).to_string())]);
    let listed = Activations::list(&store, &all_of("ns"), WHOLE).await.unwrap();
    assert_eq!((listed[0].start, listed[0].end), (u64::MAX, 0));

    let rows = json!({"total_rows": 3, "offset": null, "rows": [
        {"id": format!("ns/{id_text}"), "key": format!("ns/{id_text}"), "value": {"rev": "1-a"}},
        {"id": format!("ns/{}", id(2)), "key": format!("ns/{}", id(2)), "value": {"rev": "2-b", "deleted": true}},
        {"key": format!("ns/{}", id(3)), "error": "not_found"},
    ]});
    fake.on("POST /whisker_activations/_all_docs?include_docs=false", [answer(200, &rows.to_string())]);
    assert_eq!(store.known(&parse("ns"), &[id(1), id(2), id(3)]).await.unwrap(), [id(1)]);
}

async fn next(changes: &mut Changes) -> Change {
    timeout(Duration::from_secs(30), changes.next()).await.unwrap()
}

#[tokio::test]
async fn changes_are_heard_and_so_is_that_some_were_missed() {
    let fake = Fake::start().await;
    let line = r#"{"seq":"5-g1AAAACbeJzLYWBgYMpgTmEQTM4vTc5ISXIwNDLXMwBCwxyQVB4LkGRoAFL","id":"ns/pkg/a","changes":[{"rev":"2-b"}]}"#;
    let feed = |database| format!("GET /whisker_{database}/_changes?feed=continuous&since=now&heartbeat=2000");
    fake.on(&feed("whisks"), [Reply::Feed(line.into())]).on(&feed("subjects"), [Reply::Feed(line.into())]);
    let store = open(&fake, PATIENT).await;
    let mut changes = Entities::changes(&store);
    assert_eq!(next(&mut changes).await, Change::Anything, "what came before is not known");
    assert_eq!(next(&mut changes).await, Change::Document(parse("ns/pkg/a")));
    let mut subjects = Subjects::changes(&store);
    for _ in 0..2 {
        assert_eq!(next(&mut subjects).await, Change::Anything);
    }
}

/// Whatever it is that does not answer, within a second; busy machines take longer.
const SOON: Duration = Duration::from_secs(4);

#[tokio::test]
async fn nobody_waits_for_one_that_is_away() {
    let fake = Fake::start().await;
    let store = open(&fake, "").await;
    // It takes connections, and answers nothing.
    fake.on("GET /", [Reply::Silence]).on(&format!("GET {A}"), [Reply::Silence]).on(BULK, [Reply::Silence]);
    for round in 0..3 {
        let began = Instant::now();
        let error = Entities::get(&store, &parse("ns/a")).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        assert!(began.elapsed() < SOON, "round {round}: {:?}", began.elapsed());
    }
    let began = Instant::now();
    assert!(matches!(Activations::put(&store, &records([1])).await, Err(Error::Unavailable(_))));
    assert!(began.elapsed() < SOON);

    // Nobody listens there any more.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let config = Config::parse(&format!("couchdb://anna:hunter2@{gone}"), None).unwrap();
    let began = Instant::now();
    let error = told(&CouchDb::open(&config).await.unwrap_err());
    assert!(error.contains("does not answer") && !error.contains("hunter2"), "{error}");
    assert!(began.elapsed() < SOON);
}

#[tokio::test]
async fn one_that_works_on_something_long_is_waited_for() {
    let fake = Fake::start().await;
    let store = open(&fake, "patience=300ms").await;
    let late = Reply::Late(Duration::from_millis(1500), 200, stored("1-a"));
    fake.on(&format!("GET {A}"), [late]);
    assert_eq!(Entities::get(&store, &parse("ns/a")).await.unwrap().revision, Revision("1-a".into()));
}

#[tokio::test]
async fn a_renewal_takes_nothing_back_that_others_write() {
    let fake = Fake::start().await;
    let config =
        Config { seals: sealed::some(), ..Config::parse(&fake.url("users=sealed&patience=60s"), None).unwrap() };
    let store = CouchDb::open(&config).await.unwrap();
    let document = |revision: &str, age: u64| {
        let mut document = serde_json::to_value(subject("anna", &[("anna", "uuid-1")])).unwrap();
        document["_id"] = json!("anna");
        document["_rev"] = json!(revision);
        document["age"] = json!(age);
        document
    };
    let rows = json!({"rows": [{"id": "anna", "key": "anna", "value": {"rev": "1-a"}, "doc": document("1-a", 1)}]});
    let conflict = answer(409, r#"{"error":"conflict","reason":"Document update conflict."}"#);
    let written = answer(201, r#"{"ok":true,"id":"anna","rev":"3-c"}"#);
    let (get, put) = ("GET /whisker_subjects/anna", "PUT /whisker_subjects/anna");
    fake.on("GET /whisker_subjects/_all_docs?include_docs=true&limit=52", [answer(200, &rows.to_string())])
        .on(get, [answer(200, &document("2-b", 2).to_string())])
        .on(put, [conflict.clone(), written]);
    assert_eq!(store.renew(None).await.unwrap(), Renewed { written: 1, ..Renewed::default() });
    let bodies = fake.bodies(put);
    assert!(
        bodies.len() == 2 && bodies.iter().all(|body| body.contains("uuid-1") && !body.contains("kkkk")),
        "{bodies:?}"
    );
    let last: Value = serde_json::from_str(&bodies[1]).unwrap();
    assert_eq!((&last["_rev"], &last["age"]), (&json!("2-b"), &json!(2)));

    // Whoever was deleted meanwhile stays so.
    fake.on(get, [answer(404, r#"{"error":"not_found","reason":"deleted"}"#)]).on(put, [conflict.clone()]);
    assert_eq!(store.renew(None).await.unwrap(), Renewed::default());
    assert_eq!(fake.bodies(put).len(), 3);

    // Others go on and on: it ends, and can be done again.
    fake.on(get, [answer(200, &document("2-b", 2).to_string())]).on(put, [conflict]);
    assert!(matches!(store.renew(None).await, Err(Error::Unavailable(_))));
}
