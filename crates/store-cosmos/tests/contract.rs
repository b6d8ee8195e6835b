//! The contract of a store, kept against a relative of Cosmos DB's. What that
//! cannot show is in docs/compatibility.md.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use whisker_store::{
    Document, Entities,
    testing::samples::{action, parse},
};
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

// All but `numbers::whole_numbers_keep_their_digits`: Cosmos DB's are doubles.
whisker_store::contract_tests!(doubles: open);

/// What becomes of the others is what docs/compatibility.md says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_numbers_are_rounded_to_doubles() {
    let ((), store) = open().await;
    let mut document = action("ns/a", "", 1);
    document.parameters.set_value("exact", (1_u64 << 53) - 1);
    document.parameters.set_value("rounded", (1_u64 << 53) + 1);
    Entities::put(&*store, &Document::Action(document), None).await.unwrap();
    let Document::Action(read) = Entities::get(&*store, &parse("ns/a")).await.unwrap().document else { panic!() };
    let number = |name| read.parameters.get(name).and_then(|value| value.as_f64()).unwrap();
    assert_eq!((number("exact"), number("rounded")), (9_007_199_254_740_991.0, 9_007_199_254_740_992.0));
}
