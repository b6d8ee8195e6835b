//! The embedded member keeps the contract of the store.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use whisker_store_embedded::{Config, Embedded};

whisker_store::contract_tests!(async || {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(&Config::new(dir.path())).unwrap();
    (dir, Arc::new(store))
});
