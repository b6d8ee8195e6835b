//! What the store costs over a bare batched insert on the same server, and how
//! long reads take among many.
//!
//! `cargo bench -p whisker-store-postgres [-- RECORDS ACTIONS]`, by default
//! 1,000,000 and 100,000. It starts a server of its own on `TMPDIR`, which
//! syncs its commits as a real one does.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_postgres::{Client, NoTls, Statement};
use whisker_entity::{Activation, ActivationId};
use whisker_store::{
    ActivationQuery, Activations, Collection, Document, Entities, Page,
    testing::samples::{action, all_of, parse, path, record},
};
use whisker_store_postgres::{Config, Postgres};
use whisker_testkit as kit;

/// When the first record starts, in ms.
const EPOCH: u64 = 1_790_000_000_000;
/// Days over which records are spread.
const DAYS: u64 = 30;
/// Different actions in the records.
const NAMES: u64 = 100;
/// Records of a batch, as the invoker's spool makes them.
const BATCH: usize = 512;
/// Batches that are measured.
const BATCHES: u64 = 60;

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let records = numbers.first().copied().unwrap_or(1_000_000);
    let actions = numbers.get(1).copied().unwrap_or(100_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = kit::Postgres::durable();
    runtime.block_on(async {
        writes(&server).await;
        let store = open(&server).await;
        println!("\n# {records} records over {DAYS} days, {actions} actions");
        let begun = Instant::now();
        for first in (0..records).step_by(BATCH) {
            let batch = (first..records.min(first + BATCH as u64)).map(|n| Arc::new(sample(n, records)));
            Activations::put(&*store, &batch.collect::<Vec<_>>()).await.unwrap();
        }
        println!("filled with {:.0} records/s", records as f64 / begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        fill_actions(&store, actions).await;
        println!("filled with {:.0} actions/s, 8 writers", actions as f64 / begun.elapsed().as_secs_f64());
        println!("µs: median, 99 %");
        reads(&store, records, actions).await;
    });
}

async fn open(server: &kit::Postgres) -> Arc<Postgres> {
    let config = Config::parse(&server.database(), Some(server.password())).unwrap();
    Arc::new(Postgres::open(&config).await.unwrap())
}

/// A record like those of a small function, one of so many.
fn sample(n: u64, of: u64) -> Activation {
    let start = EPOCH + n * (DAYS * 86_400_000) / of.max(1_000_000);
    let mixed = u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 16 | u128::from(n);
    let name = format!("guest/action{:03}", n % NAMES);
    let mut record = record("guest", &name, ActivationId::new(start, mixed), start);
    record.annotations.set_value("waitTime", 3);
    record.annotations.set_value("limits", serde_json::json!({"timeout":60000,"memory":256,"logs":10,"concurrency":1}));
    record
}

fn batch(n: u64) -> Vec<Arc<Activation>> {
    (n * BATCH as u64..(n + 1) * BATCH as u64).map(|n| Arc::new(sample(n, 1))).collect()
}

/// Batch by batch by turns, since the machine is not the same from one moment to
/// the next.
async fn writes(server: &kit::Postgres) {
    println!("# writes of {BATCH} records of {} bytes", serde_json::to_string(&sample(0, 1)).unwrap().len());
    let floors = [
        Floor::new(server, "floor: one table, its key alone", "").await,
        Floor::new(
            server,
            "floor: one table, indexes to list by",
            "CREATE INDEX ON records (namespace, start, id); CREATE INDEX ON records (action, start, id);
            CREATE INDEX ON records (start, id)",
        )
        .await,
    ];
    let store = open(server).await;
    let mut took = [Vec::new(), Vec::new(), Vec::new()];
    for n in 0..BATCHES {
        let batch = batch(n);
        for (floor, took) in floors.iter().zip(&mut took) {
            took.push(floor.put(&batch).await);
        }
        let begun = Instant::now();
        Activations::put(&*store, &batch).await.unwrap();
        took[2].push(begun.elapsed());
    }
    println!("{:44} {:>9} {:>9} {:>9}", "", "ms: half", "mean", "rows/s");
    for (what, mut took) in floors.iter().map(|floor| floor.what).chain(["the store"]).zip(took) {
        took.sort();
        let (half, all) = (took[took.len() / 2].as_secs_f64(), took.iter().sum::<Duration>().as_secs_f64());
        let rate = (BATCHES * BATCH as u64) as f64 / all;
        println!("{what:44} {:>9.1} {:>9.1} {rate:>9.0}", half * 1e3, all * 1e3 / took.len() as f64);
    }
}

/// A bare batched insert: rows of the same bytes, one statement a batch.
struct Floor {
    what: &'static str,
    client: Client,
    insert: Statement,
}

impl Floor {
    async fn new(server: &kit::Postgres, what: &'static str, indexes: &str) -> Self {
        let password = server.password().replace(' ', "%20");
        let url = server.database().replace("postgres@", &format!("postgres:{password}@"));
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let table =
            "CREATE TABLE records (id text PRIMARY KEY, start bigint, namespace text, action text, record text)";
        client.batch_execute(&format!("{table}; {indexes}")).await.unwrap();
        let sql =
            "INSERT INTO records SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[])";
        let insert = client.prepare(sql).await.unwrap();
        Self { what, client, insert }
    }

    async fn put(&self, batch: &[Arc<Activation>]) -> Duration {
        let begun = Instant::now();
        let ids: Vec<_> = batch.iter().map(|r| r.id.to_string()).collect();
        let starts: Vec<_> = batch.iter().map(|r| r.start as i64).collect();
        let namespaces: Vec<_> = batch.iter().map(|r| r.namespace.to_string()).collect();
        let actions: Vec<_> = batch.iter().map(|r| r.filter_name().to_string()).collect();
        let texts: Vec<_> = batch.iter().map(|r| serde_json::to_string(&**r).unwrap()).collect();
        self.client.execute(&self.insert, &[&ids, &starts, &namespaces, &actions, &texts]).await.unwrap();
        begun.elapsed()
    }
}

async fn fill_actions(store: &Arc<Postgres>, actions: u64) {
    let writers = (0..8).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in (n..actions).step_by(8) {
                let action = action(&format!("guest/action{n:06}"), &format!("const n = {}", n % 1_000), n);
                Entities::put(&*store, &Document::Action(action), None).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

async fn reads(store: &Arc<Postgres>, records: u64, actions: u64) {
    let pick = |i: u64, of: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % of;
    let (guest, all) = (parse("guest"), all_of("guest"));
    let one = ActivationQuery { name: Some(parse("guest/action042")), ..all.clone() };
    let day = 86_400_000;
    let late = ActivationQuery { since: Some(EPOCH + 20 * day), upto: Some(EPOCH + 21 * day), ..all.clone() };
    let page = |skip, limit| Page { skip, limit };
    let at = path("guest");
    time("an action", 2_000, |i| {
        let name = parse(&format!("guest/action{:06}", pick(i, actions)));
        async move { Entities::get(&**store, &name).await }
    })
    .await;
    time("an action, written again", 500, |i| async move {
        let stored = Entities::get(&**store, &parse(&format!("guest/action{:06}", pick(i, actions)))).await?;
        Entities::put(&**store, &stored.document, Some(&stored.revision)).await
    })
    .await;
    time("a record", 2_000, |i| Activations::get(&**store, &guest, sample(pick(i, records), records).id)).await;
    time("list of 30 records", 300, |_| Activations::list(&**store, &all, page(0, 30))).await;
    time("list of 30 records of one action", 300, |_| Activations::list(&**store, &one, page(0, 30))).await;
    time("list of 30 records of a day", 300, |_| Activations::list(&**store, &late, page(0, 30))).await;
    time("list of 1,000 records", 50, |_| Activations::list(&**store, &all, page(0, 1_000))).await;
    time("list of 200 actions", 200, |_| Entities::list(&**store, Collection::Actions, &at, page(0, 200))).await;
    time("count of all records", 5, |_| Activations::count(&**store, &all)).await;
    time("count of all actions", 5, |_| Entities::count(&**store, Collection::Actions, &at)).await;
}

async fn time<T, F: Future<Output = Result<T, whisker_store::Error>>>(what: &str, times: u64, call: impl Fn(u64) -> F) {
    let mut took = Vec::new();
    for i in 0..times {
        let begun = Instant::now();
        call(i).await.unwrap();
        took.push(begun.elapsed());
    }
    took.sort();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
    println!("{what:44} {:>9.0} {:>9.0}", at(0.5), at(0.99));
}
