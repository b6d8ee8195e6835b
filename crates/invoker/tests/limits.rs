//! Limits of time, memory, logs and results, and what user code is given.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{EPOCH, World, annotation, answer, limits};
use serde_json::json;
use whisker_entity::{ActionLimits, Allowance, Identity, LimitRange, NamespaceLimits};
use whisker_sandbox::testing::{Act, Event, Fake};

/// Does what its argument's or its code's name says.
fn obedient() -> Fake {
    Fake::new(|event| {
        let word = match &event {
            Event::Init(init) => init.name.clone(),
            Event::Run { run, .. } => run.value.get().to_owned(),
        };
        let is = |name: &str| word.contains(name);
        match event {
            Event::Init(_) if is("hangs-in-init") => Act::hangs(),
            Event::Init(_) if is("broken") => Act::fails("does not load").prints("at load"),
            Event::Init(_) if is("exits-in-init") => Act::exits(),
            Event::Init(_) => Act::echo(),
            Event::Run { .. } if is("hangs") => Act::hangs().prints("before"),
            Event::Run { .. } if is("hogs") => Act::exhausts_memory(),
            Event::Run { .. } if is("throws") => Act::fails("An error has occurred: Error: boom").complains("trace"),
            Event::Run { .. } if is("scalar") => Act::answers("5"),
            Event::Run { .. } if is("error") => Act::answers(r#"{"x":1,"error":"no luck"}"#),
            Event::Run { .. } if is("long") => Act::answers(format!(r#"{{"long":"{}"}}"#, "x".repeat(100))),
            Event::Run { .. } if is("noisy") => (0..30).fold(Act::echo(), |act, _| act.prints("y".repeat(99_999))),
            Event::Run { .. } => Act::echo().prints("said"),
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_run_that_hangs_is_killed_at_its_limit() {
    let world = World::new(obedient());
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    let run = world.invoke("hello", &revision, json!({"do": "hangs"})).await;
    let error = "The action exceeded its time limits of 1000 milliseconds.";
    assert_eq!(answer(&run), (2, json!({ "error": error }), None));
    assert_eq!((annotation(&run, "timeout"), run.duration), (json!(true), Some(1000)));
    let record = world.record(run.id).await;
    let texts: Vec<&str> = record.logs.iter().map(|line| &line[31..]).collect();
    assert_eq!(
        texts,
        ["stdout: before", "stderr: The action did not initialize or run as expected. Log data might be missing."]
    );
    world.until("removal", || world.fake.alive() == 0).await;
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_initialisation_says_how_and_ends_its_container() {
    let world = World::new(obedient());
    let invoker = world.start();
    for (name, error, size, timed_out) in [
        (
            "hangs-in-init",
            "The action exceeded its time limits of 1000 milliseconds during initialization.",
            None,
            true,
        ),
        ("broken", "does not load", Some(25), false),
        ("exits-in-init", "The action did not initialize and exited unexpectedly.", None, false),
    ] {
        let revision = world.action(name, limits()).await;
        let run = world.invoke(name, &revision, json!({})).await;
        assert_eq!(answer(&run), (2, json!({ "error": error }), size));
        assert_eq!(annotation(&run, "timeout"), json!(timed_out));
        assert_eq!(annotation(&run, "initTime"), json!(run.duration));
        world.until("removal", || world.fake.alive() == 0).await;
        let again = world.invoke(name, &revision, json!({})).await;
        assert_eq!(answer(&again).0, 2, "and so does the next");
        world.until("removal", || world.fake.alive() == 0).await;
    }
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_user_code_does_wrong_is_an_outcome() {
    let mut world = World::new(obedient());
    world.config.most.payload_bytes = 64;
    world.config.most.truncation_bytes = 10;
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    for (what, status, error, size, stays) in [
        ("throws", 2, "An error has occurred: Error: boom", Some(46), false),
        ("scalar", 2, "The action did not produce a valid JSON or JSON Array response: 5", Some(1), false),
        ("hogs", 2, "The action exhausted its memory and was aborted.", None, false),
        ("error", 1, "no luck", Some(25), true),
        (
            "long",
            1,
            "The action produced a response that exceeded the allowed length: 111 > 64 bytes. \
             The truncated response was: {\"long\":\"x",
            Some(111),
            true,
        ),
    ] {
        let run = world.invoke("hello", &revision, json!({ "do": what })).await;
        assert_eq!(answer(&run), (status, json!({ "error": error }), size), "{what}");
        world.record(run.id).await;
        if !stays {
            world.until("removal", || world.fake.alive() == 0).await;
        }
        assert_eq!(world.fake.alive(), usize::from(stays), "{what}");
    }
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn logs_are_cut_at_their_limit_and_not_collected_at_zero() {
    let world = World::new(obedient());
    let invoker = world.start();
    let revision = world.action("noisy", ActionLimits { logs: 1, ..limits() }).await;
    let run = world.invoke("noisy", &revision, json!({"do": "noisy"})).await;
    let logs = world.record(run.id).await.logs;
    assert_eq!(logs.len(), 11);
    let notice = "stderr: Logs were truncated because the total bytes size exceeds the limit of 1048576 bytes.";
    assert_eq!(&logs[10][31..], notice);

    let revision = world.action("silent", ActionLimits { logs: 0, ..limits() }).await;
    for what in ["noisy", "throws"] {
        let run = world.invoke("silent", &revision, json!({ "do": what })).await;
        assert!(world.record(run.id).await.logs.is_empty());
    }
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn user_code_is_given_its_context_and_its_environment() {
    type Seen = (BTreeMap<String, String>, BTreeMap<&'static str, String>, String);
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let watcher = seen.clone();
    let world = World::new(Fake::new(move |event| {
        let mut seen = watcher.lock().unwrap();
        match event {
            Event::Init(init) => {
                assert_eq!((init.name.as_str(), init.main.as_str()), ("hello", "main"));
                seen.0 = init.env.clone();
                Act::echo().after(Duration::from_millis(50))
            }
            Event::Run { run, .. } => {
                seen.1 = run.context.iter().cloned().collect();
                seen.2 = run.value.get().to_owned();
                Act::echo()
            }
        }
    }));
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    let mut message = world.message("hello", &revision, json!({"TOKEN": {"a": [1, 2]}, "name": "Ann"}));
    message.init_args = vec!["TOKEN".into()];
    message.cause = Some(message.activation);
    message.binding = Some("guest/bound".parse().unwrap());
    let id = world.deliver(message);
    let run = world.result(id).await;
    assert_eq!((annotation(&run, "causedBy"), run.cause), (json!("sequence"), Some(id)));
    assert_eq!(annotation(&run, "binding"), json!("guest/bound"));

    let (env, context, value) = seen.lock().unwrap().clone();
    assert_eq!(value, r#"{"name":"Ann"}"#);
    let id = id.to_string();
    for (key, init, text) in [
        ("namespace", "guest", "guest"),
        ("action_name", "/guest/hello", "/guest/hello"),
        ("action_version", "0.0.1", "0.0.1"),
        ("activation_id", &*id, &*id),
        ("transaction_id", "tid", "tid"),
        ("deadline", &*(EPOCH + 1000).to_string(), &*(EPOCH + 1050).to_string()),
    ] {
        assert_eq!(env[&format!("__OW_{}", key.to_uppercase())], init, "{key}");
        assert_eq!(context[key], text, "{key}");
    }
    assert_eq!(env["TOKEN"], r#"{"a":[1,2]}"#);
    assert_eq!((env.len(), context.len()), (7, 6), "no key, since the action does not want it");
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_wants_another_environment_gets_another_container() {
    let world = World::new(obedient());
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    let mut started = Vec::new();
    for token in ["a", "b", "a"] {
        let mut message = world.message("hello", &revision, json!({"TOKEN": token}));
        message.init_args = vec!["TOKEN".into()];
        let id = world.deliver(message);
        world.record(id).await;
        started.push(world.fake.started());
    }
    assert_eq!(started, [1, 2, 2], "and the same one is used again");
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_action_beyond_what_is_allowed_by_now_is_not_run() {
    let mut world = World::new(obedient());
    world.config.most.actions.memory_mb = LimitRange::new(128, 1024);
    world.config.unset = Some(Allowance::default());
    let invoker = world.start();
    let large = world.action("large", ActionLimits { memory: 600, ..limits() }).await;
    let huge = world.action("huge", ActionLimits { memory: 2000, ..limits() }).await;
    let exceeds = |is, allowed| {
        let error = format!("requirement failed: memory size {is} MB exceeds allowed threshold of {allowed} MB");
        (1, json!({ "error": error }), None)
    };
    let own = |memory| NamespaceLimits { max_action_memory: memory, ..NamespaceLimits::default() };
    for (name, revision, own, told) in [
        ("large", &large, own(None), exceeds(600, 512)),
        ("large", &large, own(Some(599)), exceeds(600, 599)),
        ("huge", &huge, own(Some(4096)), exceeds(2000, 1024)),
        ("large", &large, own(Some(600)), (0, json!({"a": 1}), Some(7))),
    ] {
        let mut message = world.message(name, revision, json!({"a": 1}));
        message.user = Arc::new(Identity { limits: own, ..Identity::clone(&message.user) });
        let id = world.deliver(message);
        let run = world.result(id).await;
        assert_eq!(answer(&run), told);
        if told.0 != 0 {
            assert_eq!((annotation(&run, "kind"), world.fake.started()), (json!("unknown"), 0));
        }
        world.record(id).await;
    }
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_may_have_less_room_for_results() {
    let world = World::new(obedient());
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    let mut message = world.message("hello", &revision, json!({"do": "long"}));
    let limits = NamespaceLimits {
        max_payload_size: "100 B".parse().ok(),
        truncation_size: "7 B".parse().ok(),
        ..NamespaceLimits::default()
    };
    message.user = Arc::new(Identity { limits, ..Identity::clone(&message.user) });
    let id = world.deliver(message);
    let error = "The action produced a response that exceeded the allowed length: 111 > 100 bytes. \
                 The truncated response was: {\"long\"";
    assert_eq!(answer(&*world.result(id).await), (1, json!({ "error": error }), Some(111)));
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_action_that_is_not_there_is_told_so() {
    let world = World::new(obedient());
    let invoker = world.start();
    let revision = whisker_store::Revision("1-gone".into());
    let run = world.invoke("gone", &revision, json!({})).await;
    let error = "Action could not be found or may have been deleted.";
    assert_eq!(answer(&run), (1, json!({ "error": error }), None));
    assert_eq!(annotation(&run, "kind"), json!("unknown"));
    assert_eq!(annotation(&run, "path"), json!("guest/gone"));
    assert_eq!((run.duration, world.fake.started()), (Some(0), 0));
    assert!(world.record(run.id).await.logs.is_empty());
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_action_that_was_updated_meanwhile_runs_as_it_is_now() {
    let world = World::new(obedient());
    let invoker = world.start();
    let old = world.action("hello", limits()).await;
    world.update("hello", ActionLimits { memory: 128, ..limits() }, &old).await;
    let run = world.invoke("hello", &old, json!({})).await;
    assert_eq!(annotation(&run, "limits")["memory"], json!(128));
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn large_arguments_wait_on_the_bus_for_room() {
    let mut world = World::new(Fake::new(|event| match event {
        Event::Init(_) => Act::echo(),
        Event::Run { .. } => Act::echo().after(Duration::from_millis(500)),
    }));
    world.config.max_in_flight_bytes = 128 * 1024;
    let invoker = world.start();
    let revision = world.action("hello", limits()).await;
    let before = world.now();
    let large = |n: u32| world.message("hello", &revision, json!({ "n": n, "large": "x".repeat(100 * 1024) }));
    let larger = world.message("hello", &revision, json!({ "larger": "x".repeat(1 << 20) }));
    let ids: Vec<_> = [larger, large(1), large(2), large(3)].into_iter().map(|m| world.deliver(m)).collect();
    world.until("first run", || world.fake.started() == 1).await;
    // One runs, and one is in hand.
    world.until("messages that wait", || world.bus.waiting() == 2).await;
    for id in ids {
        world.record(id).await;
    }
    assert!(world.now() - before >= 2000, "one after the other");
    assert_eq!(world.fake.started(), 1, "in one container");
    invoker.stop().await;
}
