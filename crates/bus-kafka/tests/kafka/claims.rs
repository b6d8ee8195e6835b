//! Whatever comes twice, and to whomever: it runs once.

use std::{sync::Arc, time::Duration};

use whisker_bus::{Error, InvokerBus, Redelivered};
use whisker_bus_kafka::Config;
use whisker_testkit::Kafka;

use crate::common::{Controller, Invoker, Raw, Runs, config, id, impatient, text, until, within};

#[tokio::test(flavor = "multi_thread")]
async fn of_two_invokers_with_one_activation_one_runs_it() {
    let kafka = Kafka::shared();
    let config = config(&kafka);
    let raw = Raw::new(&kafka.brokers());
    let (zero, one) = tokio::join!(Invoker::connect(&config, 0), Invoker::connect(&config, 1));
    for n in 0..20 {
        for topic in ["invoker0", "invoker1"] {
            raw.write(&format!("{}{topic}", config.prefix), [text(n, false).as_str()]);
        }
        for invoker in [&zero, &one] {
            assert_eq!(invoker.next().await.message.activation, id(n));
        }
        let (first, second) =
            within("claims", async { tokio::join!(zero.bus.starting(id(n)), one.bus.starting(id(n))) }).await;
        let winner = match (first, second) {
            (Ok(()), Err(Error::Taken)) => &zero,
            (Err(Error::Taken), Ok(())) => &one,
            other => panic!("{other:?}"),
        };
        winner.bus.done(&[id(n)]).await.unwrap();
    }
    // Whoever lost has nothing left of them, once the winner is done.
    for invoker in [&zero, &one] {
        until("nothing held", || invoker.bus.load() == (0, 0)).await;
    }
}

/// Two invokers that were sent the same activation, the first of which has it.
async fn first_won_by_zero(kafka: &Kafka, config: &Config) -> (Invoker, Invoker) {
    let raw = Raw::new(&kafka.brokers());
    let (zero, one) = tokio::join!(Invoker::connect(config, 0), Invoker::connect(config, 1));
    for topic in ["invoker0", "invoker1"] {
        raw.write(&format!("{}{topic}", config.prefix), [text(1, false).as_str()]);
    }
    for invoker in [&zero, &one] {
        invoker.next().await;
    }
    zero.bus.starting(id(1)).await.unwrap();
    assert!(matches!(one.bus.starting(id(1)).await, Err(Error::Taken)));
    (zero, one)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_winner_began_is_delivered_as_begun() {
    let kafka = Kafka::shared();
    let config = impatient(config(&kafka));
    let (zero, one) = first_won_by_zero(&kafka, &config).await;
    drop(zero);
    let again = one.next().await;
    assert_eq!((again.message.activation, again.redelivered), (id(1), Redelivered::AfterStart));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stops_keeps_what_it_has_until_it_leaves() {
    let kafka = Kafka::shared();
    let config = impatient(config(&kafka));
    let (zero, one) = first_won_by_zero(&kafka, &config).await;
    zero.say_goodbye().await;
    // Longer than one that is silent is taken for alive.
    let more = tokio::time::timeout(config.offline_after * 2, one.bus.receive()).await;
    assert!(more.is_err(), "{more:?}");
    zero.bus.done(&[id(1)]).await.unwrap();
    zero.bus.leave().await;
    until("nothing held", || one.bus.load() == (0, 0)).await;
}

/// Row 9: each message twice in its topic, every third one in the other
/// invoker's as well, some for callers that wait. As many by
/// `WHISKER_DUPLICATES` as one likes.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_twice_runs_once() {
    let kafka = Kafka::shared();
    let mut config = config(&kafka);
    config.topics.partitions = 3;
    let count: u64 = std::env::var("WHISKER_DUPLICATES").map_or(2000, |count| count.parse().unwrap());
    let controller = Controller::connect(&config, "0").await;
    let invokers = tokio::join!(Invoker::connect(&config, 0), Invoker::connect(&config, 1));
    let invokers = [Arc::new(invokers.0), Arc::new(invokers.1)];
    let runs = Arc::new(Runs::default());
    let work: Vec<_> =
        invokers.iter().map(|invoker| tokio::spawn(work(Arc::clone(invoker), Arc::clone(&runs)))).collect();

    let raw = Raw::new(&kafka.brokers());
    let topic = |n: u64| format!("{}invoker{n}", config.prefix);
    for portion in (0..count).collect::<Vec<_>>().chunks(500) {
        for home in 0..2 {
            let mine: Vec<String> = portion
                .iter()
                .filter(|n| *n % 2 == home || (*n % 3 == 0 && *n % 5 != 0))
                // What clients wait for is not sent to two invokers.
                .map(|n| text(*n, n % 5 == 0))
                .collect();
            raw.write(&topic(home), mine.iter().map(String::as_str));
            raw.write(&topic(home), mine.iter().rev().map(String::as_str));
        }
    }
    // As long as it goes on: how long all of them take is the machine's business.
    for step in (0..count).step_by(1000).chain([count]) {
        until("all runs", || runs.len() as u64 >= step).await;
    }
    for invoker in &invokers {
        until("nothing held", || invoker.bus.load() == (0, 0)).await;
    }
    assert_eq!(runs.doubled(), [0u64; 0], "of {count}");
    println!("{count} activations, each delivered two to four times: 0 ran twice");
    work.iter().for_each(|work| work.abort());
    drop(controller);
}

/// Runs what comes, many at once, as an invoker does.
async fn work(invoker: Arc<Invoker>, runs: Arc<Runs>) {
    let at_once = Arc::new(tokio::sync::Semaphore::new(200));
    while let Some(delivery) = invoker.bus.receive().await {
        let permit = Arc::clone(&at_once).acquire_owned().await.unwrap();
        let (invoker, runs) = (Arc::clone(&invoker), Arc::clone(&runs));
        tokio::spawn(async move {
            let id = delivery.message.activation;
            assert_eq!(delivery.redelivered, Redelivered::No);
            match invoker.bus.starting(id).await {
                Ok(()) => {
                    runs.count(id);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    invoker.bus.done(&[id]).await.unwrap();
                }
                Err(Error::Taken) => {}
                Err(error) => panic!("{error:?}"),
            }
            drop(permit);
        });
    }
}
