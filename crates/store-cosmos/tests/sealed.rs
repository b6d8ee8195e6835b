//! Users' keys are sealed where that was chosen, and the member keeps the
//! contract all the same.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use whisker_secrets::Seals;
use whisker_store::testing::sealed::{keys_are_sealed_by_choice, some};
use whisker_store_cosmos::{Config, Cosmos, Users};
use whisker_testkit as kit;

async fn server() -> &'static kit::Cosmos {
    tokio::task::spawn_blocking(kit::Cosmos::shared).await.unwrap()
}

async fn opened(server: &kit::Cosmos, url: &str, seals: Seals, users: Users) -> Arc<Cosmos> {
    let config = Config { seals, users, ..Config::parse(url, Some(server.key())).unwrap() };
    Arc::new(Cosmos::open(&config).await.unwrap())
}

whisker_store::contract_tests!(subjects: async || {
    let server = server().await;
    ((), opened(server, &server.url(), some(), Users::Sealed).await)
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_change_under_it() {
    let server = server().await;
    let url = server.url();
    let dump = async || {
        let url = url.clone();
        tokio::task::spawn_blocking(move || server.documents(&url, "subjects")).await.unwrap()
    };
    let users = |sealed| if sealed { Users::Sealed } else { Users::Clear };
    keys_are_sealed_by_choice(async |seals, sealed| opened(server, &url, seals, users(sealed)).await, dump).await;
}

#[tokio::test]
async fn without_a_key_it_is_not_opened() {
    let config = Config::parse("cosmos://127.0.0.1:1/db?users=sealed", Some("czNjcmV0")).unwrap();
    let error = Cosmos::open(&config).await.unwrap_err().to_string();
    assert_eq!(error, "users=sealed needs a key to encrypt with: see --parameter-encryption");
}
