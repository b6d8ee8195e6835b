//! Goal 6: the same calls on a full store and on one that holds no more than
//! a list needs, in turns.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::json;
use whisker_entity::{Activation, ActivationId};
use whisker_store::{
    Activations, Document, Entities,
    testing::samples::{action, record},
};
use whisker_store_embedded::{Config, Embedded};

use crate::{Settings, beside::Beside, client::Until, report::Report, server};

/// Records of one write while the store is filled.
const BATCH: u64 = 512;
/// Actions that are written at once.
const WRITERS: u64 = 64;
/// Different names in the records.
const NAMES: u64 = 100;
/// Records and actions of the store that stands for an empty one: what is read
/// and listed there is as much as on the full one.
const FEW: u64 = 1_000;
/// Reads that are timed, of each kind.
const READS: Until = Until::Sent(2_000);

/// Measures calls, reads and lists.
pub fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let [full, few] = [server::builder(), server::builder()];
    let began = Instant::now();
    let (many_records, many_actions) = (settings.records.max(FEW), settings.actions.max(FEW));
    let full_records = fill(&full.data_dir(), many_records, many_actions)?;
    eprintln!("  filled in {:.0} s", began.elapsed().as_secs_f64());
    let few_records = fill(&few.data_dir(), FEW, FEW)?;
    let (full, few) = (full.start(), few.start());
    for whisker in [&full, &few] {
        server::create(&whisker.guest(), "hello", "nodejs:20", server::HELLO, json!({}));
        let call = [server::invocation("hello", "blocking=true")];
        server::load(whisker, &call, 16, 200).run(Until::Sent(5_000))?;
    }
    let spread = |n: u64, of: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % of;
    let any_action =
        |of| -> Vec<_> { (0..FEW).map(|n| server::reading(&format!("actions/action{:06}", spread(n, of)))).collect() };
    let any_record = |records: Records, of| -> Vec<_> {
        (0..FEW).map(|n| server::reading(&format!("activations/{}", records.id(spread(n, of))))).collect()
    };
    let one = |path| vec![server::reading(path)];
    let call = vec![server::invocation("hello", "blocking=true")];
    let reads = [
        ("full store: an action is read", any_action(many_actions), any_action(FEW)),
        ("full store: a record is read", any_record(full_records, many_records), any_record(few_records, FEW)),
        ("full store: 30 actions are listed", one("actions?limit=30"), one("actions?limit=30")),
        ("full store: 30 records are listed", one("activations?limit=30"), one("activations?limit=30")),
        (
            "full store: 30 records of one action",
            one("activations?name=hello&limit=30"),
            one("activations?name=hello&limit=30"),
        ),
        ("full store: records are counted", one("activations?count=true"), one("activations?count=true")),
    ];

    let length = Until::Passed(settings.length());
    let beside = Beside { little: &few, much: &full };
    for _ in settings.rounds() {
        beside.time(report, "full store: warm call", (&call, &call), length)?;
        for (what, of_full, of_few) in &reads {
            beside.time(report, what, (of_few, of_full), READS)?;
        }
        beside.rate(report, "full store: warm calls, 16 connections", &call, length)?;
    }
    Ok(())
}

/// Which records were written.
#[derive(Clone, Copy)]
struct Records {
    /// When the first one started, in ms; five start in each.
    start: u64,
}

impl Records {
    fn id(self, n: u64) -> ActivationId {
        let mixed = u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 16 | u128::from(n);
        ActivationId::new(self.start + n / 5, mixed)
    }

    fn record(self, n: u64) -> Activation {
        let name = format!("guest/action{:06}", n % NAMES);
        let mut record = record("guest", &name, self.id(n), self.start + n / 5);
        record.annotations.set_value("waitTime", 3);
        record.annotations.set_value("limits", json!({"timeout": 60000, "memory": 256, "logs": 10, "concurrency": 1}));
        record
    }
}

/// The date, in ms.
#[expect(clippy::disallowed_methods, reason = "records are dated")]
fn now() -> anyhow::Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

/// Fills a store as the server would have, but faster.
fn fill(data_dir: &Path, records: u64, actions: u64) -> anyhow::Result<Records> {
    std::fs::create_dir_all(data_dir)?;
    // An hour ago, so that retention leaves them alone.
    let of = Records { start: now()? - 3_600_000 };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = Arc::new(Embedded::open(&Config::new(data_dir))?);
        let next = Arc::new(AtomicU64::new(0));
        let mut writers = Vec::new();
        for _ in 0..WRITERS {
            let (store, next) = (store.clone(), next.clone());
            writers.push(tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= actions {
                        return anyhow::Ok(());
                    }
                    let code = format!("function main() {{ return {{ n: {} }}; }}", n % 1_000);
                    let action = action(&format!("guest/action{n:06}"), &code, of.start + n / 100);
                    Entities::put(&*store, &Document::Action(action), None).await?;
                }
            }));
        }
        for half in 0..2 {
            let store = store.clone();
            writers.push(tokio::spawn(async move {
                for first in (0..records).step_by(BATCH as usize).skip(half).step_by(2) {
                    let batch: Vec<_> = (first..records.min(first + BATCH)).map(|n| Arc::new(of.record(n))).collect();
                    Activations::put(&*store, &batch).await?;
                }
                Ok(())
            }));
        }
        for writer in writers {
            writer.await??;
        }
        Ok(of)
    })
}
