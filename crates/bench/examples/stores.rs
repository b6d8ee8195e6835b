//! The stores side by side: how long the same calls take on each.
//!
//! `cargo run --release -p whisker-bench --example stores [-- RECORDS ACTIONS]`,
//! by default 1,000,000 and 10,000. SQLite is in a file of `TMPDIR`, PostgreSQL
//! a real server that syncs its commits; what speaks CouchDB's protocol is npm's
//! `pouchdb-server`, in memory, and for Cosmos DB's `@vercel/cosmosdb-server`,
//! likewise. They say what the protocols cost and not what a CouchDB or a Cosmos
//! DB would take, and get a fraction of the records.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use whisker_entity::Activation;
use whisker_store::{
    Activations, Document, Entities, Page, Subjects,
    testing::samples::{action, all_of, id, parse, record},
};
use whisker_store_cosmos::Cosmos;
use whisker_store_couchdb::CouchDb;
use whisker_store_embedded::Embedded;
use whisker_store_postgres::Postgres;
use whisker_testkit as kit;

/// Records of a batch, as the invoker's spool makes them.
const BATCH: u64 = 512;
/// Writers at once, where entities are made.
const WRITERS: u64 = 8;
/// Calls of each kind that are measured.
const CALLS: u64 = 300;
/// Lists that are.
const LISTS: u64 = 20;

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let records = numbers.first().copied().unwrap_or(1_000_000);
    let actions = numbers.get(1).copied().unwrap_or(10_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    println!("a record has {} bytes; ms: median, 99 %", serde_json::to_string(&sample(0)).unwrap().len());
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let config = whisker_store_embedded::Config::new(folder.path());
        measured("SQLite", Arc::new(Embedded::open(&config).unwrap()), records, actions).await;

        let server = kit::Postgres::durable();
        let url = server.database();
        let config = whisker_store_postgres::Config::parse(&url, Some(server.password())).unwrap();
        measured("PostgreSQL", Arc::new(Postgres::open(&config).await.unwrap()), records, actions).await;

        let server = kit::CouchDb::start(None);
        let config = whisker_store_couchdb::Config::parse(&server.url(), None).unwrap();
        let (records, actions) = ((records / 250).max(1_000), (actions / 100).max(100));
        measured("CouchDB's protocol", Arc::new(CouchDb::open(&config).await.unwrap()), records, actions).await;

        let server = kit::Cosmos::start();
        let config = whisker_store_cosmos::Config::parse(&server.url(), Some(server.key())).unwrap();
        measured("Cosmos DB's API", Arc::new(Cosmos::open(&config).await.unwrap()), records, actions).await;
    });
}

fn sample(n: u64) -> Activation {
    let mut sample = record("guest", &format!("guest/action{:03}", n % 100), id(n), 1_790_000_000_000 + n);
    sample.logs = vec![format!("2026-11-21T00:00:00.000000Z stdout: line {n}")];
    sample
}

fn name(n: u64) -> String {
    format!("guest/action{n:06}")
}

/// Fills a store and reads from it.
async fn measured<S: Entities + Activations + Subjects>(what: &str, store: Arc<S>, records: u64, actions: u64) {
    println!("\n# {what}: {records} records, {actions} actions");
    let begun = Instant::now();
    let mut batches = Vec::new();
    for first in (0..records).step_by(BATCH as usize) {
        let batch: Vec<_> = (first..records.min(first + BATCH)).map(|n| Arc::new(sample(n))).collect();
        let begun = Instant::now();
        Activations::put(&*store, &batch).await.unwrap();
        batches.push(begun.elapsed());
    }
    let rate = records as f64 / begun.elapsed().as_secs_f64();
    told(&format!("records, in batches of {BATCH}: {rate:.0}/s"), batches);
    let begun = Instant::now();
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in (writer..actions).step_by(WRITERS as usize) {
                let action = Document::Action(action(&name(n), &format!("const n = {}", n % 1_000), n));
                Entities::put(&*store, &action, None).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let rate = actions as f64 / begun.elapsed().as_secs_f64();
    println!("{:48} {rate:.0}/s", format!("new actions, {WRITERS} writers"));

    let pick = |i: u64, of: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % of;
    let (guest, all) = (parse("guest"), all_of("guest"));
    timed("an action, read", CALLS, |i| {
        let name = parse(&name(pick(i, actions)));
        let store = &store;
        async move { Entities::get(&**store, &name).await }
    })
    .await;
    timed("an action, read and written again", CALLS, |i| {
        let (name, store) = (parse(&name(pick(i, actions))), &store);
        async move {
            let stored = Entities::get(&**store, &name).await?;
            Entities::put(&**store, &stored.document, Some(&stored.revision)).await
        }
    })
    .await;
    timed("a record, read", CALLS, |i| Activations::get(&*store, &guest, id(pick(i, records)))).await;
    let page = |limit| Page { skip: 0, limit };
    timed("list of 30 records", LISTS, |_| Activations::list(&*store, &all, page(30))).await;
    timed("list of 1,000 records", LISTS, |_| Activations::list(&*store, &all, page(1_000))).await;
}

async fn timed<T, F: Future<Output = Result<T, whisker_store::Error>>>(
    what: &str,
    calls: u64,
    call: impl Fn(u64) -> F,
) {
    let mut took = Vec::new();
    // The first one may have a view computed.
    call(0).await.unwrap();
    for i in 0..calls {
        let begun = Instant::now();
        call(i).await.unwrap();
        took.push(begun.elapsed());
    }
    told(what, took);
}

fn told(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    println!("{what:48} {:>9.2} {:>9.2}", at(0.5), at(0.99));
}
