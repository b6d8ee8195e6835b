//! The store is away, the spool is full, the server dies: no record is lost.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{sync::atomic::Ordering, time::Duration};

use common::{Told, World, annotation, answer, guest, limits, user};
use serde_json::json;
use tokio::time;
use whisker_bus::Redelivered;
use whisker_entity::NamespaceLimits;
use whisker_sandbox::testing::{Act, Event, Fake};

fn quick() -> Fake {
    Fake::new(|_| Act::echo())
}

#[tokio::test(start_paused = true)]
async fn records_wait_for_a_store_that_is_away() {
    let world = World::new(quick());
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    world.invoke("hello", &revision, json!({})).await;
    world.store.away.store(true, Ordering::SeqCst);
    let mut ids = vec![];
    for n in 0..50 {
        let run = world.invoke("hello", &revision, json!({ "n": n })).await;
        assert_eq!(answer(&run).0, 0, "runs go on");
        ids.push(run.id);
    }
    time::advance(Duration::from_secs(60)).await;
    for id in &ids {
        assert!(!world.is_recorded(*id).await && !world.bus.told().contains(&Told::Done(*id)));
    }
    world.store.away.store(false, Ordering::SeqCst);
    for id in ids {
        world.record(id).await;
    }
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_keeps_no_run_waiting() {
    let world = World::new(quick());
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    world.invoke("hello", &revision, json!({})).await;
    let took = async || {
        let (began, mut ids) = (time::Instant::now(), vec![]);
        for n in 0..100 {
            ids.push(world.invoke("hello", &revision, json!({ "n": n })).await.id);
        }
        (began.elapsed(), ids)
    };
    let (quick, _) = took().await;
    world.store.write_ms.store(100, Ordering::SeqCst);
    let (slow, ids) = took().await;
    // The clock is the test's own: what was not waited for took no time.
    assert!(slow.as_secs_f64() <= quick.as_secs_f64() * 1.1, "{slow:?} for what took {quick:?}");
    for id in ids {
        world.record(id).await;
    }
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_server_had_spooled_is_written_by_the_next() {
    let mut world = World::new(quick());
    world.config.spool_memory_bytes = 0;
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    world.invoke("hello", &revision, json!({})).await;
    world.store.away.store(true, Ordering::SeqCst);
    let run = world.invoke("hello", &revision, json!({"n": 1})).await;
    world.until("completion", || world.bus.told().contains(&Told::Completion(run.id, false))).await;
    world.crash(invoker);
    assert!(!world.is_recorded(run.id).await);

    world.store.away.store(false, Ordering::SeqCst);
    let mut message = world.message("hello", &revision, json!({}));
    message.activation = run.id;
    world.deliver_as(message, Redelivered::AfterStart);
    let invoker = world.start();
    let record = world.record(run.id).await;
    assert_eq!(answer(&record), (0, json!({"n": 1}), Some(7)), "the true outcome, not an interruption");
    world.until("message", || world.bus.waiting() == 0).await;
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_a_crash_cut_off_is_recorded_as_interrupted() {
    let world = World::new(Fake::new(|event| match event {
        Event::Init(_) => Act::echo(),
        Event::Run { .. } => Act::hangs(),
    }));
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    let message = world.message("hello", &revision, json!({}));
    let id = world.deliver(message.clone());
    world.until("start", || world.fake.started() == 1).await;
    world.crash(invoker);

    world.store.away.store(true, Ordering::SeqCst);
    world.deliver_as(message.clone(), Redelivered::AfterStart);
    let invoker = world.start();
    time::advance(Duration::from_secs(30)).await;
    assert!(!world.bus.told().contains(&Told::Result(id)), "it waits for a store that can say what it has");
    world.store.away.store(false, Ordering::SeqCst);
    let record = world.record(id).await;
    let (status, result, _) = answer(&record);
    assert_eq!(status, 3);
    assert!(result["error"].as_str().unwrap().starts_with("The platform was interrupted"), "{result}");
    assert_eq!((annotation(&record, "kind"), record.duration), (json!("nodejs:20"), Some(0)));
    assert_eq!(world.fake.started(), 1, "it is not run again");
    assert!(world.bus.told().contains(&Told::Completion(id, true)));

    let done = |id| world.bus.told().iter().filter(|told| **told == Told::Done(id)).count();
    world.deliver_as(message, Redelivered::AfterStart);
    world.until("second done", || done(id) == 2).await;
    assert_eq!(answer(&world.record(id).await).0, 3, "a record that is known stays as it is");
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_spool_takes_no_messages_until_it_has_room() {
    let mut world = World::new(quick());
    world.config.spool_limit_bytes = 5000;
    world.config.max_in_flight = 4;
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    world.invoke("hello", &revision, json!({})).await;
    world.store.away.store(true, Ordering::SeqCst);
    let ids: Vec<_> = (0..40).map(|n| world.deliver(world.message("hello", &revision, json!({ "n": n })))).collect();
    time::advance(Duration::from_secs(60)).await;
    let waiting = world.bus.waiting();
    assert!(waiting > 20, "{waiting} messages stay on the bus");
    world.store.away.store(false, Ordering::SeqCst);
    for id in ids {
        world.record(id).await;
    }
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_wants_no_records_gets_none() {
    let world = World::new(quick());
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    let mut message = world.message("hello", &revision, json!({}));
    let limits = NamespaceLimits { store_activations: Some(false), ..NamespaceLimits::default() };
    message.user = std::sync::Arc::new(whisker_entity::Identity { limits, ..user("guest") });
    let id = world.deliver(message);
    world.result(id).await;
    world.until("done", || world.bus.told().contains(&Told::Done(id))).await;
    assert!(whisker_store::Activations::get(&world.store.memory, &guest(), id).await.is_err());
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_twice_runs_once() {
    let world = World::new(quick());
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    let message = world.message("hello", &revision, json!({}));
    world.deliver(message.clone());
    let id = world.deliver(message);
    world.record(id).await;
    world.until("message", || world.bus.waiting() == 0).await;
    let starts = world.bus.told().iter().filter(|told| **told == Told::Starting(id)).count();
    assert_eq!(starts, 1);
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_the_bus_cannot_note_is_not_begun() {
    let world = World::new(quick());
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    world.bus.refuses.store(true, Ordering::SeqCst);
    let run = world.invoke("hello", &revision, json!({})).await;
    assert_eq!(answer(&run), (3, json!({"error": "Failed to provision resources to run the action."}), None));
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_another_invoker_has_is_neither_run_nor_recorded_nor_told() {
    let world = World::new(quick());
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    for _ in ["cold", "warm"] {
        let message = world.message("hello", &revision, json!({}));
        let id = message.activation;
        world.bus.taken.lock().unwrap().insert(id);
        world.deliver(message);
        world.until("start", || !world.bus.taken.lock().unwrap().contains(&id)).await;
        let after = world.invoke("hello", &revision, json!({})).await;
        assert_eq!(after.response.status, whisker_entity::Status::Success);
        world.record(after.id).await;
        assert!(!world.is_recorded(id).await);
        let about = |told: &Told| matches!(told, Told::Result(t) | Told::Completion(t, _) | Told::Done(t) if *t == id);
        assert!(!world.bus.told().iter().any(about));
    }
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_record_that_the_store_refuses_for_good_is_set_aside_and_keeps_nobody_waiting() {
    let world = World::new(Fake::new(|_| Act::echo()));
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    world.invoke("hello", &revision, json!({})).await;
    world.store.away.store(true, Ordering::SeqCst);
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(world.invoke("hello", &revision, json!({ "n": n })).await.id);
    }
    let poisoned = ids.remove(7);
    world.store.poison.lock().unwrap().insert(poisoned);
    // While the store is away nothing is anybody's fault.
    time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.set_aside(), "");
    world.store.away.store(false, Ordering::SeqCst);
    for id in &ids {
        world.record(*id).await;
    }
    // Others go on, and by that it shows that it is this one.
    for n in 0..10 {
        let later = world.invoke("hello", &revision, json!({ "n": n })).await.id;
        world.record(later).await;
    }
    world.until("a place for it", || world.set_aside().contains(&poisoned.to_string())).await;
    world.until("its message forgotten", || world.bus.told().contains(&Told::Done(poisoned))).await;
    assert_eq!(world.set_aside().lines().count(), 1);
    invoker.stop().await;
}
