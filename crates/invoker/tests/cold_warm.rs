//! Which container a run gets, and what its record says of that.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{EPOCH, Told, World, annotation, answer, limits, user};
use serde_json::json;
use whisker_entity::{ActionLimits, ActivationId};
use whisker_pool::{Shape, Stem};
use whisker_sandbox::testing::{Act, Event, Fake, Seen};

/// Initialises in 50 ms, runs in 10 ms, prints a line, answers its argument.
fn steady() -> Fake {
    Fake::new(|event| match event {
        Event::Init(_) => Act::echo().after(Duration::from_millis(50)),
        Event::Run { .. } => Act::echo().after(Duration::from_millis(10)).prints("hello"),
    })
}

fn stem(count: u32) -> Stem {
    Stem { shape: Shape { kind: "nodejs:20".into(), memory_mb: 256, concurrent: false }, count }
}

#[tokio::test(start_paused = true)]
async fn what_runs_take_is_told_and_idle_containers_are_not() {
    let world = World::new(steady());
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    assert_eq!(invoker.load.busy_mb(), 0);
    let id = world.deliver(world.message("hello", &revision, json!({})));
    world.until("its container is busy", || invoker.load.busy_mb() == 256).await;
    assert!(!world.has_ended(id));
    world.result(id).await;
    world.until("and is not any more", || invoker.load.busy_mb() == 0).await;
    assert_eq!(world.invoke("hello", &revision, json!({})).await.duration, Some(10), "its container is there");
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_first_run_is_cold_and_the_second_warm() {
    let world = World::new(steady());
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;

    let cold = world.invoke("hello", &revision, json!({"a": 1})).await;
    assert_eq!(answer(&cold), (0, json!({"a": 1}), Some(7)));
    assert_eq!((cold.duration, cold.end - cold.start, cold.start), (Some(60), 60, EPOCH));
    assert_eq!(annotation(&cold, "initTime"), json!(50));
    assert_eq!(annotation(&cold, "kind"), json!("nodejs:20"));
    assert_eq!(annotation(&cold, "path"), json!("guest/hello"));
    assert_eq!(annotation(&cold, "timeout"), json!(false));
    let shown = json!({"concurrency": 1, "logs": 10, "memory": 256, "timeout": 1000});
    assert_eq!(annotation(&cold, "limits"), shown);
    assert!(cold.logs.is_empty(), "the result goes back before logs are collected");

    let warm = world.invoke("hello", &revision, json!({})).await;
    assert_eq!(warm.duration, Some(10));
    assert_eq!(annotation(&warm, "initTime"), json!(null));
    assert_eq!(annotation(&warm, "waitTime"), json!(0));

    let record = world.record(warm.id).await;
    assert_eq!(record.logs.len(), 1);
    assert!(record.logs[0].ends_with(" stdout: hello"), "{:?}", record.logs);
    let told: Vec<Told> = world.bus.told();
    let of = |id: ActivationId| {
        let mine = |told: &&Told| matches!(told, Told::Starting(t) | Told::Result(t) | Told::Completion(t, _) | Told::Done(t) if *t == id);
        told.iter().filter(mine).cloned().collect::<Vec<_>>()
    };
    let id = warm.id;
    assert_eq!(of(id), [Told::Starting(id), Told::Result(id), Told::Completion(id, false), Told::Done(id)]);
    assert_eq!(world.fake.started(), 1);
    invoker.stop().await;
    assert_eq!(world.fake.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_prewarmed_container_is_taken_and_replaced() {
    let mut world = World::new(steady());
    world.config.prewarm = vec![stem(1)];
    world.fake.starts_take(Duration::from_millis(100));
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    world.until("prewarmed container", || world.fake.started() == 1).await;
    let run = world.invoke("hello", &revision, json!({})).await;
    assert_eq!(annotation(&run, "initTime"), json!(50));
    assert!(world.fake.seen(0).contains(&Seen::Run(run.id)));
    world.until("replacement", || world.fake.started() == 2).await;
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_container_is_paused_then_resumed_and_at_last_removed() {
    let world = World::new(steady());
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    world.invoke("hello", &revision, json!({})).await;
    world.until("pause", || world.fake.seen(0).contains(&Seen::Paused)).await;
    assert!(world.now() - EPOCH >= 10_000, "not before the grace");

    world.invoke("hello", &revision, json!({})).await;
    assert!(world.fake.seen(0).contains(&Seen::Resumed));
    let idle_since = world.now();
    world.until("removal", || world.fake.alive() == 0).await;
    assert!(world.now() - idle_since >= 299_000, "not before it was long idle");
    assert_eq!(world.fake.started(), 1);
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_container_of_an_older_revision_goes_at_once() {
    let world = World::new(steady());
    let invoker = world.start();
    let old = world.action("hello", limits()).await;
    world.invoke("hello", &old, json!({})).await;
    let new = world.update("hello", limits(), &old).await;
    world.invoke("hello", &new, json!({})).await;
    world.until("removal", || world.fake.seen(0).contains(&Seen::Destroyed)).await;
    assert_eq!((world.fake.started(), world.fake.alive()), (2, 1));
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn namespaces_do_not_share_containers() {
    let world = World::new(steady());
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    world.invoke("hello", &revision, json!({})).await;
    let mut message = world.message("hello", &revision, json!({}));
    message.user = std::sync::Arc::new(user("other"));
    let id = world.deliver(message);
    let run = world.result(id).await;
    assert_eq!(run.namespace.as_str(), "other");
    assert_eq!(annotation(&run, "path"), json!("guest/hello"));
    assert_eq!(world.fake.started(), 2);
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn runs_overlap_in_a_concurrent_container() {
    let world = World::new(Fake::new(|event| match event {
        Event::Init(_) => Act::echo().after(Duration::from_millis(50)),
        Event::Run { .. } => Act::echo().after(Duration::from_millis(500)),
    }));
    let invoker = world.start();
    let revision = world.action("hello", ActionLimits { concurrency: 5, ..limits() }).await;
    let ids: Vec<_> = (0..7).map(|n| world.deliver(world.message("hello", &revision, json!({"n": n})))).collect();
    for id in ids {
        world.record(id).await;
    }
    assert_eq!(world.fake.started(), 2, "five in one, two in another");
    assert!(world.now() - EPOCH < 1000, "none waited for another's end");
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn runs_of_a_serial_kind_have_containers_of_their_own() {
    let mut world = World::new(steady());
    world.config.serial = ["nodejs:20".to_owned()].into();
    let invoker = world.start();
    let revision = world.action("hello", ActionLimits { concurrency: 5, ..limits() }).await;
    let ids: Vec<_> = (0..3).map(|n| world.deliver(world.message("hello", &revision, json!({"n": n})))).collect();
    for id in ids {
        world.record(id).await;
    }
    assert_eq!(world.fake.started(), 3);
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn runs_wait_for_memory_and_idle_containers_make_room() {
    let mut world = World::new(steady());
    world.config.user_memory_mb = 512;
    let invoker = world.start();
    let mut ids = vec![];
    for round in 0..3 {
        for name in ["a", "b", "c", "d"] {
            let name = format!("{name}{round}");
            let revision = world.action(&name, limits()).await;
            ids.push(world.deliver(world.message(&name, &revision, json!({}))));
        }
    }
    for id in ids {
        assert_eq!(answer(&world.record(id).await).0, 0);
        assert!(world.fake.memory_mb() <= 512, "memory is never overdrawn");
    }
    assert_eq!(world.fake.started(), 12);
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_ever_fit_is_refused_as_the_platforms_fault() {
    let mut world = World::new(steady());
    world.config.user_memory_mb = 128;
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    let run = world.invoke("hello", &revision, json!({})).await;
    assert_eq!(answer(&run), (3, json!({"error": "Failed to provision resources to run the action."}), None));
    assert!(world.bus.told().contains(&Told::Result(run.id)));
    assert_eq!(world.record(run.id).await.duration, Some(0));
    assert!(world.bus.told().contains(&Told::Completion(run.id, true)));
    invoker.stop().await;
}
