//! User events go where OpenWhisk's service reads them.

use whisker_bus::{Event, EventBody, MetricEvent, MetricName};
use whisker_testkit::Kafka;

use crate::common::{Controller, Invoker, Raw, config, within};

fn event(source: &str) -> Event {
    let metric = MetricEvent { metric_name: MetricName::ConcurrentInvocations, metric_value: 1 };
    Event {
        source: source.into(),
        body: EventBody::Metric(metric),
        subject: "guest".into(),
        namespace: "guest".into(),
        user_id: "23bc".into(),
        timestamp: 1,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn controllers_and_invokers_tell_events() {
    let kafka = Kafka::shared();
    let config = config(&kafka);
    let (controller, invoker) = tokio::join!(Controller::connect(&config, "0"), Invoker::connect(&config, 0));
    let told = [event("controller0"), event("invoker0")];
    within("an event", controller.bus.events().tell(&told[0])).await.unwrap();
    within("an event", invoker.bus.events().tell(&told[1])).await.unwrap();
    invoker.bus.leave().await;
    controller.bus.leave().await;
    let raw = Raw::new(&config.brokers);
    let mut read: Vec<Event> = Vec::new();
    for text in raw.read(&format!("{}events", config.prefix), 2) {
        read.push(serde_json::from_str(&text).unwrap());
    }
    read.sort_by(|a, b| a.source.cmp(&b.source));
    assert_eq!(read, told);
}
