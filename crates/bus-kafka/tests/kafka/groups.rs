//! Leaving a group, and coming back.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext,
    admin::{AdminClient, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext, DefaultConsumerContext, Rebalance},
};
use tokio::time::Instant;
use whisker_bus::InvokerBus;
use whisker_bus_kafka::Config;
use whisker_testkit::Kafka;

use crate::{
    common::{Invoker, LONG, Raw, config, id, text, until},
    group::Member,
};

/// How long it has been joining again when it is closed: at once, and in the midst
/// of leaving.
const MOMENTS: [Duration; 4] = [Duration::ZERO, Duration::ZERO, Duration::from_millis(1), Duration::from_millis(5)];

/// Kafka's client would end this process.
#[tokio::test(flavor = "multi_thread")]
async fn who_joins_again_may_be_closed_at_any_moment() {
    let kafka = Kafka::shared();
    let topics = [format!("{}again", config(&kafka).prefix)];
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", kafka.brokers());
    let admin: AdminClient<DefaultClientContext> = settings.create().unwrap();
    let topic = NewTopic::new(&topics[0], 1, TopicReplication::Fixed(1));
    admin.create_topics(&[topic], &Default::default()).await.unwrap();
    settings.set("group.id", &topics[0]);
    for moment in MOMENTS {
        let member = Member::new(&settings, DefaultConsumerContext).unwrap();
        member.join(&topics).unwrap();
        let began = Instant::now();
        while member.assignment().unwrap().count() == 0 {
            assert!(began.elapsed() < LONG, "it is given nothing");
            let _ = member.poll(Duration::from_millis(50));
        }
        member.join(&topics).unwrap();
        let _ = member.poll(moment);
        drop(member);
    }
}

/// Whether it has been told what it gets, be it nothing.
#[derive(Default)]
struct Told(AtomicBool);

impl ClientContext for Told {}

impl ConsumerContext for Told {
    fn post_rebalance(&self, _: &BaseConsumer<Told>, rebalance: &Rebalance<'_>) {
        self.0.fetch_or(matches!(rebalance, Rebalance::Assign(_)), Ordering::SeqCst);
    }
}

/// Kafka's client keeps a partition paused that was when it went.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_comes_back_is_read_on() {
    const HELD: usize = 8;
    let kafka = Kafka::shared();
    let config = Config { max_held: HELD, ..config(&kafka) };
    let topic = format!("{}invoker0", config.prefix);
    let invoker = Invoker::connect(&config, 0).await;
    let all: Vec<String> = (0..100).map(|n| text(n, false)).collect();
    Raw::new(&kafka.brokers()).write(&topic, all.iter().map(String::as_str));
    let mut held = Vec::new();
    for _ in 0..HELD {
        held.push(invoker.next().await.message.activation);
    }
    until("no room", || invoker.bus.load().0 == HELD).await;

    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", kafka.brokers()).set("group.id", &topic);
    settings.set("partition.assignment.strategy", "range").set("enable.auto.commit", "false");
    let other = Member::new(&settings, Told::default()).unwrap();
    other.join(std::slice::from_ref(&topic)).unwrap();
    let began = Instant::now();
    while !other.context().0.load(Ordering::SeqCst) {
        assert!(began.elapsed() < LONG, "it is told nothing");
        let _ = other.poll(Duration::from_millis(50));
    }
    drop(other);

    let mut left: BTreeSet<_> = (HELD as u64..100).map(id).collect();
    invoker.bus.done(&held).await.unwrap();
    while !left.is_empty() {
        let received = invoker.next().await.message.activation;
        assert!(left.remove(&received), "{received} comes twice");
        invoker.bus.done(&[received]).await.unwrap();
    }
}
