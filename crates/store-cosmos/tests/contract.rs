//! The contract of a store, kept against a relative of Cosmos DB's. What that
//! cannot show is in docs/compatibility.md.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use whisker_store_cosmos::{Config, Cosmos};

async fn open() -> ((), Arc<Cosmos>) {
    let (url, key) = tokio::task::spawn_blocking(|| {
        let server = whisker_testkit::Cosmos::shared();
        (server.url(), server.key())
    })
    .await
    .unwrap();
    ((), Arc::new(Cosmos::open(&Config::parse(&url, Some(key)).unwrap()).await.unwrap()))
}

whisker_store::contract_tests!(open);
