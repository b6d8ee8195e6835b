//! What the store costs over bare SQLite, and whether it stays flat.
//!
//! `cargo bench -p whisker-store-embedded [-- RECORDS ACTIONS]`, by default
//! 1,000,000 and 100,000. Floor and subject are measured in one run, on the
//! same disk (`TMPDIR`), with records of the same bytes.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

use std::{
    future::Future,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, params};
use whisker_entity::{Activation, ActivationId};
use whisker_store::{
    ActivationQuery, Activations, Collection, Entities, Page, Retention,
    testing::samples::{action, all_of, parse, path, record},
};
use whisker_store_embedded::{Config, Durability, Embedded};

/// When the first record starts, in ms.
const EPOCH: u64 = 1_790_000_000_000;

/// Different actions in the records.
const NAMES: u64 = 100;

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let records = numbers.first().copied().unwrap_or(1_000_000);
    let actions = numbers.get(1).copied().unwrap_or(100_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    println!("a record is about {} bytes as JSON", serde_json::to_string(&sample(0)).unwrap().len());

    println!("\n# writes, rows/s (and ms per call: median, 99 %, worst)");
    for (durability, synchronous) in [(Durability::Process, "NORMAL"), (Durability::Power, "FULL")] {
        for group in [1, 16, 64] {
            floor(synchronous, group, 20_000.min(records));
        }
        for (callers, batch) in [(1, 1), (16, 1), (64, 1), (1, 16), (1, 64), (4, 64)] {
            runtime.block_on(writes(durability, callers, batch, 20_000.min(records)));
        }
    }

    println!("\n# reads, µs: median, 99 %");
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Embedded::open(&Config::new(dir.path())).unwrap());
    let few = 1_000.min(records).min(actions);
    runtime.block_on(async {
        fill_actions(&store, 0, few).await;
        fill(&store, 0, few).await;
        println!("with {few} records and {few} actions:");
        reads(&store, few, few).await;
        fill_actions(&store, few, actions).await;
        let begun = Instant::now();
        fill(&store, few, records).await;
        let rate = (records - few) as f64 / begun.elapsed().as_secs_f64();
        println!("filled with {rate:.0} rows/s; the file has {} MB", size_mb(&dir.path().join("store.db")));
        println!("with {records} records and {actions} actions:");
        reads(&store, records, actions).await;
        write_latency(&store, "alone", records).await;
        pruned_while_written(&store, records).await;
        uploaded_while_written(&store, records).await;
    });
    let begun = Instant::now();
    drop(store);
    println!("closed in {:.0} ms", ms(begun.elapsed()));
    let begun = Instant::now();
    let store = Embedded::open(&Config::new(dir.path())).unwrap();
    println!("opened in {:.1} ms", ms(begun.elapsed()));
    drop(store);
}

/// A record like those of a small function: 600 bytes, ids that begin with the time.
fn sample(n: u64) -> Activation {
    let start = EPOCH + n / 5;
    let mixed = u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 16 | u128::from(n);
    let name = format!("guest/action{:03}", n % NAMES);
    let mut record = record("guest", &name, ActivationId::new(start, mixed), start);
    record.annotations.set_value("waitTime", 3);
    record.annotations.set_value("limits", serde_json::json!({"timeout":60000,"memory":256,"logs":10,"concurrency":1}));
    record
}

/// Bare SQLite: one table in insertion order, one commit per group.
fn floor(synchronous: &str, group: u64, rows: u64) {
    let dir = tempfile::tempdir().unwrap();
    let connection = Connection::open(dir.path().join("floor.db")).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "synchronous", synchronous).unwrap();
    connection.execute_batch("CREATE TABLE records (row INTEGER PRIMARY KEY, id BLOB, record TEXT)").unwrap();
    let rows: Vec<_> = (0..rows).map(|n| (sample(n).id, serde_json::to_string(&sample(n)).unwrap())).collect();
    let mut times = Vec::new();
    let begun = Instant::now();
    for group in rows.chunks(group as usize) {
        let called = Instant::now();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut insert = connection.prepare_cached("INSERT INTO records (id, record) VALUES (?, ?)").unwrap();
        for (id, text) in group {
            insert.execute(params![id.to_bytes(), text]).unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
        times.push(called.elapsed());
    }
    report_writes(&format!("floor: bare SQLite, {synchronous}, groups of {group}"), rows.len(), begun.elapsed(), times);
}

async fn writes(durability: Durability, callers: u64, batch: u64, rows: u64) {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Embedded::open(&Config { durability, ..Config::new(dir.path()) }).unwrap());
    let rows: Arc<Vec<_>> = Arc::new((0..rows).map(|n| Arc::new(sample(n))).collect());
    let next = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let (store, rows, next) = (store.clone(), rows.clone(), next.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                loop {
                    let first = next.fetch_add(batch, Ordering::Relaxed) as usize;
                    if first >= rows.len() {
                        return times;
                    }
                    let called = Instant::now();
                    Activations::put(&*store, &rows[first..rows.len().min(first + batch as usize)]).await.unwrap();
                    times.push(called.elapsed());
                }
            })
        })
        .collect();
    let (count, mut times) = (callers.len(), Vec::new());
    for caller in callers {
        times.extend(caller.await.unwrap());
    }
    report_writes(&format!("{durability:?}, {count} callers, batches of {batch}"), rows.len(), begun.elapsed(), times);
}

fn report_writes(what: &str, rows: usize, took: Duration, mut times: Vec<Duration>) {
    let rate = rows as f64 / took.as_secs_f64();
    times.sort();
    let [half, most, worst] = [0.5, 0.99, 1.0].map(|part| ms(at(&times, part)));
    println!("{what:48} {rate:>9.0}   {half:>7.3} {most:>7.3} {worst:>7.3}");
}

async fn fill(store: &Arc<Embedded>, from: u64, to: u64) {
    let writers = (0..2).map(|half| {
        let store = store.clone();
        tokio::spawn(async move {
            for first in (from..to).step_by(512).skip(half).step_by(2) {
                let batch: Vec<_> = (first..to.min(first + 512)).map(|n| Arc::new(sample(n))).collect();
                Activations::put(&*store, &batch).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

async fn fill_actions(store: &Arc<Embedded>, from: u64, to: u64) {
    let writers = (0..64).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in (from + n..to).step_by(64) {
                let action = action(&format!("guest/action{n:06}"), &format!("const n = {}", n % 1_000), n);
                Entities::put(&*store, &whisker_store::Document::Action(action), None).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

async fn reads(store: &Arc<Embedded>, records: u64, actions: u64) {
    let guest = parse("guest");
    let pick = |i: u64, of: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % of;
    let all = all_of("guest");
    let one = ActivationQuery { name: Some(parse("guest/action042")), ..all.clone() };
    let late = ActivationQuery { since: Some(EPOCH + records / 10), ..all.clone() };
    let list = Page { skip: 0, limit: 30 };
    let deep = Page { skip: records * 9 / 10, limit: 30 };
    let (actions_at, all_actions) = (path("guest"), Page { skip: 0, limit: 200 });

    time("an action", 20_000, |i| {
        let name = named(pick(i, actions));
        async move { Entities::get(&**store, &name).await }
    })
    .await;
    time("a record", 20_000, |i| Activations::get(&**store, &guest, sample(pick(i, records)).id)).await;
    time("… one of the last 1,000", 20_000, |i| {
        Activations::get(&**store, &guest, sample(records - 1 - pick(i, 1_000.min(records))).id)
    })
    .await;
    time("list of 30 records", 2_000, |_| Activations::list(&**store, &all, list)).await;
    time("list of 30 records of one action", 2_000, |_| Activations::list(&**store, &one, list)).await;
    time("list of 200 records", 500, |_| Activations::list(&**store, &all, Page { limit: 200, ..list })).await;
    time("list of 30 whole records", 2_000, |_| store.list_full(&all, list, u64::MAX)).await;
    time("list of 30 records after 90 % of them", 5, |_| Activations::list(&**store, &all, deep)).await;
    time("count of records", 2_000, |_| Activations::count(&**store, &all)).await;
    time("count of records of one action", 2_000, |_| Activations::count(&**store, &one)).await;
    time("count of records since the middle", 5, |_| Activations::count(&**store, &late)).await;
    time("list of 30 actions", 2_000, |_| Entities::list(&**store, Collection::Actions, &actions_at, list)).await;
    time("list of 200 actions", 500, |_| Entities::list(&**store, Collection::Actions, &actions_at, all_actions)).await;
    time("count of actions", 2_000, |_| Entities::count(&**store, Collection::Actions, &actions_at)).await;
}

fn named(n: u64) -> whisker_entity::QualifiedName {
    parse(&format!("guest/action{n:06}"))
}

/// Times calls that are made one after the other; they are made from a task,
/// as a server's are.
async fn time<F, T, E: std::fmt::Debug>(what: &str, calls: u64, call: impl Fn(u64) -> F)
where
    F: Future<Output = Result<T, E>>,
{
    let mut times = Vec::new();
    for i in 0..calls {
        let begun = Instant::now();
        let answer = call(i);
        answer.await.unwrap();
        times.push(begun.elapsed());
    }
    times.sort();
    let [half, most] = [0.5, 0.99].map(|part| ms(at(&times, part)) * 1_000.0);
    println!("  {what:44} {half:>9.1} {most:>9.1}");
}

/// A single put at a time, on top of everything.
async fn write_latency(store: &Arc<Embedded>, what: &str, from: u64) {
    let mut times = Vec::new();
    let begun = Instant::now();
    for n in from..from + 5_000 {
        let record = Arc::new(sample(n));
        let called = Instant::now();
        Activations::put(&**store, &[record]).await.unwrap();
        times.push(called.elapsed());
    }
    report_writes(&format!("single puts, {what}"), times.len(), begun.elapsed(), times);
}

/// What pruning costs those who write meanwhile.
async fn pruned_while_written(store: &Arc<Embedded>, records: u64) {
    let pruning = {
        let store = store.clone();
        let retention = Retention { not_before: EPOCH + records / 50, max_count: u64::MAX };
        tokio::spawn(async move {
            let (begun, mut gone, mut steps) = (Instant::now(), 0, Vec::new());
            loop {
                let called = Instant::now();
                match store.prune(retention).await.unwrap() {
                    0 => break,
                    n => gone += n,
                }
                steps.push(called.elapsed());
            }
            report_writes("pruning meanwhile", gone as usize, begun.elapsed(), steps);
        })
    };
    write_latency(store, "while others are pruned", records + 5_000).await;
    pruning.await.unwrap();
}

/// What code of 48 MB costs those who write meanwhile.
async fn uploaded_while_written(store: &Arc<Embedded>, records: u64) {
    let upload = {
        let store = store.clone();
        tokio::spawn(async move {
            let action = action("guest/large", &"0123456789abcde\n".repeat(3 << 20), 1);
            let begun = Instant::now();
            Entities::put(&*store, &whisker_store::Document::Action(action), None).await.unwrap();
            println!("48 MB of code were stored in {:.0} ms", ms(begun.elapsed()));
        })
    };
    write_latency(store, "while code is uploaded", records + 10_000).await;
    upload.await.unwrap();
}

fn at(sorted: &[Duration], part: f64) -> Duration {
    let index = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn size_mb(path: &Path) -> u64 {
    path.metadata().unwrap().len() / 1_000_000
}
