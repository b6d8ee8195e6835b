//! Containers that die, or are never born, at each moment of their lives.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Told, World, answer, limits};
use serde_json::json;
use whisker_entity::ActionLimits;
use whisker_pool::{Shape, Stem};
use whisker_sandbox::testing::{Act, Event, Fake, Seen};

const INIT: Duration = Duration::from_millis(100);
const RUN: Duration = Duration::from_millis(200);

fn slow() -> Fake {
    Fake::new(|event| match event {
        Event::Init(_) => Act::echo().after(INIT),
        Event::Run { .. } => Act::echo().after(RUN),
    })
}

#[tokio::test(start_paused = true)]
async fn a_container_that_dies_idle_is_replaced_by_the_next_run() {
    let world = World::new(slow());
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    let first = world.invoke("hello", &revision, json!({})).await;
    world.record(first.id).await;
    world.fake.kill(0);
    let run = world.invoke("hello", &revision, json!({})).await;
    assert_eq!((answer(&run).0, world.fake.started()), (0, 2));
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_given_to_a_container_that_is_gone_goes_elsewhere_once() {
    let world = World::new(slow());
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    let first = world.invoke("hello", &revision, json!({})).await;
    world.record(first.id).await;
    // No task runs between these two: the invoker cannot know of the death.
    world.fake.kill(0);
    let id = world.deliver(world.message("hello", &revision, json!({"n": 1})));
    assert_eq!(answer(&world.record(id).await), (0, json!({"n": 1}), Some(7)));
    let runs = (0..2).flat_map(|n| world.fake.seen(n)).filter(|seen| *seen == Seen::Run(id)).count();
    assert_eq!(runs, 1);
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn death_under_an_init_or_a_run_is_the_activations_own_end() {
    for (after, error) in [
        (INIT / 2, "The action did not initialize and exited unexpectedly."),
        (INIT + RUN / 2, "The action did not produce a valid response and exited unexpectedly."),
    ] {
        let world = World::new(slow());
        let invoker = world.start();
        let revision = world.action("hello", limits()).await;
        let id = world.deliver(world.message("hello", &revision, json!({})));
        world.until("init", || world.fake.seen(0).contains(&Seen::Init(id))).await;
        let since = world.now();
        world.until("time", || world.now() - since >= after.as_millis() as u64).await;
        world.fake.kill(0);
        assert_eq!(answer(&*world.result(id).await), (2, json!({ "error": error }), None));
        world.record(id).await;
        assert_eq!(world.fake.started(), 1, "it is not run again");
        let next = world.invoke("hello", &revision, json!({})).await;
        assert_eq!(answer(&next).0, 0, "and harms no other");
        invoker.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_fails_leaves_those_beside_it_alone() {
    let world = World::new(Fake::new(|event| match event {
        Event::Init(_) => Act::echo(),
        Event::Run { run, .. } if run.value.get().contains("bad") => Act::fails("bad"),
        Event::Run { .. } => Act::echo().after(RUN),
    }));
    let invoker = world.start();
    let revision = world.action("hello", ActionLimits { concurrency: 3, ..limits() }).await;
    let good = world.deliver(world.message("hello", &revision, json!({"is": "good"})));
    world.until("run", || world.fake.seen(0).contains(&Seen::Run(good))).await;
    let bad = world.invoke("hello", &revision, json!({"is": "bad"})).await;
    assert_eq!(answer(&bad).0, 2);
    assert_eq!(answer(&*world.result(good).await).0, 0);
    world.until("removal", || world.fake.alive() == 0).await;
    assert_eq!(world.fake.started(), 1);
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_prewarmed_container_that_dies_is_replaced_unasked() {
    let mut world = World::new(slow());
    let shape = Shape { kind: "nodejs:20".into(), memory_mb: 256, concurrent: false };
    world.config.prewarm = vec![Stem { shape, count: 2 }];
    let invoker = world.start();
    world.until("stem cells", || world.fake.alive() == 2).await;
    world.fake.kill(0);
    world.until("replacement", || world.fake.started() == 3 && world.fake.alive() == 2).await;
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_is_tried_again_and_then_given_up() {
    let world = World::new(slow());
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    world.fake.refuse_starts(2);
    let run = world.invoke("hello", &revision, json!({})).await;
    assert_eq!(answer(&run).0, 0, "the third container started");

    let other = world.action("other", limits()).await;
    world.fake.refuse_starts(3);
    let run = world.invoke("other", &other, json!({})).await;
    assert_eq!(answer(&run), (3, json!({"error": "Failed to provision resources to run the action."}), None));
    world.until("completion", || world.bus.told().contains(&Told::Completion(run.id, true))).await;
    let run = world.invoke("other", &other, json!({})).await;
    assert_eq!(answer(&run).0, 0, "the next one finds a host that has recovered");
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_takes_too_long_counts_as_failed() {
    let mut world = World::new(slow());
    world.config.start_timeout = Duration::from_secs(5);
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    world.fake.starts_take(Duration::from_secs(100));
    let run = world.invoke("hello", &revision, json!({})).await;
    assert_eq!(answer(&run).0, 3);
    invoker.stop().await;
}
