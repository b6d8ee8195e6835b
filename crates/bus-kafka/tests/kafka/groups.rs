//! Leaving a group.

use std::time::Duration;

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{Consumer as _, DefaultConsumerContext},
};
use tokio::time::Instant;
use whisker_testkit::Kafka;

use crate::{
    common::{LONG, config},
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
