//! The contract of a store, kept over CouchDB's protocol.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use whisker_store_couchdb::{Config, CouchDb};

async fn open() -> ((), Arc<CouchDb>) {
    let url = tokio::task::spawn_blocking(|| whisker_testkit::CouchDb::shared().url()).await.unwrap();
    ((), Arc::new(CouchDb::open(&Config::parse(&url, None).unwrap()).await.unwrap()))
}

whisker_store::contract_tests!(open);
