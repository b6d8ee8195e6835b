//! Whatever is done, the member in Cosmos DB answers as the one in memory does.
#![allow(clippy::unwrap_used, reason = "tests")]

use whisker_store::testing::lives;
use whisker_store_cosmos::{Config, Cosmos};
use whisker_testkit as kit;

#[test]
fn it_answers_as_memory_does() {
    let server = kit::Cosmos::start();
    // Few, since each makes a database.
    lives::it_answers_as_memory_does(12, async || {
        let config = Config::parse(&server.url(), Some(server.key())).unwrap();
        ((), Cosmos::open(&config).await.unwrap())
    });
}
