//! Whole days go with their table, and nothing of them stays.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use whisker_store::{
    Activations, Retention,
    testing::samples::{all_of, id, parse, record},
};
use whisker_store_postgres::{Config, Postgres};
use whisker_testkit as kit;

const DAY: u64 = 24 * 60 * 60 * 1000;
/// Records of a large day: more than go by the row.
const MANY: u64 = 12_000;

async fn fill(store: &Postgres, day: u64, many: u64) {
    for from in (0..many).step_by(2_000) {
        let batch = (from..(from + 2_000).min(many))
            .map(|n| Arc::new(record("ns", "ns/a", id(day * DAY + n), day * DAY + n)))
            .collect::<Vec<_>>();
        store.put(&batch).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_goes_with_its_table() {
    let server = kit::Postgres::shared();
    let url = server.database();
    let store = Postgres::open(&Config::parse(&url, Some(server.password())).unwrap()).await.unwrap();
    let tables = || server.sql(&url, "SELECT relname FROM pg_class WHERE relname ~ '^activations_d[0-9]+$' ORDER BY 1");
    fill(&store, 20_000, MANY).await;
    fill(&store, 20_001, MANY).await;
    fill(&store, 20_003, 50).await;
    assert_eq!(
        tables(),
        "activations_d20000\nactivations_d20001\nactivations_d20002\nactivations_d20003\nactivations_d20004"
    );

    // By age: one step, one table.
    let retention = Retention { not_before: 20_001 * DAY, max_count: u64::MAX };
    assert_eq!(store.prune(retention).await.unwrap(), MANY);
    assert_eq!(store.prune(retention).await.unwrap(), 0);
    assert!(!tables().contains("d20000"));
    assert_eq!(store.count(&all_of("ns")).await.unwrap(), MANY + 50);
    assert_eq!(server.sql(&url, "SELECT count(*) FROM activation_ids"), (MANY + 50).to_string());
    assert!(store.known(&parse("ns"), &[id(20_000 * DAY)]).await.unwrap().is_empty());

    // What comes late for that day is kept, among the others, and goes again.
    fill(&store, 20_000, 3).await;
    assert_eq!(store.count(&all_of("ns")).await.unwrap(), MANY + 53);
    assert_eq!(store.prune(retention).await.unwrap(), 3);

    // By number: the day goes as a whole only where all of it is too much.
    let retention = Retention { not_before: 0, max_count: MANY };
    assert_eq!(store.prune(retention).await.unwrap(), 50);
    let retention = Retention { not_before: 0, max_count: 50 };
    assert_eq!(store.prune(retention).await.unwrap(), MANY - 50);
    assert_eq!(store.prune(retention).await.unwrap(), 0);
    assert_eq!(store.count(&all_of("ns")).await.unwrap(), 50);
    assert_eq!(server.sql(&url, "SELECT sum(records) FROM tallies"), "50");
}
