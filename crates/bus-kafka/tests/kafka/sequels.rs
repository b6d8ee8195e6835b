//! What follows a failed run: another one, or a dead letter.

use std::time::Duration;

use whisker_bus::{Attempt, Due, InvokerBus, Letter, Letters, Redelivered};
use whisker_entity::{QualifiedName, Status};
use whisker_testkit::Kafka;

use crate::common::{Controller, Invoker, config, id, until, wall, within};

fn attempt(start: u64) -> Attempt {
    Attempt { start, duration: 3, status: Status::DeveloperError, error: "{}".into(), logs: vec!["a line".into()] }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_is_followed_by_another_once_it_is_due() {
    let kafka = Kafka::shared();
    let config = config(&kafka);
    let (controller, invoker) = tokio::join!(Controller::connect(&config, "0"), Invoker::connect(&config, 0));
    controller.accept(0, 1).await;
    for run in 0..3 {
        let delivery = invoker.next().await;
        assert_eq!((delivery.message.activation, delivery.redelivered), (id(1), Redelivered::No));
        assert_eq!(delivery.earlier, (0..run).map(attempt).collect::<Vec<_>>());
        invoker.bus.starting(id(1)).await.unwrap();
        let at = wall() + 50;
        let due = Due { at, after: Duration::from_millis(50) };
        assert!(invoker.bus.retry(&delivery.message, attempt(run), due).await.unwrap());
    }
    invoker.next().await;
    invoker.bus.starting(id(1)).await.unwrap();
    invoker.bus.done(&[id(1)]).await.unwrap();
    until("nothing held", || invoker.bus.load() == (0, 0)).await;

    controller.send(0, 2).await;
    let delivery = invoker.next().await;
    let due = Due { at: wall(), after: Duration::ZERO };
    assert!(!invoker.bus.retry(&delivery.message, attempt(0), due).await.unwrap(), "a client hears of it at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_given_out_until_it_is_posted() {
    let kafka = Kafka::shared();
    let config = config(&kafka);
    let (controller, invoker) = tokio::join!(Controller::connect(&config, "0"), Invoker::connect(&config, 0));
    controller.accept(0, 1).await;
    invoker.next().await;
    let letter = Letter {
        trigger: QualifiedName::parse("guest/failed").unwrap(),
        status: Status::DeveloperError,
        error: "{}".into(),
        attempts: 3,
        reason: "often enough".into(),
        failed: 7,
    };
    invoker.bus.bury(id(1), letter.clone()).await.unwrap();
    assert_eq!(invoker.bus.load(), (0, 0));
    for _ in 0..2 {
        let (message, posted) = within("a letter", controller.bus.next_letter()).await.unwrap();
        assert_eq!((message.activation, &posted), (id(1), &letter));
        controller.bus.put_back(id(1));
    }
    // Another life of the controllers has it too, until it is posted.
    controller.bus.leave().await;
    assert!(controller.bus.next_letter().await.is_none());
    let next = Controller::connect(&config, "0").await;
    let (message, _) = within("a letter", next.bus.next_letter()).await.unwrap();
    next.bus.posted(message.activation);
    next.bus.leave().await;
    let last = Controller::connect(&config, "0").await;
    let more = tokio::time::timeout(Duration::from_secs(2), last.bus.next_letter()).await;
    assert!(more.is_err(), "{more:?}");
}
