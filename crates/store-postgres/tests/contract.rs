//! The member in PostgreSQL keeps the contract of the store.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use whisker_store_postgres::{Config, Postgres};
use whisker_testkit as kit;

whisker_store::contract_tests!(async || {
    let server = kit::Postgres::shared();
    let config = Config::parse(&server.database(), Some(server.password())).unwrap();
    (server, Arc::new(Postgres::open(&config).await.unwrap()))
});
