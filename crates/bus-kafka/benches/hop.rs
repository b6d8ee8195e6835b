//! What the bus costs beside a bare produce-and-consume on the same broker:
//! `cargo bench -p whisker-bus-kafka`, half a minute.

#![expect(clippy::print_stdout, reason = "its figures are what a bench is for")]
#![expect(clippy::unwrap_used, reason = "a bench may stop at what it did not expect")]

#[path = "../tests/kafka/common.rs"]
#[allow(dead_code, reason = "made for tests")]
mod common;

use std::{
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use common::{Controller, Invoker, config, id, message};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
    producer::{BaseRecord, DefaultProducerContext, ThreadedProducer},
};
use tokio::sync::oneshot;
use whisker_bus::{AckSink, Acknowledgement, ControllerBus, InvokerBus, InvokerId, Promise};
use whisker_bus_kafka::{Config, KafkaController};
use whisker_entity::ActivationId;
use whisker_testkit::Kafka;

const CALLS: u64 = 1000;
const MANY: u64 = 20_000;

fn main() {
    let kafka = Kafka::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = config(&kafka);
    runtime.block_on(async {
        let (controller, invoker) = tokio::join!(Controller::connect(&config, "0"), Invoker::connect(&config, 0));
        drop(controller);
        let bench = Bench::new(&config, invoker).await;
        // Turn by turn, since a machine is not the same a minute later.
        for turn in 1..=3 {
            let (one, two) = tokio::task::block_in_place(|| (floor(&config, 1), floor(&config, 2)));
            let call = bench.calls(0).await;
            let ratio = |floor: &Times| call.p50.as_secs_f64() / floor.p50.as_secs_f64();
            println!("turn {turn}");
            println!("  bare produce and consume             {one}");
            println!("  the same, there and back             {two}");
            println!("  send, receive, acknowledge           {call}");
            println!("                                       {:.2} x one way, {:.2} x both", ratio(&one), ratio(&two));
            println!("  accept, claim, done                  {}", bench.accepts(turn).await);
        }
        bench.throughput().await;
        bench.invoker.bus.leave().await;
    });
}

/// Of many times.
struct Times {
    p50: Duration,
    p99: Duration,
}

impl Times {
    fn of(mut all: Vec<Duration>) -> Times {
        all.sort();
        Times { p50: all[all.len() / 2], p99: all[all.len() * 99 / 100] }
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:>8.1?}  p99 {:>8.1?}", self.p50, self.p99)
    }
}

/// A record of a message's size through one topic, or there by one and back by
/// another, with nothing but the client.
fn floor(config: &Config, hops: usize) -> Times {
    let settings = |config: &Config| {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &config.brokers)
            .set("socket.nagle.disable", "true")
            .set("linger.ms", "0")
            .set("acks", "all")
            .set("enable.idempotence", "true");
        client
    };
    let topics = [Topic::new(config, "controllers"), Topic::new(config, "cacheInvalidation")];
    let payload = common::text(0, true);
    let producer: Arc<ThreadedProducer<DefaultProducerContext>> = Arc::new(settings(config).create().unwrap());
    let (arrived, arrivals) = mpsc::channel();
    let (stop, stopped) = (Arc::new(std::sync::atomic::AtomicBool::new(false)), std::sync::atomic::Ordering::SeqCst);
    let threads: Vec<_> = (0..hops)
        .map(|hop| {
            let consumer: BaseConsumer = settings(config).set("group.id", "floor").create().unwrap();
            let mut list = rdkafka::TopicPartitionList::new();
            let (_, end) = consumer.fetch_watermarks(&topics[hop].0, 0, common::LONG).unwrap();
            list.add_partition_offset(&topics[hop].0, 0, rdkafka::Offset::Offset(end)).unwrap();
            consumer.assign(&list).unwrap();
            let next = (hop + 1 < hops).then(|| topics[hop + 1].0.clone());
            let (arrived, producer, payload, stop) = (arrived.clone(), producer.clone(), payload.clone(), stop.clone());
            std::thread::spawn(move || {
                while !stop.load(stopped) {
                    if let Some(Ok(_)) = consumer.poll(Duration::from_millis(100)) {
                        match &next {
                            Some(topic) => produce(&producer, topic, &payload),
                            None => arrived.send(()).unwrap(),
                        }
                    }
                }
            })
        })
        .collect();
    let times = (0..CALLS).map(|_| {
        let began = Instant::now();
        produce(&producer, &topics[0].0, &payload);
        arrivals.recv_timeout(common::LONG).unwrap();
        began.elapsed()
    });
    let times = Times::of(times.collect());
    stop.store(true, stopped);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    times
}

/// The name of a topic that the bus has made and that is quiet.
struct Topic(String);

impl Topic {
    fn new(config: &Config, name: &str) -> Topic {
        Topic(format!("{}{name}", config.prefix))
    }
}

fn produce(producer: &ThreadedProducer<DefaultProducerContext>, topic: &str, payload: &str) {
    let record: BaseRecord<'_, (), str> = BaseRecord::to(topic).payload(payload);
    producer.send(record).map_err(|(error, _)| error).unwrap();
}

/// A controller that waits for one call at a time, and an invoker.
struct Bench {
    controller: Arc<KafkaController>,
    invoker: Arc<Invoker>,
    waits: Arc<Waits>,
}

#[derive(Default)]
struct Waits(Mutex<Option<oneshot::Sender<()>>>);

impl AckSink for Waits {
    fn acknowledged(&self, _: Acknowledgement) {
        if let Some(waiter) = self.0.lock().unwrap().take() {
            let _ = waiter.send(());
        }
    }
}

impl Bench {
    async fn new(config: &Config, invoker: Invoker) -> Bench {
        let id = whisker_bus::ControllerId("bench".into());
        let controller = Arc::new(KafkaController::connect(config.clone(), id).await.unwrap());
        let waits = Arc::new(Waits::default());
        controller.subscribe(waits.clone());
        Bench { controller, invoker: Arc::new(invoker), waits }
    }

    /// Calls one after the other, each a result back and nothing else.
    async fn calls(&self, first: u64) -> Times {
        let invoker = Arc::clone(&self.invoker);
        let answers = tokio::spawn(async move {
            for _ in 0..CALLS {
                let message = invoker.bus.receive().await.unwrap().message;
                invoker.bus.starting(message.activation).await.unwrap();
                let recorded = Acknowledgement::Recorded {
                    controller: message.controller.clone(),
                    transaction: message.transaction.clone(),
                    began: message.began,
                    activation: message.activation,
                };
                invoker.bus.acknowledge(recorded).await.unwrap();
                invoker.bus.done(&[message.activation]).await.unwrap();
            }
        });
        let mut times = Vec::new();
        for _ in 0..CALLS {
            let message = for_bench(unique(first), true);
            let (waiter, answer) = oneshot::channel();
            *self.waits.0.lock().unwrap() = Some(waiter);
            let began = Instant::now();
            self.controller.send(InvokerId(0), message, Promise::Sent).await.unwrap();
            answer.await.unwrap();
            times.push(began.elapsed());
        }
        answers.await.unwrap();
        Times::of(times)
    }

    /// Activations one after the other, durable, claimed, done.
    async fn accepts(&self, turn: u64) -> Times {
        let mut times = Vec::new();
        for _ in 0..CALLS {
            let began = Instant::now();
            self.controller.send(InvokerId(0), for_bench(unique(turn), false), Promise::Accepted).await.unwrap();
            self.see_through().await;
            times.push(began.elapsed());
        }
        Times::of(times)
    }

    async fn see_through(&self) -> ActivationId {
        let id = self.invoker.bus.receive().await.unwrap().message.activation;
        self.invoker.bus.starting(id).await.unwrap();
        self.invoker.bus.done(&[id]).await.unwrap();
        id
    }

    /// Accepts by 64 senders, claimed and done by as many runs at once.
    async fn throughput(&self) {
        let began = Instant::now();
        let senders: Vec<_> = (0..64)
            .map(|_| {
                let controller = Arc::clone(&self.controller);
                tokio::spawn(async move {
                    for _ in 0..MANY / 64 {
                        controller.send(InvokerId(0), for_bench(unique(9), false), Promise::Accepted).await.unwrap();
                    }
                })
            })
            .collect();
        let mut runs = tokio::task::JoinSet::new();
        for _ in 0..MANY / 64 * 64 {
            let id = self.invoker.bus.receive().await.unwrap().message.activation;
            let invoker = Arc::clone(&self.invoker);
            runs.spawn(async move {
                invoker.bus.starting(id).await.unwrap();
                invoker.bus.done(&[id]).await.unwrap();
            });
        }
        for sender in senders {
            sender.await.unwrap();
        }
        runs.join_all().await;
        let rate = MANY as f64 / began.elapsed().as_secs_f64();
        println!("accepted, claimed and done, 64 senders   {rate:.0}/s");
    }
}

/// A number that no other activation of this run has.
fn unique(turn: u64) -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    (turn << 40) + NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

fn for_bench(n: u64, blocking: bool) -> Arc<whisker_bus::ActivationMessage> {
    let mut message = (*message(n, blocking)).clone();
    message.controller = whisker_bus::ControllerId("bench".into());
    debug_assert_eq!(message.activation, id(n));
    Arc::new(message)
}
