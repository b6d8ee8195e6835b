//! Subjects are sealed, and the member keeps the contract all the same.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, sync::Arc};

use whisker_store::testing::sealed::{keys_change_under_a_store, some};
use whisker_store_embedded::{Config, Embedded};

whisker_store::contract_tests!(subjects: async || {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(&Config { seals: some(), ..Config::new(dir.path()) }).unwrap();
    (dir, Arc::new(store))
});

#[tokio::test]
async fn keys_change_under_it() {
    let dir = tempfile::tempdir().unwrap();
    let files = || fs::read_dir(dir.path()).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
    keys_change_under_a_store(
        async |seals| Arc::new(Embedded::open(&Config { seals, ..Config::new(dir.path()) }).unwrap()),
        async || files().flatten().collect(),
    )
    .await;
}
