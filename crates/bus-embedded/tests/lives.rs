//! Random lives of the bus, beside a model of what it owes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use common::{INVOKER, config, id, message, receive_all, receive_now};
use proptest::prelude::*;
use whisker_bus::{ControllerBus, InvokerBus, Promise, Redelivered};
use whisker_bus_embedded::{Config, EmbeddedBus};
use whisker_journal::Durability;

#[derive(Clone, Debug)]
enum Step {
    Send { n: u64, accepted: bool },
    Secure(u64),
    Receive,
    Starting(u64),
    Done(Vec<u64>),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    // Few numbers, so that late, repeated and impossible steps are common.
    let n = || 0..12_u64;
    prop_oneof![
        4 => (n(), any::<bool>()).prop_map(|(n, accepted)| Step::Send { n, accepted }),
        2 => n().prop_map(Step::Secure),
        3 => Just(Step::Receive),
        3 => n().prop_map(Step::Starting),
        2 => prop::collection::vec(n(), 0..3).prop_map(Step::Done),
        1 => Just(Step::Restart),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owed {
    accepted: bool,
    started: bool,
    delivered: bool,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn each_message_is_delivered_once_a_life_until_it_is_done(
        power in prop::bool::weighted(0.2),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let durability = if power { Durability::Power } else { Durability::Process };
        let folder = tempfile::tempdir().unwrap();
        let config = Config { queue_messages: 100, ..config(folder.path(), durability) };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut bus, _) = EmbeddedBus::open(config.clone()).unwrap();
            let mut owed: BTreeMap<u64, Owed> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Send { n, accepted } => {
                        let promise = if accepted { Promise::Accepted } else { Promise::Sent };
                        bus.send(INVOKER, message(n), promise).await.unwrap();
                        let new = Owed { accepted, started: false, delivered: false };
                        owed.entry(n).or_insert(new).accepted |= accepted;
                    }
                    Step::Secure(n) => {
                        bus.secure(id(n)).await.unwrap();
                        owed.entry(n).and_modify(|owed| owed.accepted = true);
                    }
                    Step::Receive => {
                        let delivery = receive_now(&bus).await;
                        let waiting = owed.values().filter(|owed| !owed.delivered).count();
                        assert_eq!(delivery.is_some(), waiting > 0);
                        if let Some(delivery) = delivery {
                            let (_, owed) =
                                owed.iter_mut().find(|(n, _)| id(**n) == delivery.message.activation).unwrap();
                            assert!(!owed.delivered, "it was delivered twice");
                            owed.delivered = true;
                        }
                    }
                    // An invoker speaks only of what it has been given.
                    Step::Starting(n) => if owed.get(&n).is_none_or(|owed| owed.delivered) {
                        bus.starting(id(n)).await.unwrap();
                        owed.entry(n).and_modify(|owed| owed.started = true);
                    },
                    Step::Done(all) => {
                        let all: Vec<u64> =
                            all.into_iter().filter(|n| owed.get(n).is_none_or(|owed| owed.delivered)).collect();
                        bus.done(&all.iter().map(|n| id(*n)).collect::<Vec<_>>()).await.unwrap();
                        owed.retain(|n, _| !all.contains(n));
                    }
                    Step::Restart => {
                        drop(bus);
                        bus = EmbeddedBus::open(config.clone()).unwrap().0;
                        owed.retain(|_, owed| owed.accepted);
                        owed.values_mut().for_each(|owed| owed.delivered = false);
                        assert_eq!(bus.depth().held, owed.len());
                    }
                }
            }
            drop(bus);
            owed.retain(|_, owed| owed.accepted);
            let (bus, recovered) = EmbeddedBus::open(config).unwrap();
            assert_eq!(recovered.queued + recovered.interrupted, owed.len());
            for delivery in receive_all(&bus).await {
                let (n, owed) = owed.iter().find(|(n, _)| id(**n) == delivery.message.activation).unwrap();
                assert_eq!(delivery.redelivered == Redelivered::AfterStart, owed.started, "{n}");
            }
            let entries = owed.values().map(|owed| 1 + usize::from(owed.started)).sum::<usize>();
            assert!(bus.depth().journal.live_entries <= entries, "no entry outlives its message");
        });
    }
}
