//! Messages that wait aside: for their next run, and for their dead letter.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{sync::Arc, time::Duration};

use common::{INVOKER, config, id, message, open, receive_now};
use whisker_bus::{Attempt, ControllerBus, Due, InvokerBus, Letter, Letters, Promise, Redelivered};
use whisker_bus_embedded::{Config, EmbeddedBus};
use whisker_entity::{Millis, Status};
use whisker_journal::Durability;

const NOW: Millis = 1_700_000_000_000;

fn attempt(number: u64) -> Attempt {
    let (error, logs) = (format!("error {number}"), vec!["a line".to_owned()]);
    Attempt { start: NOW + number, duration: 1, status: Status::DeveloperError, error, logs }
}

fn after(seconds: u64) -> Due {
    Due { at: NOW + seconds * 1000, after: Duration::from_secs(seconds) }
}

fn letter() -> Letter {
    Letter {
        trigger: "guest/failed".parse().unwrap(),
        status: Status::DeveloperError,
        error: "error".into(),
        attempts: 3,
        reason: "retries exhausted".into(),
        failed: NOW,
    }
}

/// An accepted message that was received and started.
async fn started(bus: &EmbeddedBus, n: u64) {
    bus.send(INVOKER, message(n), Promise::Accepted).await.unwrap();
    assert!(receive_now(bus).await.is_some());
    bus.starting(id(n)).await.unwrap();
}

async fn retry(bus: &EmbeddedBus, n: u64, number: u64, seconds: u64) -> bool {
    bus.retry(&message(n), attempt(number), after(seconds)).await.unwrap()
}

fn reopen(folder: &tempfile::TempDir, now: Millis) -> (Arc<EmbeddedBus>, whisker_bus_embedded::Recovered) {
    let config = Config { now: Some(now), ..config(folder.path(), Durability::Process) };
    let (bus, recovered) = EmbeddedBus::open(config).unwrap();
    (Arc::new(bus), recovered)
}

#[tokio::test(start_paused = true)]
async fn a_message_comes_back_when_it_is_due_with_what_happened() {
    let folder = tempfile::tempdir().unwrap();
    let (bus, _) = open(folder.path(), Durability::Process);
    started(&bus, 1).await;
    for number in 1..=3 {
        assert!(retry(&bus, 1, number, 10).await);
        assert_eq!((bus.depth().aside, bus.depth().queued), (1, 0));
        let began = tokio::time::Instant::now();
        let delivery = bus.receive().await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 10);
        assert_eq!((delivery.message.activation, delivery.redelivered), (id(1), Redelivered::No));
        let earlier: Vec<Attempt> = (1..=number).map(attempt).collect();
        assert_eq!(delivery.earlier, earlier);
        assert_eq!(bus.depth().aside, 0);
        bus.starting(id(1)).await.unwrap();
    }
    bus.done(&[id(1)]).await.unwrap();
    assert_eq!((bus.depth().held, bus.depth().journal.live_entries), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_comes_meanwhile_does_not_wait_for_what_is_not_due() {
    let folder = tempfile::tempdir().unwrap();
    let (bus, _) = open(folder.path(), Durability::Process);
    started(&bus, 1).await;
    assert!(retry(&bus, 1, 1, 1000).await);
    let receiver = tokio::spawn({
        let bus = bus.clone();
        async move { bus.receive().await.unwrap().message.activation }
    });
    tokio::task::yield_now().await;
    bus.send(INVOKER, message(2), Promise::Sent).await.unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!((receiver.await.unwrap(), began.elapsed().as_secs()), (id(2), 0));
}

#[tokio::test(start_paused = true)]
async fn a_crash_while_it_waits_or_runs_again_is_noticed_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (bus, _) = open(folder.path(), Durability::Process);
    for n in 1..=3 {
        started(&bus, n).await;
        assert!(retry(&bus, n, 1, 10).await);
    }
    // The first waits, the second has come back, the third has begun again.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut came: Vec<_> = Vec::new();
    for _ in 0..3 {
        came.push(bus.receive().await.unwrap().message.activation);
    }
    assert_eq!(came, [id(1), id(2), id(3)]);
    assert!(retry(&bus, 1, 2, 20).await);
    bus.starting(id(3)).await.unwrap();
    drop(bus);

    for _ in 0..2 {
        let (bus, recovered) = reopen(&folder, NOW + 15_000);
        assert_eq!((recovered.waiting, recovered.interrupted, recovered.queued), (2, 1, 0));
        let third = bus.receive().await.unwrap();
        // The second was due a while ago, and so may come first.
        let (second, third) = if third.message.activation == id(3) {
            (bus.receive().await.unwrap(), third)
        } else {
            (third, bus.receive().await.unwrap())
        };
        assert_eq!((third.message.activation, third.redelivered), (id(3), Redelivered::AfterStart));
        assert_eq!((second.message.activation, second.redelivered), (id(2), Redelivered::No));
        assert_eq!((second.earlier.len(), third.earlier.len()), (1, 1));
        let began = tokio::time::Instant::now();
        let first = bus.receive().await.unwrap();
        assert_eq!((first.message.activation, first.earlier.len()), (id(1), 2));
        assert_eq!(began.elapsed().as_secs(), 5, "of the twenty seconds fifteen had gone");
    }
}

#[tokio::test]
async fn a_message_that_was_merely_sent_is_its_callers() {
    let folder = tempfile::tempdir().unwrap();
    let (bus, _) = open(folder.path(), Durability::Process);
    bus.send(INVOKER, message(1), Promise::Sent).await.unwrap();
    receive_now(&bus).await.unwrap();
    assert!(!bus.is_accepted(id(1)).await);
    assert!(!retry(&bus, 1, 1, 0).await);
    bus.secure(id(1)).await.unwrap();
    assert!(bus.is_accepted(id(1)).await);
    assert!(retry(&bus, 1, 1, 0).await);
}

#[tokio::test]
async fn so_many_wait_and_no_namespace_takes_all_places() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Config { aside_messages: 8, ..config(folder.path(), Durability::Process) };
    let (bus, _) = EmbeddedBus::open(settings).unwrap();
    for n in 1..=3 {
        started(&bus, n).await;
    }
    assert!(retry(&bus, 1, 1, 1000).await);
    assert!(retry(&bus, 2, 1, 1000).await);
    assert!(!retry(&bus, 3, 1, 1000).await, "a quarter is one namespace's");
    assert_eq!(bus.depth().aside, 2);
    // It is with its receiver, as before.
    bus.done(&[id(3)]).await.unwrap();
    assert_eq!(bus.depth().held, 2);
}

#[tokio::test]
async fn a_letter_is_given_out_until_it_is_posted_also_by_the_next_life() {
    let folder = tempfile::tempdir().unwrap();
    let (bus, _) = open(folder.path(), Durability::Process);
    started(&bus, 1).await;
    assert!(retry(&bus, 1, 1, 0).await);
    bus.receive().await.unwrap();
    bus.starting(id(1)).await.unwrap();
    bus.bury(id(1), letter()).await.unwrap();
    assert_eq!(bus.depth().journal.live_entries, 2, "the message and its letter");
    let (of, told) = bus.next_letter().await.unwrap();
    assert_eq!((of.activation, of.content.get()), (id(1), r#"{"name":"Ann","n":1e400}"#));
    assert_eq!(told, letter());
    bus.put_back(id(1));
    assert_eq!(bus.next_letter().await.unwrap().0.activation, id(1));
    drop(bus);

    let (bus, recovered) = reopen(&folder, NOW);
    assert_eq!((recovered.letters, recovered.interrupted, recovered.queued), (1, 0, 0));
    assert!(receive_now(&bus).await.is_none(), "it has run for the last time");
    assert_eq!(bus.next_letter().await.unwrap().1, letter());
    bus.posted(id(1));
    bus.posted(id(1));
    assert_eq!((bus.depth().held, bus.depth().journal.live_entries), (0, 0));
    bus.close();
    assert!(bus.next_letter().await.is_none());
}
