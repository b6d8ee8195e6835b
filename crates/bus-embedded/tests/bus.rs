//! What the embedded bus does in one life, and in the next.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::{Arc, Mutex};

use common::{INVOKER, config, id, message, message_with, open, receive_all, receive_now};
use whisker_bus::{AckSink, Acknowledgement, ControllerBus, ControllerId, Error, InvokerBus, Promise, Redelivered};
use whisker_bus_embedded::EmbeddedBus;
use whisker_entity::TransactionId;
use whisker_journal::Durability;

const MODES: [Durability; 2] = [Durability::Process, Durability::Power];

#[tokio::test]
async fn messages_are_delivered_once_each_in_their_order_and_whole() {
    for mode in MODES {
        let folder = tempfile::tempdir().unwrap();
        let (bus, _) = open(folder.path(), mode);
        for n in 0..8 {
            let promise = if n % 2 == 0 { Promise::Sent } else { Promise::Accepted };
            bus.send(INVOKER, message(n), promise).await.unwrap();
        }
        let all = receive_all(&bus).await;
        for (n, delivery) in (0..).zip(&all) {
            assert_eq!(delivery.message.activation, id(n));
            assert_eq!(delivery.redelivered, Redelivered::No);
        }
        assert_eq!(all.len(), 8);
    }
}

#[tokio::test]
async fn an_accepted_message_comes_back_after_a_restart_until_it_is_done() {
    for mode in MODES {
        let folder = tempfile::tempdir().unwrap();
        let (bus, _) = open(folder.path(), mode);
        for n in 0..6 {
            bus.send(INVOKER, message(n), Promise::Accepted).await.unwrap();
        }
        receive_all(&bus).await;
        for n in [0, 1, 2] {
            bus.starting(id(n)).await.unwrap();
        }
        bus.done(&[id(0), id(0), id(77)]).await.unwrap();
        bus.send(INVOKER, message(6), Promise::Sent).await.unwrap();
        drop(bus);

        for _ in 0..2 {
            let (bus, recovered) = open(folder.path(), mode);
            assert_eq!((recovered.interrupted, recovered.queued, recovered.unreadable), (2, 3, 0));
            bus.send(INVOKER, message(9), Promise::Sent).await.unwrap();
            let all = receive_all(&bus).await;
            let found: Vec<_> =
                all.iter().map(|delivery| (delivery.message.activation, delivery.redelivered)).collect();
            let expected = [
                (id(1), Redelivered::AfterStart),
                (id(2), Redelivered::AfterStart),
                (id(3), Redelivered::No),
                (id(4), Redelivered::No),
                (id(5), Redelivered::No),
                (id(9), Redelivered::No),
            ];
            assert_eq!(found, expected);
            assert_eq!(
                serde_json::to_string(&*all[0].message).unwrap(),
                serde_json::to_string(&*message(1)).unwrap(),
                "the message is the same to the last digit"
            );
        }
        let (bus, _) = open(folder.path(), mode);
        bus.done(&[1, 2, 3, 4, 5].map(id)).await.unwrap();
        drop(bus);
        let (bus, recovered) = open(folder.path(), mode);
        assert_eq!((recovered.interrupted, recovered.queued), (0, 0));
        assert_eq!(bus.depth().journal.live_entries, 0, "nothing is left of messages that are done");
    }
}

#[tokio::test]
async fn a_message_whose_caller_stopped_waiting_is_secured() {
    for mode in MODES {
        let folder = tempfile::tempdir().unwrap();
        let (bus, _) = open(folder.path(), mode);
        for n in 0..4 {
            bus.send(INVOKER, message(n), Promise::Sent).await.unwrap();
        }
        // 0 runs before it is secured, 1 after, 2 is done first, 3 is not secured.
        bus.starting(id(0)).await.unwrap();
        bus.secure(id(0)).await.unwrap();
        bus.secure(id(0)).await.unwrap();
        bus.secure(id(1)).await.unwrap();
        bus.starting(id(1)).await.unwrap();
        bus.done(&[id(2)]).await.unwrap();
        bus.secure(id(2)).await.unwrap();
        drop(bus);
        let (bus, _) = open(folder.path(), mode);
        let all = receive_all(&bus).await;
        let found: Vec<_> = all.iter().map(|delivery| (delivery.message.activation, delivery.redelivered)).collect();
        assert_eq!(found, [(id(0), Redelivered::AfterStart), (id(1), Redelivered::AfterStart)]);
    }
}

#[tokio::test]
async fn what_is_done_before_it_was_delivered_again_is_not_delivered() {
    for mode in MODES {
        let folder = tempfile::tempdir().unwrap();
        let (bus, _) = open(folder.path(), mode);
        for n in 0..2 {
            bus.send(INVOKER, message(n), Promise::Accepted).await.unwrap();
        }
        drop(bus);
        let (bus, recovered) = open(folder.path(), mode);
        assert_eq!(recovered.queued, 2);
        bus.done(&[id(0)]).await.unwrap();
        let all = receive_all(&bus).await;
        assert_eq!(all.iter().map(|delivery| delivery.message.activation).collect::<Vec<_>>(), [id(1)]);
    }
}

#[tokio::test]
async fn a_message_that_was_only_sent_touches_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let (bus, _) = open(folder.path(), Durability::Power);
    let before = bus.depth().journal;
    bus.send(INVOKER, message(0), Promise::Sent).await.unwrap();
    let delivery = receive_now(&bus).await.unwrap();
    bus.starting(delivery.message.activation).await.unwrap();
    bus.done(&[delivery.message.activation]).await.unwrap();
    assert_eq!(bus.depth().journal, before);
    assert_eq!((bus.depth().queued, bus.depth().held), (0, 0));
}

#[tokio::test]
async fn a_full_queue_refuses_until_something_is_received() {
    for promise in [Promise::Sent, Promise::Accepted] {
        let folder = tempfile::tempdir().unwrap();
        let (bus, _) = open(folder.path(), Durability::Process);
        for n in 0..8 {
            bus.send(INVOKER, message(n), promise).await.unwrap();
        }
        assert!(matches!(bus.send(INVOKER, message(8), promise).await, Err(Error::Full(8))));
        receive_now(&bus).await.unwrap();
        bus.send(INVOKER, message(9), promise).await.unwrap();
        assert_eq!(receive_all(&bus).await.len(), 8);
    }
}

#[tokio::test]
async fn the_queue_is_bounded_in_bytes_but_takes_one_message_of_any_size() {
    let folder = tempfile::tempdir().unwrap();
    let limits = whisker_bus_embedded::Config { queue_bytes: 4096, ..config(folder.path(), Durability::Process) };
    let (bus, _) = EmbeddedBus::open(limits).unwrap();
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(10_000));
    bus.send(INVOKER, message_with(0, &large), Promise::Sent).await.unwrap();
    assert!(matches!(bus.send(INVOKER, message(1), Promise::Sent).await, Err(Error::Full(_))));
    receive_now(&bus).await.unwrap();
    bus.send(INVOKER, message(1), Promise::Sent).await.unwrap();
}

#[tokio::test]
async fn a_full_journal_makes_the_bus_unavailable_and_leaves_the_queue_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut limits = config(folder.path(), Durability::Process);
    limits.journal.max_live_bytes = 1400;
    let (bus, _) = EmbeddedBus::open(limits).unwrap();
    bus.send(INVOKER, message(0), Promise::Accepted).await.unwrap();
    bus.send(INVOKER, message(1), Promise::Accepted).await.unwrap();
    for n in 2..20 {
        let error = bus.send(INVOKER, message(n), Promise::Accepted).await.unwrap_err();
        let Error::Unavailable(Some(source)) = error else { panic!("{error:?}") };
        assert!(source.downcast::<whisker_journal::Error>().unwrap().is_full());
    }
    bus.send(INVOKER, message(30), Promise::Sent).await.unwrap();
    assert_eq!(receive_all(&bus).await.len(), 3);
    bus.done(&[id(0)]).await.unwrap();
    bus.send(INVOKER, message(31), Promise::Accepted).await.unwrap();
}

#[tokio::test]
async fn a_message_sent_twice_is_delivered_once_with_the_stronger_promise() {
    let folder = tempfile::tempdir().unwrap();
    let (bus, _) = open(folder.path(), Durability::Process);
    bus.send(INVOKER, message(0), Promise::Sent).await.unwrap();
    bus.send(INVOKER, message(0), Promise::Accepted).await.unwrap();
    assert_eq!(receive_all(&bus).await.len(), 1);
    drop(bus);
    let (bus, recovered) = open(folder.path(), Durability::Process);
    assert_eq!(recovered.queued, 1);
    bus.send(INVOKER, message(0), Promise::Accepted).await.unwrap();
    assert_eq!(receive_all(&bus).await.len(), 1);
}

#[tokio::test]
async fn a_sender_that_leaves_while_its_message_is_written_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (bus, _) = open(folder.path(), Durability::Power);
    for n in 0..100 {
        let mut send = bus.send(INVOKER, message(n), Promise::Accepted);
        std::future::poll_fn(|context| std::task::Poll::Ready(send.as_mut().poll(context).is_ready())).await;
        drop(send);
    }
    for n in 100..108 {
        bus.send(INVOKER, message(n), Promise::Accepted).await.unwrap();
    }
    while bus.depth().journal.live_entries > 8 {
        tokio::task::yield_now().await;
    }
    assert_eq!(receive_all(&bus).await.len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_waits_is_woken_and_one_that_leaves_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (bus, _) = open(folder.path(), Durability::Process);
    let receiver = {
        let bus = Arc::clone(&bus);
        tokio::spawn(async move {
            let mut count = 0_u64;
            loop {
                tokio::select! {
                    biased;
                    delivery = bus.receive() => match delivery {
                        None => return count,
                        Some(_) => count += 1,
                    },
                    // Drops a receive that may just have been woken.
                    () = tokio::task::yield_now() => {}
                }
            }
        })
    };
    let mut sent = 0;
    while sent < 20_000 {
        match bus.send(INVOKER, message(sent), Promise::Sent).await {
            Ok(()) => sent += 1,
            Err(Error::Full(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
    while bus.depth().queued > 0 {
        tokio::task::yield_now().await;
    }
    bus.close();
    assert_eq!(receiver.await.unwrap(), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_bus_ends_its_receiver_and_keeps_what_was_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let (bus, _) = open(folder.path(), Durability::Process);
    let waiting = tokio::spawn({
        let bus = Arc::clone(&bus);
        async move { bus.receive().await.is_none() }
    });
    tokio::task::yield_now().await;
    bus.close();
    assert!(waiting.await.unwrap());
    drop(bus);

    let (bus, _) = open(folder.path(), Durability::Process);
    bus.send(INVOKER, message(0), Promise::Accepted).await.unwrap();
    bus.send(INVOKER, message(1), Promise::Accepted).await.unwrap();
    receive_now(&bus).await.unwrap();
    bus.close();
    assert!(bus.receive().await.is_none());
    assert!(matches!(bus.send(INVOKER, message(2), Promise::Accepted).await, Err(Error::Unavailable(None))));
    // What runs may end.
    bus.done(&[id(0)]).await.unwrap();
    drop(bus);
    let (bus, _) = open(folder.path(), Durability::Process);
    assert_eq!(receive_all(&bus).await.len(), 1);
}

#[derive(Default)]
struct Sink(Mutex<Vec<Acknowledgement>>);

impl AckSink for Sink {
    fn acknowledged(&self, acknowledgement: Acknowledgement) {
        self.0.lock().unwrap().push(acknowledgement);
    }
}

#[tokio::test]
async fn acknowledgements_go_to_the_sink() {
    let folder = tempfile::tempdir().unwrap();
    let (bus, _) = open(folder.path(), Durability::Process);
    let completion = || Acknowledgement::Completion {
        controller: ControllerId("0".into()),
        transaction: TransactionId::restore("abc"),
        began: 0,
        activation: id(0),
        system_error: false,
        invoker: INVOKER,
    };
    bus.acknowledge(completion()).await.unwrap();
    let sink = Arc::new(Sink::default());
    bus.subscribe(sink.clone());
    bus.acknowledge(completion()).await.unwrap();
    assert_eq!(sink.0.lock().unwrap().len(), 1);
}
