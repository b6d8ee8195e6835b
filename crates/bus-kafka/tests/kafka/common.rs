//! Controllers and invokers on a Kafka, and messages for them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use tokio::time::Instant;
use whisker_bus::{
    AckSink, Acknowledgement, ActivationMessage, ControllerBus, ControllerId, Delivery, Incarnation, InvokerBus,
    InvokerId, InvokerInstance, InvokerPing, News, NewsSink, Promise,
};
use whisker_bus_kafka::{Config, KafkaController, KafkaInvoker};
use whisker_entity::{ActivationId, Millis};
use whisker_testkit::Kafka;

/// Longest that anything may take here: machines that run tests are busy.
pub const LONG: Duration = Duration::from_secs(90);

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "the clock that the bus is given")]
pub fn wall() -> Millis {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_millis().try_into().unwrap()
}

/// Settings for this test alone.
pub fn config(kafka: &Kafka) -> Config {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let prefix = format!("t{}-{}-", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    config_of(&kafka.brokers(), &prefix)
}

/// Settings for the topics of a prefix. On a busy machine nobody is taken for
/// dead who is only slow.
pub fn config_of(brokers: &str, prefix: &str) -> Config {
    Config {
        prefix: prefix.to_owned(),
        send_timeout: Duration::from_secs(60),
        session_timeout: Duration::from_secs(30),
        offline_after: Duration::from_secs(60),
        ..Config::new(brokers, Arc::new(wall))
    }
}

/// The same for those who wait for a death.
pub fn impatient(config: Config) -> Config {
    let soon = Duration::from_secs(5);
    Config { session_timeout: soon, offline_after: soon, ..config }
}

/// A controller, and what it heard.
pub struct Controller {
    pub bus: Arc<KafkaController>,
    pub heard: Arc<Heard>,
}

#[derive(Default)]
pub struct Heard {
    pub acks: Mutex<Vec<Acknowledgement>>,
    pub undelivered: Mutex<Vec<ActivationId>>,
    pub news: Mutex<Vec<News>>,
}

impl AckSink for Heard {
    fn acknowledged(&self, acknowledgement: Acknowledgement) {
        self.acks.lock().unwrap().push(acknowledgement);
    }

    fn undelivered(&self, activation: ActivationId) {
        self.undelivered.lock().unwrap().push(activation);
    }
}

impl NewsSink for Heard {
    fn heard(&self, news: News) {
        self.news.lock().unwrap().push(news);
    }
}

impl Controller {
    pub async fn connect(config: &Config, id: &str) -> Controller {
        let bus = Arc::new(KafkaController::connect(config.clone(), ControllerId(id.into())).await.unwrap());
        let heard = Arc::new(Heard::default());
        bus.subscribe(heard.clone());
        bus.follow(heard.clone());
        Controller { bus, heard }
    }

    pub async fn accept(&self, to: u32, n: u64) {
        self.bus.send(InvokerId(to), message(n, false), Promise::Accepted).await.unwrap();
    }

    pub async fn send(&self, to: u32, n: u64) {
        self.bus.send(InvokerId(to), message(n, true), Promise::Sent).await.unwrap();
        self.bus.secure(id(n)).await.unwrap();
    }
}

/// An invoker that pings until it is dropped.
pub struct Invoker {
    pub bus: Arc<KafkaInvoker>,
    number: u32,
    pings: tokio::task::JoinHandle<()>,
}

impl Drop for Invoker {
    fn drop(&mut self) {
        self.pings.abort();
    }
}

impl Invoker {
    pub async fn connect(config: &Config, number: u32) -> Invoker {
        static LIFE: AtomicU64 = AtomicU64::new(0);
        let life = (u64::from(std::process::id()) << 32) | LIFE.fetch_add(1, Ordering::Relaxed);
        Invoker::connect_as(config, number, life).await
    }

    /// In a life of this number: higher ones began later.
    pub async fn connect_as(config: &Config, number: u32, life: u64) -> Invoker {
        let instance = InvokerInstance::new(InvokerId(number), "1 GB".parse().unwrap());
        let bus = KafkaInvoker::connect(config.clone(), instance.clone(), Incarnation(life)).await.unwrap();
        let bus = Arc::new(bus);
        let pings = tokio::spawn({
            let bus = bus.clone();
            async move {
                let ping = InvokerPing { instance, enabled: true, incarnation: None };
                loop {
                    let _ = bus.ping(&ping).await;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        });
        Invoker { bus, number, pings }
    }

    /// Says once that it takes no more work, and is silent.
    pub async fn say_goodbye(&self) {
        self.pings.abort();
        let instance = InvokerInstance::new(InvokerId(self.number), "1 GB".parse().unwrap());
        self.bus.ping(&InvokerPing { instance, enabled: false, incarnation: None }).await.unwrap();
    }

    /// The next message.
    pub async fn next(&self) -> Delivery {
        within("a message", self.bus.receive()).await.unwrap()
    }

    /// The next message, seen through as an invoker does.
    pub async fn run(&self) -> ActivationId {
        let id = self.next().await.message.activation;
        self.bus.starting(id).await.unwrap();
        self.bus.done(&[id]).await.unwrap();
        id
    }
}

/// Waits for something that has to come.
pub async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, wait).await.unwrap_or_else(|_| panic!("not within {LONG:?}: {what}"))
}

/// Waits for a state.
pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LONG, "not within {LONG:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The id number `n`.
pub fn id(n: u64) -> ActivationId {
    ActivationId::new(1_700_000_000_000, u128::from(n))
}

/// What number an id has.
pub fn number(id: ActivationId) -> u64 {
    u64::from_be_bytes(id.to_bytes()[8..].try_into().unwrap())
}

/// The message with the id number `n`, as OpenWhisk writes it.
pub fn text(n: u64, blocking: bool) -> String {
    format!(
        concat!(
            r#"{{"transid":["abc",1700000000000],"action":{{"path":"guest","name":"hello","version":"0.0.1"}},"#,
            r#""revision":"1-d41d8c","user":{{"subject":"guest","namespace":{{"name":"guest","uuid":"u"}},"#,
            r#""authkey":{{"api_key":"u:{key}"}},"rights":["READ","PUT","DELETE","ACTIVATE"],"limits":{{}}}},"#,
            r#""activationId":"{id}","rootControllerIndex":{{"asString":"0","instanceType":"controller"}},"#,
            r#""blocking":{blocking},"content":{{"name":"Ann","n":1e400}},"initArgs":[],"lockedArgs":{{}}}}"#
        ),
        key = "k".repeat(64),
        id = id(n),
        blocking = blocking,
    )
}

pub fn message(n: u64, blocking: bool) -> Arc<ActivationMessage> {
    Arc::new(serde_json::from_str(&text(n, blocking)).unwrap())
}

/// A client of Kafka's that is not ours, for what others write and read.
pub struct Raw {
    brokers: String,
    producer: BaseProducer,
}

impl Raw {
    pub fn new(brokers: &str) -> Raw {
        let producer = ClientConfig::new().set("bootstrap.servers", brokers).set("linger.ms", "5").create().unwrap();
        Raw { brokers: brokers.to_owned(), producer }
    }

    /// Writes payloads; returns when they are written.
    pub fn write<'a>(&self, topic: &str, payloads: impl IntoIterator<Item = &'a str>) {
        for payload in payloads {
            let record: BaseRecord<'_, (), str> = BaseRecord::to(topic).payload(payload);
            self.producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        self.producer.flush(LONG).unwrap();
    }

    /// The first so many payloads of a topic.
    pub fn read(&self, topic: &str, count: usize) -> Vec<String> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", "raw")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        let began = Instant::now();
        let mut all = Vec::new();
        while all.len() < count {
            assert!(began.elapsed() < LONG, "{topic} has only {all:?}");
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                all.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap());
            }
        }
        all
    }

    /// What a group has committed in the first partition of a topic, and its
    /// metadata.
    pub fn committed(&self, group: &str, topic: &str) -> Option<i64> {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).set("group.id", group).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, 0);
        match consumer.committed_offsets(list, LONG).unwrap().elements()[0].offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }
}

/// Counts what ran, by its number.
#[derive(Default)]
pub struct Runs(Mutex<BTreeMap<u64, u32>>);

impl Runs {
    pub fn count(&self, id: ActivationId) {
        *self.0.lock().unwrap().entry(number(id)).or_default() += 1;
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Those that ran more than once.
    pub fn doubled(&self) -> Vec<u64> {
        self.0.lock().unwrap().iter().filter(|(_, runs)| **runs > 1).map(|(n, _)| *n).collect()
    }
}
