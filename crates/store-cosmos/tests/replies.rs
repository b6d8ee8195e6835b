//! Cosmos DB's own replies, where the server that other tests start has none of
//! the kind: preconditions, throttling, pages, ranges, sessions, changes.
#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "each test uses a part")]
mod common {
    pub mod fake;
}

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::fake::{Asked, Fake, KEY, Reply, answer, silence};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use whisker_store::{
    Activations, Change, Changes, Collection, Document, Entities, Error, Revision, Subjects,
    testing::samples::{WHOLE, all_of, id, parse, path, record, records, sequence},
};
use whisker_store_cosmos::{Cosmos, OpenError};

const DOCS: &str = "POST /dbs/db/colls/whisks/docs";
const RECORDS: &str = "POST /dbs/db/colls/activations/docs";
const A: &str = "/dbs/db/colls/whisks/docs/ns%7Ca";
const ETAG: &str = "\"0000d826-0000-0700-0000-5b9e1cab0000\"";

async fn opened(fake: &Fake) -> Cosmos {
    fake.open(Duration::from_secs(60)).await.unwrap()
}

/// What an error says, down to its causes.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn entity(name: &str, updated: u64, etag: &str) -> Value {
    let mut document = serde_json::to_value(sequence(name, updated)).unwrap();
    document["id"] = json!(name.replace('/', "|"));
    document["entityType"] = json!("action");
    document["_etag"] = json!(etag);
    document["_rid"] = json!("d9RzAJRFKgwBAAAAAAAAAA==");
    document["_ts"] = json!(1_700_000_000);
    document["_c"] = json!({"rootns": "ns"});
    document
}

/// The nth of these, and the last one from then on.
fn in_turn(replies: impl IntoIterator<Item = Reply>) -> impl Fn() -> Option<Reply> + Send + Sync {
    let (replies, turn) = (replies.into_iter().collect::<Vec<_>>(), AtomicUsize::new(0));
    move || replies.get(turn.fetch_add(1, Ordering::SeqCst)).or(replies.last()).cloned()
}

#[tokio::test]
async fn what_is_missing_is_made_and_what_is_there_stays() {
    let missing = || Some(answer(404, json!({"code": "NotFound"})));
    let fake = Fake::start(move |asked| match asked.line.as_str() {
        "GET /dbs/db" | "GET /dbs/db/colls/whisks" | "GET /dbs/db/colls/subjects" => missing(),
        "POST /dbs" => Some(answer(201, json!({"id": "db"}))),
        // Two servers start at the same time: one is too late.
        "POST /dbs/db/colls" => Some(answer(409, json!({"code": "Conflict"}))),
        _ => None,
    });
    let fake = fake.await;
    opened(&fake).await;
    assert_eq!(fake.asked("POST /dbs")[0].body, r#"{"id":"db"}"#);
    let made = fake.asked("POST /dbs/db/colls");
    assert_eq!(made.len(), 2);
    let made: Value = serde_json::from_str(&made[1].body).unwrap();
    assert_eq!(made["partitionKey"], json!({"paths": ["/id"], "kind": "Hash", "version": 2}));
    assert_eq!((&made["id"], &made["defaultTtl"]), (&json!("whisks"), &json!(-1)));

    let other = Fake::start(|asked| {
        let is_it = asked.line == "GET /dbs/db/colls/activations";
        is_it.then(|| answer(200, json!({"partitionKey": {"paths": ["/namespace"]}})))
    });
    let error = other.await.open(Duration::from_secs(60)).await.unwrap_err();
    assert!(matches!(&error, OpenError::PartitionKey(name) if name.ends_with("activations")), "{error:?}");
}

#[tokio::test]
async fn a_refused_key_is_said_and_not_shown() {
    let fake = Fake::start(|asked| {
        let message = "The input authorization token can't serve the request.";
        (asked.line == "GET /dbs/db").then(|| answer(401, json!({"code": "Unauthorized", "message": message})))
    });
    let error = fake.await.open(Duration::from_secs(60)).await.unwrap_err();
    let words = format!("{} {error:?}", told(&error));
    assert!(words.contains("401 Unauthorized: Unauthorized") && !words.contains(KEY), "{words}");
}

#[tokio::test]
async fn a_write_names_the_state_that_it_replaces() {
    let stale = || Some(answer(412, json!({"code": "PreconditionFailed"})));
    let put = in_turn([answer(200, entity("ns/a", 2, "\"2\"")), stale().unwrap()]);
    let fake = Fake::start(move |asked| match asked.line.as_str() {
        line if line == format!("GET {A}") => Some(answer(200, entity("ns/a", 1, ETAG))),
        line if line == format!("PUT {A}") => put(),
        _ => None,
    });
    let fake = fake.await;
    let store = opened(&fake).await;
    let revision = Entities::get(&store, &parse("ns/a")).await.unwrap().revision;
    assert_eq!(&*revision.0, ETAG);
    let written = Entities::put(&store, &sequence("ns/a", 2), Some(&revision)).await.unwrap();
    assert_eq!(&*written.0, "\"2\"");
    let asked = fake.asked(&format!("PUT {A}"));
    assert_eq!(asked[0].header("if-match"), Some(ETAG));
    assert_eq!(asked[0].header("x-ms-documentdb-partitionkey"), Some(r#"["ns|a"]"#));
    let sent: Value = serde_json::from_str(&asked[0].body).unwrap();
    assert_eq!((&sent["id"], &sent["_c"], &sent["updated"]), (&json!("ns|a"), &json!({"rootns": "ns"}), &json!(2)));
    assert!(["_id", "_rev", "_etag", "_ts", "_rid"].iter().all(|name| sent.get(name).is_none()), "{sent}");

    // Written by another between the look and the write.
    assert!(matches!(Entities::put(&store, &sequence("ns/a", 3), Some(&revision)).await, Err(Error::Stale)));
    assert!(matches!(Entities::delete(&store, &parse("ns/a"), &revision).await, Err(Error::Stale)));
    let other = Revision("\"0\"".into());
    assert!(matches!(Entities::put(&store, &sequence("ns/a", 3), Some(&other)).await, Err(Error::Stale)));
    let asked = fake.asked(&format!("PUT {A}"));
    assert_eq!(asked.len(), 3, "the last one was not even sent");
    assert_eq!(asked[2].body, r#"{"id":"ns|a","_deleted":true,"ttl":36000}"#);
}

/// As OpenWhisk's soft deletes, and those of other servers.
#[tokio::test]
async fn what_was_deleted_is_missing_and_gives_way() {
    let fake = Fake::start(|asked| match asked.line.as_str() {
        line if line == format!("GET {A}") => {
            let mut deleted = entity("ns/a", 1, ETAG);
            deleted["_deleted"] = json!(true);
            Some(answer(200, deleted))
        }
        DOCS => Some(answer(409, json!({"code": "Conflict"}))),
        line if line == format!("PUT {A}") => Some(answer(200, entity("ns/a", 2, "\"2\""))),
        _ => None,
    });
    let fake = fake.await;
    let store = opened(&fake).await;
    assert!(matches!(Entities::get(&store, &parse("ns/a")).await, Err(Error::Missing)));
    let old = Revision(ETAG.into());
    assert!(matches!(Entities::delete(&store, &parse("ns/a"), &old).await, Err(Error::Missing)));
    assert_eq!(&*Entities::put(&store, &sequence("ns/a", 2), None).await.unwrap().0, "\"2\"");
    assert_eq!(fake.asked(&format!("PUT {A}"))[0].header("if-match"), Some(ETAG));
}

#[tokio::test]
async fn who_is_throttled_comes_back_when_told() {
    let later = || answer(429, json!({"code": "429"})).header("x-ms-retry-after-ms", "1");
    let behind = answer(404, json!({"code": "NotFound"})).header("x-ms-substatus", "1002");
    let replies = in_turn([later(), behind, later(), answer(200, entity("ns/a", 1, ETAG))]);
    let fake = Fake::start(move |asked| match asked.line.as_str() {
        line if line == format!("GET {A}") => replies(),
        RECORDS => Some(later()),
        _ => None,
    });
    let fake = fake.await;
    let store = opened(&fake).await;
    Entities::get(&store, &parse("ns/a")).await.unwrap();
    assert_eq!(fake.asked(&format!("GET {A}")).len(), 4);

    let error = Activations::put(&store, &records([1])).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)) && told(&error).contains("throughput"), "{}", told(&error));
    assert_eq!(fake.asked(RECORDS).len(), 10, "once, and nine times again");
}

#[tokio::test]
async fn who_should_wait_too_long_is_refused_at_once() {
    let fake =
        Fake::start(|asked| (asked.line == RECORDS).then(|| answer(429, "{}").header("x-ms-retry-after-ms", "60000")));
    let fake = fake.await;
    let store = opened(&fake).await;
    assert!(matches!(Activations::put(&store, &records([1])).await, Err(Error::Unavailable(_))));
    assert_eq!(fake.asked(RECORDS).len(), 1);
}

/// Whose page, where it begins, what is on it, and where it goes on.
type Page<'a> = (&'a str, Option<&'a str>, &'a [Value], Option<&'static str>);

/// A page of what one range has.
fn page(asked: &Asked, pages: &[Page<'_>]) -> Reply {
    let (range, from) = (asked.header("x-ms-documentdb-partitionkeyrangeid"), asked.header("x-ms-continuation"));
    let found = pages.iter().find(|(of, begins, ..)| Some(*of) == range && *begins == from);
    let (.., documents, next) = found.unwrap_or_else(|| panic!("{asked:?}"));
    let reply = answer(200, json!({"_rid": "x", "Documents": documents, "_count": documents.len()}));
    next.iter().fold(reply, |reply, next| reply.header("x-ms-continuation", *next))
}

fn two_ranges() -> Reply {
    answer(200, json!({"PartitionKeyRanges": [{"id": "1", "parents": ["0"]}, {"id": "2", "parents": ["0"]}]}))
}

#[tokio::test]
async fn ranges_and_their_pages_are_one_list() {
    let of = |n: u64| entity(&format!("ns/a{n}"), n / 10, ETAG);
    let fake = Fake::start(move |asked| match asked.line.as_str() {
        "GET /dbs/db/colls/whisks/pkranges" => Some(two_ranges()),
        DOCS if asked.body.contains("COUNT") => Some(page(
            asked,
            &[("1", None, &[json!(3)], Some("c")), ("1", Some("c"), &[json!(1)], None), ("2", None, &[json!(2)], None)],
        )),
        DOCS => Some(page(
            asked,
            &[
                ("1", None, &[of(60), of(52)], Some("p")),
                // An empty page is not the end.
                ("1", Some("p"), &[], Some("q")),
                ("1", Some("q"), &[of(30), of(10)], None),
                ("2", None, &[of(55), of(51)], None),
            ],
        )),
        _ => None,
    });
    let fake = fake.await;
    let store = opened(&fake).await;
    let listed = Entities::list(&store, Collection::Actions, &path("ns"), WHOLE).await.unwrap();
    let names: Vec<_> = listed.iter().map(Document::qualified_name).map(|name| name.name.to_string()).collect();
    assert_eq!(names, ["a60", "a55", "a52", "a51", "a30", "a10"], "of one time by name, from both");
    assert_eq!(Entities::count(&store, Collection::Actions, &path("ns")).await.unwrap(), 6);
    let asked = &fake.asked(DOCS)[0];
    assert_eq!(asked.header("content-type"), Some("application/query+json"));
    let query: Value = serde_json::from_str(&asked.body).unwrap();
    assert!(query["query"].as_str().unwrap().ends_with("ORDER BY r.updated DESC"), "{query}");
    assert_eq!(query["parameters"][1], json!({"name": "@path", "value": "ns"}));
}

#[tokio::test]
async fn a_list_begins_again_when_a_range_is_split() {
    let ranges = in_turn([answer(200, json!({"PartitionKeyRanges": [{"id": "0"}]})), two_ranges()]);
    let fake = Fake::start(move |asked| match asked.line.as_str() {
        "GET /dbs/db/colls/whisks/pkranges" => ranges(),
        DOCS if asked.header("x-ms-documentdb-partitionkeyrangeid") == Some("0") => {
            Some(answer(410, json!({"code": "Gone"})).header("x-ms-substatus", "1002"))
        }
        DOCS => Some(page(
            asked,
            &[("1", None, &[entity("ns/a", 1, ETAG)], None), ("2", None, &[entity("ns/b", 2, ETAG)], None)],
        )),
        _ => None,
    });
    let fake = fake.await;
    let store = opened(&fake).await;
    assert_eq!(Entities::list(&store, Collection::Actions, &path("ns"), WHOLE).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_was_written_here_is_read_here() {
    let fake = Fake::start(|asked| {
        let is_it = asked.line == RECORDS && !asked.body.contains("query");
        is_it.then(|| answer(201, json!({"_etag": ETAG})).header("x-ms-session-token", "0:-1#12"))
    });
    let fake = fake.await;
    let store = opened(&fake).await;
    Activations::put(&store, &records([1])).await.unwrap();
    let asked = &fake.asked(RECORDS)[0];
    assert_eq!(asked.header("x-ms-session-token"), None);
    let sent: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(sent["_c"], json!({"nspath": "ns/a", "deleteLogs": true}));
    assert_eq!((&sent["id"], sent.get("_id")), (&json!(format!("ns|{}", id(1))), None));
    assert!(matches!(Activations::get(&store, &parse("ns"), id(1)).await, Err(Error::Missing)));
    let read = fake.asked(&format!("GET /dbs/db/colls/activations/docs/ns%7C{}", id(1)));
    assert_eq!(read[0].header("x-ms-session-token"), Some("0:-1#12"));
}

/// Documents have 2 MB at most, less than the logs that an action may write.
#[tokio::test]
async fn a_record_that_is_too_long_is_cut() {
    let too_large = || answer(413, json!({"code": "RequestEntityTooLarge"}));
    let replies = in_turn([too_large(), too_large(), answer(201, json!({"_etag": ETAG}))]);
    let fake = Fake::start(move |asked| (asked.line == RECORDS).then(|| replies().unwrap())).await;
    let store = opened(&fake).await;
    let mut long = record("ns", "ns/a", id(1), 1);
    long.logs = vec!["x".repeat(1000); 64];
    Activations::put(&store, &[Arc::new(long)]).await.unwrap();
    let sent = fake.asked(RECORDS);
    let sent = sent.iter().map(|asked| serde_json::from_str::<Value>(&asked.body).unwrap());
    let logs: Vec<_> = sent.map(|sent| sent["logs"].as_array().unwrap().len()).collect();
    assert_eq!(logs, [64, 33, 17]);
}

async fn next(changes: &mut Changes) -> Change {
    timeout(Duration::from_secs(60), changes.next()).await.unwrap()
}

#[tokio::test]
async fn changes_are_asked_for_from_where_they_were_left() {
    let changed = |asked: &Asked| {
        asked.header("a-im")?;
        Some(match asked.header("if-none-match").unwrap() {
            "*" => answer(304, "").header("etag", "\"1\""),
            "\"1\"" => {
                answer(200, json!({"Documents": [{"id": "ns|pkg|a", "_deleted": true}]})).header("etag", "\"2\"")
            }
            "\"2\"" => answer(304, "").header("etag", "\"2\""),
            other => panic!("{other}"),
        })
    };
    let fake = Fake::start(changed).await;
    let store = opened(&fake).await;
    let mut changes = Entities::changes(&store);
    assert_eq!(next(&mut changes).await, Change::Anything, "what came before is not known");
    assert_eq!(next(&mut changes).await, Change::Document(parse("ns/pkg/a")));
    let mut subjects = Subjects::changes(&store);
    for _ in 0..2 {
        assert_eq!(next(&mut subjects).await, Change::Anything);
    }
}

/// Three seconds are its patience; busy machines take longer, and one request a minute.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn nobody_waits_for_one_that_is_away() {
    let opening = AtomicUsize::new(0);
    // It is opened with five questions, and then answers nothing.
    let fake = Fake::start(move |_| (opening.fetch_add(1, Ordering::SeqCst) >= 5).then(silence)).await;
    let store = fake.open(Duration::from_secs(3)).await.unwrap();
    for round in 0..3 {
        let began = Instant::now();
        let error = Entities::get(&store, &parse("ns/a")).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        assert!(began.elapsed() < SOON, "round {round}: {:?}", began.elapsed());
    }
    let began = Instant::now();
    assert!(matches!(Activations::list(&store, &all_of("ns"), WHOLE).await, Err(Error::Unavailable(_))));
    assert!(began.elapsed() < SOON);
}
