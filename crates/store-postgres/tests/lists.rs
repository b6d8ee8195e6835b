//! A list reads what it shows, also of a table that has no statistics yet.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use whisker_store::{
    Activations, Page,
    testing::samples::{all_of, id, record},
};
use whisker_store_postgres::{Config, Postgres};
use whisker_testkit as kit;

/// Records, from which on a planner that guesses reads all of them.
const MANY: u64 = 150_000;
/// Records of a list.
const SHOWN: u64 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_was_just_filled_is_listed_by_its_index() {
    let server = kit::Postgres::shared();
    let url = server.database();
    let store = Postgres::open(&Config::parse(&url, Some(server.password())).unwrap()).await.unwrap();
    let shown: Vec<_> = (0..SHOWN).map(|n| Arc::new(record("ns", "ns/a", id(MANY + n), MANY + n))).collect();
    store.put(&shown).await.unwrap();
    let fill = format!(
        "INSERT INTO activations (id, start, namespace, action, head, logs)
        SELECT md5(n::text)::uuid, n, 'ns', 'ns/a', repeat('x', 300), '[]' FROM generate_series(0, {MANY} - 1) AS n"
    );
    server.sql(&url, &fill);
    // The database counts what it reads, and a connection tells it with the
    // next question some moments later.
    let read = "SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes WHERE relname LIKE 'activations_d%'";
    let before: u64 = server.sql(&url, read).parse().unwrap();
    let mut lists = 0;
    loop {
        let listed = store.list(&all_of("ns"), Page { skip: 0, limit: SHOWN }).await.unwrap();
        assert_eq!((listed.len() as u64, listed[0].start), (SHOWN, MANY + SHOWN - 1));
        lists += 1;
        let read = server.sql(&url, read).parse::<u64>().unwrap() - before;
        if read > 0 {
            assert!(read <= lists * 2 * SHOWN, "{lists} lists of {SHOWN} read {read} rows");
            return;
        }
        assert!(lists < 10_000, "the database tells nothing");
    }
}
