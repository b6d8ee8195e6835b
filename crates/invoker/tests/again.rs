//! Runs that failed and are followed by others, and what is left of those
//! that failed for good.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use common::{EPOCH, Told, World, annotation, answer};
use serde_json::{Value, json};
use whisker_bus::{ActivationMessage, Redelivered};
use whisker_entity::ActivationId;
use whisker_sandbox::testing::{Act, Event, Fake};

const RETRIES: &str = "whisker-retries";
const LETTER: &str = "whisker-dead-letter";

/// Fails so often, and then answers.
fn fails(times: u32) -> Fake {
    let before = AtomicU32::new(0);
    Fake::new(move |event| match event {
        Event::Init(_) => Act::echo(),
        Event::Run { .. } => {
            let runs = before.fetch_add(1, Ordering::SeqCst) + 1;
            let act = if runs > times { Act::echo() } else { Act::fails(format!("boom {runs}")) };
            act.prints(format!("run {runs}"))
        }
    })
}

/// A message that nobody waits for.
fn accepted(message: ActivationMessage) -> ActivationMessage {
    ActivationMessage { blocking: false, ..message }
}

async fn run(world: &World, annotations: &[(&str, Value)]) -> whisker_entity::Activation {
    let revision = world.annotated("hello", annotations).await;
    let id = world.deliver(accepted(world.message("hello", &revision, json!({"n": 1}))));
    world.record(id).await
}

fn retries(world: &World, id: ActivationId) -> usize {
    world.bus.told().iter().filter(|told| matches!(told, Told::Retry(of, _) if *of == id)).count()
}

#[tokio::test(start_paused = true)]
async fn one_that_succeeds_in_the_end_tells_of_the_runs_before() {
    let world = World::new(fails(2));
    let invoker = world.start();
    let record = run(&world, &[(RETRIES, json!({"count": 5, "backoff": "10s"}))]).await;
    assert_eq!(answer(&record).1, json!({"n": 1}));
    assert_eq!(annotation(&record, "attempts"), json!(3));
    assert_eq!(annotation(&record, "gaveUp"), Value::Null);
    let earlier = annotation(&record, "earlierAttempts");
    assert_eq!((&earlier[0]["error"], &earlier[1]["error"]), (&json!("boom 1"), &json!("boom 2")));
    let texts: Vec<&str> = record.logs.iter().map(|line| &line[31..]).collect();
    assert!(texts.contains(&"stdout: run 1") && texts.last() == Some(&"stdout: run 3"), "{texts:?}");
    // Ten seconds and twenty, each less half of it at most.
    assert!((15_000..31_000).contains(&(record.start - EPOCH)), "{}", record.start - EPOCH);
    assert_eq!(retries(&world, record.id), 2);
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_for_good_is_kept_for_its_letter_and_not_forgotten() {
    let world = World::new(fails(10));
    let invoker = world.start();
    let record = run(&world, &[(RETRIES, json!(1)), (LETTER, json!("failed"))]).await;
    assert_eq!(annotation(&record, "gaveUp"), json!("retries exhausted"));
    let told = world.bus.told();
    let letter = told.iter().find_map(|told| match told {
        Told::Buried(id, letter) if *id == record.id => Some(letter.clone()),
        _ => None,
    });
    let letter = letter.unwrap();
    assert_eq!((letter.trigger.to_string(), letter.attempts), ("guest/failed".to_owned(), 2));
    assert_eq!((letter.error.as_str(), letter.reason.as_str()), ("boom 2", "retries exhausted"));
    // Each run's place is free once it is over.
    let completions = told.iter().filter(|told| matches!(told, Told::Completion(id, _) if *id == record.id));
    assert_eq!(completions.count(), 2);
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn neither_who_waits_nor_a_part_of_a_sequence_is_run_again() {
    let world = World::new(fails(10));
    let invoker = world.start();
    let revision = world.annotated("hello", &[(RETRIES, json!(3)), (LETTER, json!("failed"))]).await;
    let waits = world.message("hello", &revision, json!({}));
    let part = accepted(world.message("hello", &revision, json!({})));
    let part = ActivationMessage { cause: Some(ActivationId::new(EPOCH, 99)), ..part };
    for message in [waits, part] {
        let record = world.record(world.deliver(message)).await;
        assert_eq!((retries(&world, record.id), annotation(&record, "attempts")), (0, Value::Null));
        assert_eq!(annotation(&record, "deadLetter"), Value::Null);
    }
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_letter_started_leaves_none() {
    let world = World::new(fails(10));
    let invoker = world.start();
    let revision = world.annotated("hello", &[(LETTER, json!("failed"))]).await;
    let message = ActivationMessage { of_letter: true, ..accepted(world.message("hello", &revision, json!({}))) };
    let record = world.record(world.deliver(message)).await;
    assert_eq!(annotation(&record, "deadLetter"), Value::Null);
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_room_to_wait_it_has_failed_for_good() {
    let world = World::new(fails(1));
    world.bus.full.store(true, Ordering::SeqCst);
    let invoker = world.start();
    let record = run(&world, &[(RETRIES, json!(3))]).await;
    assert_eq!(annotation(&record, "gaveUp"), json!("too many retries wait"));
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_a_crash_cut_off_is_an_attempt_like_any_other() {
    let world = World::new(fails(0));
    let invoker = world.start();
    let revision = world.annotated("hello", &[(RETRIES, json!({"count": 1, "on": ["platform"]}))]).await;
    let id = world.deliver_as(accepted(world.message("hello", &revision, json!({"n": 2}))), Redelivered::AfterStart);
    let record = world.record(id).await;
    assert_eq!((answer(&record).1, annotation(&record, "attempts")), (json!({"n": 2}), json!(2)));
    let error = &annotation(&record, "earlierAttempts")[0]["error"];
    assert_eq!(error, "The platform was interrupted while the action was running.");
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_letter_is_owed_until_it_is_buried_whatever_crashes() {
    let world = World::new(fails(10));
    let invoker = world.start();
    let revision = world.annotated("hello", &[(LETTER, json!("failed"))]).await;
    let message = accepted(world.message("hello", &revision, json!({})));
    let id = world.deliver(message.clone());
    world.record(id).await;
    world.crash(invoker);
    // The record was safe, and nobody had been told to keep the letter.
    let told = world.bus.told().len();
    let invoker = world.start();
    world.deliver_as(message, Redelivered::AfterStart);
    world.until("a letter", || matches!(&world.bus.told()[told..], [.., Told::Buried(..), Told::Done(_)])).await;
    let runs = world.bus.told()[told..].iter().filter(|told| matches!(told, Told::Starting(_))).count();
    assert_eq!(runs, 0, "it is not run again for that");
    invoker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_action_beyond_its_namespaces_limits_is_not_tried_again() {
    let mut world = World::new(fails(0));
    world.config.most.actions.memory_mb.max = 128;
    let invoker = world.start();
    let record = run(&world, &[(RETRIES, json!(3)), (LETTER, json!("failed"))]).await;
    assert_eq!((retries(&world, record.id), annotation(&record, "deadLetter")), (0, json!("/guest/failed")));
    tokio::time::timeout(Duration::from_secs(60), invoker.stop()).await.unwrap();
}
