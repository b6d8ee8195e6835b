//! Subjects are sealed, and the member keeps the contract all the same.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use whisker_secrets::Seals;
use whisker_store::testing::sealed::{keys_change_under_a_store, some};
use whisker_store_postgres::{Config, Postgres};
use whisker_testkit as kit;

async fn opened(server: &kit::Postgres, url: &str, seals: Seals) -> Arc<Postgres> {
    let mut config = Config::parse(url, Some(server.password())).unwrap();
    config.seals = seals;
    Arc::new(Postgres::open(&config).await.unwrap())
}

whisker_store::contract_tests!(subjects: async || {
    let server = kit::Postgres::shared();
    let store = opened(&server, &server.database(), some()).await;
    (server, store)
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_change_under_it() {
    let server = kit::Postgres::shared();
    let url = server.database();
    keys_change_under_a_store(async |seals| opened(&server, &url, seals).await, async || server.dump(&url)).await;
}
