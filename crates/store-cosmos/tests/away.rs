//! The account is cut off, or hangs, in the middle of everything.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use whisker_store::testing::outage::{Outage, a_store_that_is_away_says_so};
use whisker_store_cosmos::{Config, Cosmos};
use whisker_testkit as kit;

/// Nothing takes connections any more.
struct Cut<'a>(&'a kit::Cosmos);

impl Outage for Cut<'_> {
    fn begin(&self) {
        self.0.cut();
    }
    fn end(&self) {
        self.0.mend();
    }
}

/// It takes connections and does not answer, as behind a network that
/// swallows everything.
struct Frozen<'a>(&'a kit::Cosmos);

impl Outage for Frozen<'_> {
    fn begin(&self) {
        self.0.freeze();
    }
    fn end(&self) {
        self.0.thaw();
    }
}

async fn opened(server: &kit::Cosmos) -> Arc<Cosmos> {
    Arc::new(Cosmos::open(&Config::parse(&server.hasty_url(), Some(server.key())).unwrap()).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_is_cut_off_is_told_at_once_and_used_when_it_is_back() {
    let server = kit::Cosmos::start();
    a_store_that_is_away_says_so(opened(&server).await, &Cut(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_hangs_is_told_within_a_second() {
    let server = kit::Cosmos::start();
    a_store_that_is_away_says_so(opened(&server).await, &Frozen(&server)).await;
}
