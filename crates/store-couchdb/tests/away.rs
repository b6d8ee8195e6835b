//! The database is cut off, or hangs, in the middle of everything.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use whisker_store::testing::outage::{Outage, a_store_that_is_away_says_so, what_was_answered_survives};
use whisker_store_couchdb::{Config, CouchDb};
use whisker_testkit as kit;

/// Nothing listens any more.
struct Cut<'a>(&'a kit::CouchDb);

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
struct Frozen<'a>(&'a kit::CouchDb);

impl Outage for Frozen<'_> {
    fn begin(&self) {
        self.0.freeze();
    }
    fn end(&self) {
        self.0.thaw();
    }
}

async fn opened(url: &str) -> Arc<CouchDb> {
    Arc::new(CouchDb::open(&Config::parse(url, None).unwrap()).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_cut_off_is_told_at_once_and_used_when_it_is_back() {
    let server = kit::CouchDb::start(None);
    a_store_that_is_away_says_so(opened(&server.hasty_url()).await, &Cut(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_is_told_within_a_second() {
    let server = kit::CouchDb::start(None);
    a_store_that_is_away_says_so(opened(&server.hasty_url()).await, &Frozen(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_an_outage() {
    let server = kit::CouchDb::start(None);
    what_was_answered_survives(opened(&server.url()).await, &Cut(&server)).await;
}
