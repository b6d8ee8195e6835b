//! Messages come, outcomes go back, and both have OpenWhisk's shapes.

use std::sync::Arc;

use whisker_bus::{
    Acknowledgement, CacheInvalidation, CacheKey, ControllerBus, ControllerId, ControllerPing, Incarnation, InvokerBus,
    InvokerId, News, Promise, Redelivered,
};
use whisker_bus_kafka::{Config, KafkaController, Mechanism, Security, Tls, User};
use whisker_entity::TransactionId;
use whisker_testkit::Kafka;

use crate::common::{Controller, Invoker, Raw, config, id, message, text, until, within};

const RECORD: &str = concat!(
    r#"{"namespace":"guest","name":"hello","subject":"guest","activationId":"ID","#,
    r#""start":10,"end":12,"response":{"statusCode":0,"result":{"n":1e400},"size":11},"logs":[],"version":"0.0.1","#,
    r#""publish":false,"annotations":[],"duration":2}"#
);

/// A message goes there and its outcome comes back.
async fn round_trip(config: &Config) {
    let (controller, invoker) = tokio::join!(Controller::connect(config, "0"), Invoker::connect(config, 0));
    controller.accept(0, 1).await;
    controller.send(0, 2).await;
    for n in [1, 2] {
        let delivery = invoker.next().await;
        assert_eq!((delivery.message.activation, delivery.redelivered), (id(n), Redelivered::No));
        assert_eq!(delivery.message.content.get(), r#"{"name":"Ann","n":1e400}"#);
        assert_eq!(invoker.bus.is_accepted(id(n)).await, n == 1);
        within("start", invoker.bus.starting(id(n))).await.unwrap();
        let activation = serde_json::from_str(&RECORD.replace("ID", &id(n).to_string())).unwrap();
        let result = Acknowledgement::Result {
            controller: ControllerId("0".into()),
            transaction: TransactionId::restore("abc"),
            began: 7,
            activation: Arc::new(activation),
        };
        invoker.bus.acknowledge(result).await.unwrap();
        invoker.bus.done(&[id(n)]).await.unwrap();
    }
    until("acknowledgements", || controller.heard.acks.lock().unwrap().len() == 2).await;
    let acks = controller.heard.acks.lock().unwrap().clone();
    let Acknowledgement::Result { activation, began: 7, .. } = &acks[1] else { panic!("{acks:?}") };
    assert_eq!(activation.response.result.as_ref().unwrap().get(), r#"{"n":1e400}"#);
    until("nothing held", || invoker.bus.load() == (0, 0)).await;
    let raw = Raw::new(&config.brokers);
    let topic = format!("{}invoker0", config.prefix);
    until("commit", || raw.committed(&topic, &topic) == Some(2)).await;
    invoker.bus.leave().await;
    controller.bus.leave().await;
    assert!(invoker.bus.receive().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_there_and_its_outcome_comes_back() {
    let kafka = Kafka::shared();
    round_trip(&config(&kafka)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_may_stand_on_a_zookeeper() {
    let kafka = Kafka::on_zookeeper();
    round_trip(&config(&kafka)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_may_want_tls_and_a_password() {
    let kafka = tokio::task::spawn_blocking(Kafka::secured).await.unwrap();
    let (brokers, authority) = kafka.secure();
    let (name, password) = Kafka::USER;
    for mechanism in [Mechanism::Plain, Mechanism::ScramSha512] {
        let user = |password: &str| User { mechanism, name: name.into(), password: password.into() };
        let tls = Tls { authorities: Some(authority.clone()), certificate: None };
        let mut config = Config { brokers: brokers.clone(), ..config(&kafka) };
        config.security = Security { tls: Some(tls), user: Some(user(password)) };
        let (controller, invoker) = tokio::join!(Controller::connect(&config, "0"), Invoker::connect(&config, 0));
        controller.accept(0, 1).await;
        assert_eq!(invoker.run().await, id(1));

        config.send_timeout = std::time::Duration::from_secs(2);
        for security in [
            Security { user: Some(user("wrong")), ..config.security.clone() },
            // Nobody this side knows vouches for it.
            Security { tls: Some(Tls::default()), ..config.security.clone() },
        ] {
            let config = Config { security, ..config.clone() };
            let refused = within("a refusal", KafkaController::connect(config, ControllerId("1".into()))).await;
            assert!(refused.is_err());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_invokers_under_one_number_the_first_is_shut_out() {
    let kafka = Kafka::shared();
    let config = config(&kafka);
    let first = Invoker::connect(&config, 0).await;
    let controller = Controller::connect(&config, "0").await;
    controller.accept(0, 1).await;
    assert_eq!(first.run().await, id(1));
    let second = Invoker::connect(&config, 0).await;
    until("the first is shut out", || first.bus.is_shut_out()).await;
    assert!(first.bus.receive().await.is_none());
    controller.accept(0, 2).await;
    assert_eq!(second.run().await, id(2));
    assert!(!second.bus.is_shut_out());
}

/// What brokers that lost the last word of a group do to its only member, too.
#[tokio::test(flavor = "multi_thread")]
async fn an_invoker_that_is_shut_out_by_no_later_one_comes_back() {
    let kafka = Kafka::shared();
    let config = config(&kafka);
    let later = Invoker::connect_as(&config, 0, u64::MAX).await;
    let controller = Controller::connect(&config, "0").await;
    controller.accept(0, 1).await;
    assert_eq!(later.run().await, id(1));
    let earlier = Invoker::connect_as(&config, 0, 1).await;
    until("the earlier one is shut out", || earlier.bus.is_shut_out()).await;
    controller.accept(0, 2).await;
    assert_eq!(later.run().await, id(2));
    assert!(!later.bus.is_shut_out());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_openwhisk_writes_is_read_and_what_is_written_it_reads() {
    let kafka = Kafka::shared();
    let config = config(&kafka);
    let raw = Raw::new(&kafka.brokers());
    let (controller, invoker) = tokio::join!(Controller::connect(&config, "0"), Invoker::connect(&config, 0));
    let name = |topic: &str| format!("{}{topic}", config.prefix);

    let full = text(1, true).replace(
        r#""lockedArgs":{}"#,
        r#""lockedArgs":{"SECRET":"aes-128"},"cause":"00000000000000000000000000000009","traceContext":{"a":"b"}"#,
    );
    let bare = text(2, false)
        .replace(r#","initArgs":[],"lockedArgs":{}"#, "")
        .replace(r#","version":"0.0.1""#, "")
        .replace("1700000000000]", r#"1700000000000,true,["parent",1]]"#)
        .replace(r#""1-d41d8c""#, "null");
    raw.write(&name("invoker0"), [full.as_str(), "no JSON at all", "{}", bare.as_str()]);
    let first = invoker.next().await.message;
    assert_eq!(serde_json::to_string(&*first).unwrap(), full, "field for field");
    let second = invoker.next().await.message;
    assert_eq!((second.activation, second.revision.as_deref()), (id(2), None));

    let transid = r#""transid":["abc",1700000000000]"#;
    let record = RECORD.replace("ID", &id(1).to_string());
    let instance = concat!(
        r#""isSystemError":false,"instance":{"instance":3,"userMemory":"1024 MB","instanceType":"invoker","#,
        r#""tags":[],"dedicatedNamespaces":[],"uniqueName":"a","displayedName":"b"}"#
    );
    let acks = [
        format!(r#"{{{transid},"response":{record}}}"#),
        format!(r#"{{{transid},"response":"{}"}}"#, id(1)),
        format!(r#"{{{transid},"activationId":"{}",{instance}}}"#, id(1)),
        "nonsense".to_owned(),
        format!(r#"{{{transid},"response":{record},{instance}}}"#),
    ];
    raw.write(&name("completed0"), acks.iter().map(String::as_str));
    until("acknowledgements", || controller.heard.acks.lock().unwrap().len() == 5).await;
    let kinds = controller.heard.acks.lock().unwrap().iter().map(kind).collect::<Vec<_>>();
    assert_eq!(kinds, ["result", "recorded", "completion 3", "result", "completion 3"]);

    let completion = Acknowledgement::Completion {
        controller: ControllerId("0".into()),
        transaction: TransactionId::restore("abc"),
        began: 1_700_000_000_000,
        activation: id(1),
        system_error: false,
        invoker: InvokerId(0),
    };
    invoker.bus.acknowledge(completion).await.unwrap();
    controller.bus.send(InvokerId(5), message(7, false), Promise::Accepted).await.unwrap();
    assert_eq!(raw.read(&name("invoker5"), 1), [text(7, false)]);
    let written = raw.read(&name("completed0"), 6).pop().unwrap();
    let expected = concat!(
        r#"{"transid":["abc",1700000000000],"activationId":"ID","isSystemError":false,"instance":{"instance":0,"#,
        r#""userMemory":"1 GB","instanceType":"invoker","tags":[],"dedicatedNamespaces":[]}}"#
    );
    assert_eq!(written, expected.replace("ID", &id(1).to_string()));
}

fn kind(acknowledgement: &Acknowledgement) -> String {
    match acknowledgement {
        Acknowledgement::Result { .. } => "result".into(),
        Acknowledgement::Recorded { .. } => "recorded".into(),
        Acknowledgement::Completion { invoker, .. } => format!("completion {}", invoker.0),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_hears_who_lives_and_what_changed() {
    let kafka = Kafka::shared();
    let config = config(&kafka);
    let (one, other) = tokio::join!(Controller::connect(&config, "a"), Controller::connect(&config, "b"));
    let _invoker = Invoker::connect(&config, 4).await;
    let ping = ControllerPing {
        controller: ControllerId("a".into()),
        enabled: true,
        incarnation: Incarnation(3),
        heard: None,
    };
    one.bus.ping(&ping).await.unwrap();
    let key = CacheKey { main_id: "guest/hello".into(), secondary_id: None };
    let changed = CacheInvalidation { key, instance_id: "controllera".into() };
    one.bus.invalidate(&changed).await.unwrap();
    for controller in [&one, &other] {
        let heard = |news: &News| controller.heard.news.lock().unwrap().contains(news);
        until("pings", || heard(&News::Controller(ping.clone()))).await;
        until("changes", || heard(&News::Changed(changed.clone()))).await;
        let is_ping = |news: &News| matches!(news, News::Invoker(ping) if ping.instance.id == InvokerId(4) && ping.incarnation.is_some());
        until("an invoker's ping", || controller.heard.news.lock().unwrap().iter().any(is_ping)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_too_large_travels_as_an_id() {
    let kafka = Kafka::shared();
    let config = Config { max_message_bytes: 100_000, ..config(&kafka) };
    let (controller, invoker) = tokio::join!(Controller::connect(&config, "0"), Invoker::connect(&config, 0));
    let large = RECORD.replace("1e400", &"1".repeat(100_000)).replace("ID", &id(1).to_string());
    let result = Acknowledgement::Result {
        controller: ControllerId("0".into()),
        transaction: TransactionId::restore("abc"),
        began: 7,
        activation: Arc::new(serde_json::from_str(&large).unwrap()),
    };
    invoker.bus.acknowledge(result).await.unwrap();
    until("an acknowledgement", || controller.heard.acks.lock().unwrap().len() == 1).await;
    assert_eq!(kind(&controller.heard.acks.lock().unwrap()[0]), "recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoker_reads_only_as_much_as_it_may_hold() {
    const HELD: usize = 8;
    let kafka = Kafka::shared();
    let config = Config { max_held: HELD, ..config(&kafka) };
    let raw = Raw::new(&kafka.brokers());
    let invoker = Invoker::connect(&config, 0).await;
    let all: Vec<String> = (0..100).map(|n| text(n, n % 2 == 0)).collect();
    raw.write(&format!("{}invoker0", config.prefix), all.iter().map(String::as_str));
    let mut held = std::collections::VecDeque::new();
    for n in 0..100 {
        let received = invoker.next().await.message.activation;
        assert_eq!(received, id(n), "oldest first");
        held.push_back(received);
        assert!(invoker.bus.load().0 <= HELD, "{:?}", invoker.bus.load());
        if held.len() == HELD {
            invoker.bus.done(held.make_contiguous()).await.unwrap();
            held.clear();
        }
    }
    invoker.bus.done(held.make_contiguous()).await.unwrap();
    until("nothing held", || invoker.bus.load() == (0, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_may_have_a_topic_of_its_own() {
    let kafka = Kafka::shared();
    let mut config = config(&kafka);
    config.own_topics.insert("guest".into(), "of-guest".into());
    let (controller, invoker) = tokio::join!(Controller::connect(&config, "0"), Invoker::connect(&config, 9));
    controller.accept(0, 1).await;
    assert_eq!(invoker.run().await, id(1));
    assert_eq!(Raw::new(&config.brokers).read(&format!("{}of-guest", config.prefix), 1), [text(1, false)]);
}
