//! The database stops, or hangs, in the middle of everything.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use whisker_store::{
    Change, Entities,
    testing::{
        outage::{Outage, a_store_that_is_away_says_so, what_was_answered_survives},
        samples::trigger,
    },
};
use whisker_store_postgres::{Config, Postgres};
use whisker_testkit as kit;

/// It crashes, and is started again.
struct Stopped<'a>(&'a kit::Postgres);

impl Outage for Stopped<'_> {
    fn begin(&self) {
        self.0.stop();
    }
    fn end(&self) {
        self.0.resume();
    }
}

/// It takes connections and does not answer, as behind a network that
/// swallows everything.
struct Frozen<'a>(&'a kit::Postgres);

impl Outage for Frozen<'_> {
    fn begin(&self) {
        self.0.freeze();
    }
    fn end(&self) {
        self.0.thaw();
    }
}

async fn opened(server: &kit::Postgres) -> Arc<Postgres> {
    let config = Config::parse(&server.hasty_database(), Some(server.password())).unwrap();
    Arc::new(Postgres::open(&config).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_database_is_told_at_once_and_used_when_it_is_back() {
    let server = kit::Postgres::durable();
    a_store_that_is_away_says_so(opened(&server).await, &Stopped(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_is_told_within_a_second() {
    let server = kit::Postgres::start();
    a_store_that_is_away_says_so(opened(&server).await, &Frozen(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_crash_of_the_database() {
    let server = kit::Postgres::durable();
    what_was_answered_survives(opened(&server).await, &Stopped(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_listens_hears_that_something_may_have_been_missed() {
    let server = kit::Postgres::durable();
    let store = opened(&server).await;
    let mut changes = Entities::changes(&*store);
    // The first time too: nobody knows since when it listens.
    assert_eq!(changes.next().await, Change::Anything);
    server.stop();
    server.resume();
    assert_eq!(changes.next().await, Change::Anything);
    store.put(&trigger("ns/t", 1), None).await.unwrap();
    assert_eq!(changes.next().await, Change::Document("ns/t".parse().unwrap()));
}
