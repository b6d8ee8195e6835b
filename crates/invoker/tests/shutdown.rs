//! The end of an invoker, and its beginning.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Told, World, answer, limits};
use serde_json::json;
use whisker_sandbox::testing::{Act, Event, Fake, Seen};

fn takes(run: Duration) -> Fake {
    Fake::new(move |event| match event {
        Event::Init(_) => Act::echo(),
        Event::Run { .. } => Act::echo().after(run),
    })
}

#[tokio::test(start_paused = true)]
async fn what_a_former_life_left_is_cleared_away_first() {
    let world = World::new(takes(Duration::ZERO));
    let invoker = world.start();
    world.until("sweep", || world.fake.swept() == 1).await;
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_runs_is_finished_and_what_waits_stays_on_the_bus() {
    let mut world = World::new(takes(Duration::from_millis(500)));
    world.config.user_memory_mb = 256;
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    let running = world.deliver(world.message("hello", &revision, json!({})));
    let waiting = world.deliver(world.message("hello", &revision, json!({})));
    world.until("run", || world.fake.seen(0).contains(&Seen::Run(running))).await;
    invoker.begin_stop();
    let late = world.deliver(world.message("hello", &revision, json!({})));
    invoker.stop().await;
    assert_eq!(answer(&world.record(running).await).0, 0);
    let told = world.bus.told();
    for id in [waiting, late] {
        assert!(!told.contains(&Told::Starting(id)) && !told.contains(&Told::Done(id)), "{id}");
    }
    assert_eq!(world.fake.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_is_killed_and_recorded_as_interrupted() {
    let mut world = World::new(takes(Duration::from_secs(600)));
    world.config.stop_grace = Duration::from_secs(2);
    let invoker = world.start();
    let revision = world.action("slow", whisker_entity::ActionLimits { timeout: 300_000, ..limits() }).await;
    let id = world.deliver(world.message("slow", &revision, json!({})));
    world.until("run", || world.fake.seen(0).contains(&Seen::Run(id))).await;
    let since = world.now();
    invoker.stop().await;
    assert!((2000..2500).contains(&(world.now() - since)));
    let (status, result, _) = answer(&world.record(id).await);
    assert_eq!(status, 3);
    assert!(result["error"].as_str().unwrap().starts_with("The platform was interrupted"), "{result}");
    assert_eq!(world.fake.alive(), 0);
}
