//! Users' keys are sealed where that was chosen, and the member keeps the
//! contract all the same.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use whisker_secrets::Seals;
use whisker_store::testing::sealed::{keys_are_sealed_by_choice, some};
use whisker_store_couchdb::{Config, CouchDb, Users};
use whisker_testkit as kit;

async fn server() -> &'static kit::CouchDb {
    tokio::task::spawn_blocking(kit::CouchDb::shared).await.unwrap()
}

async fn opened(url: &str, seals: Seals, users: Users) -> Arc<CouchDb> {
    let config = Config { seals, users, ..Config::parse(url, None).unwrap() };
    Arc::new(CouchDb::open(&config).await.unwrap())
}

whisker_store::contract_tests!(subjects: async || {
    let url = server().await.url();
    ((), opened(&url, some(), Users::Sealed).await)
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_change_under_it() {
    let server = server().await;
    let url = server.url_of("chosen_");
    let dump = async || {
        let dump = || server.client().get("/chosen_subjects/_all_docs?include_docs=true").expect(200).to_string();
        tokio::task::spawn_blocking(dump).await.unwrap()
    };
    let open = async |seals, sealed| opened(&url, seals, if sealed { Users::Sealed } else { Users::Clear }).await;
    keys_are_sealed_by_choice(open, dump).await;
}

#[tokio::test]
async fn without_a_key_it_is_not_opened() {
    let config = Config::parse("couchdb://u:p@127.0.0.1:1/?users=sealed", None).unwrap();
    let error = CouchDb::open(&config).await.unwrap_err().to_string();
    assert_eq!(error, "users=sealed needs a key to encrypt with: see --parameter-encryption");
}
