//! Brokers that are away.

use std::{collections::HashSet, sync::Arc, time::Duration};

use whisker_bus::{ControllerBus, Error, InvokerBus, InvokerId, Promise};
use whisker_bus_kafka::Config;
use whisker_testkit::Kafka;

use crate::common::{Controller, Invoker, config, id, message, until, within};

async fn blocking(work: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(work).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_cluster_is_away_nothing_is_accepted_and_then_all_goes_on() {
    let kafka = Arc::new(Kafka::start());
    let config = Config { send_timeout: Duration::from_secs(12), ..config(&kafka) };
    let (controller, invoker) = tokio::join!(Controller::connect(&config, "0"), Invoker::connect(&config, 0));
    controller.accept(0, 1).await;
    assert_eq!(invoker.run().await, id(1));
    controller.accept(0, 2).await;
    let held = invoker.next().await.message.activation;

    let gone = Arc::clone(&kafka);
    blocking(move || gone.kill(0)).await;
    // Of what was merely sent it is heard as well.
    controller.bus.send(InvokerId(0), message(4, true), Promise::Sent).await.unwrap();
    let (refused, secured, start) = within("refusals", async {
        tokio::join!(
            controller.bus.send(InvokerId(0), message(3, false), Promise::Accepted),
            controller.bus.secure(id(4)),
            // What could not be claimed is not begun, and comes again.
            invoker.bus.starting(held),
        )
    })
    .await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    assert!(matches!(secured, Err(Error::Unavailable(_))), "{secured:?}");
    assert!(matches!(start, Err(Error::Taken)), "{start:?}");
    until("word of it", || controller.heard.undelivered.lock().unwrap().contains(&id(4))).await;

    let back = Arc::clone(&kafka);
    blocking(move || back.resume(0)).await;
    let accepted =
        async { while controller.bus.send(InvokerId(0), message(5, false), Promise::Accepted).await.is_err() {} };
    within("an accept", accepted).await;
    let mut left = HashSet::from([held, id(5)]);
    while !left.is_empty() {
        let activation = invoker.next().await.message.activation;
        match invoker.bus.starting(activation).await {
            Ok(()) => assert!(left.remove(&activation), "{activation} runs"),
            started => assert!(matches!(started, Err(Error::Taken)), "{started:?}"),
        }
    }
    invoker.bus.done(&[held, id(5)]).await.unwrap();
    until("nothing held", || invoker.bus.load() == (0, 0)).await;
}

/// Row 8.
#[tokio::test(flavor = "multi_thread")]
async fn of_three_brokers_one_may_die_and_nothing_is_lost() {
    let kafka = Arc::new(blocking_start().await);
    let mut config = config(&kafka);
    config.topics.replication = 3;
    let (controller, invoker) = tokio::join!(Controller::connect(&config, "0"), Invoker::connect(&config, 0));
    let sends = async {
        for n in 0..300 {
            controller.accept(0, n).await;
            if n == 100 {
                let gone = Arc::clone(&kafka);
                blocking(move || gone.kill(1)).await;
            }
        }
    };
    let runs = async {
        let mut missing: std::collections::BTreeSet<_> = (0..300).map(id).collect();
        while !missing.is_empty() {
            let id = invoker.next().await.message.activation;
            within("a start", invoker.bus.starting(id)).await.unwrap();
            invoker.bus.done(&[id]).await.unwrap();
            assert!(missing.remove(&id), "{id} came twice");
        }
    };
    tokio::join!(sends, runs);
}

async fn blocking_start() -> Kafka {
    tokio::task::spawn_blocking(|| Kafka::cluster(3)).await.unwrap()
}
