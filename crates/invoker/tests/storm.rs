//! On real threads and a real clock: containers die at any moment while many
//! runs come and go. The fake panics when it is used against its contract, and
//! a panic would show as a platform's error.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{collections::HashMap, time::Duration};

use common::{Told, World, answer, limits};
use serde_json::json;
use whisker_entity::{ActionLimits, ActivationId};
use whisker_sandbox::testing::{Act, Event, Fake};

const RUNS: usize = 3000;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_message_ends_in_one_record_while_containers_die() {
    let mut world = World::new(Fake::new(|event| match event {
        Event::Init(_) => Act::echo().after(Duration::from_millis(1)),
        Event::Run { run, .. } if run.value.get().contains("7}") => Act::fails("seven"),
        Event::Run { earlier_runs, .. } => Act::echo().after(Duration::from_millis(earlier_runs % 3)),
    }));
    world.config.user_memory_mb = 2048;
    world.config.pause_grace = Some(Duration::from_millis(2));
    world.config.keep_warm = Duration::from_millis(50);
    world.config.tick = Duration::from_millis(1);
    world.config.max_failures = 1000;
    world.config.max_in_flight = 64;
    let invoker = world.start();
    let mut revisions = vec![];
    for n in 0..12 {
        let concurrency = if n % 3 == 0 { 4 } else { 1 };
        let limits = ActionLimits { concurrency, memory: 128 * (1 + n % 3), timeout: 30_000, ..limits() };
        revisions.push(world.action(&format!("a{n}"), limits).await);
    }
    let mut ids: Vec<ActivationId> = vec![];
    for n in 0..RUNS {
        let which = (n * n + n / 50) % 12;
        ids.push(world.deliver(world.message(&format!("a{which}"), &revisions[which], json!({ "n": n }))));
    }
    let mut victim = 0;
    while !ids.iter().all(|id| world.has_ended(*id)) {
        victim += 3;
        world.fake.kill(victim % (world.fake.started() as u64 + 1));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(world.fake.memory_mb() <= 2048, "memory is never overdrawn");
    }
    let mut statuses: HashMap<u8, usize> = HashMap::new();
    for id in &ids {
        let (status, result, _) = answer(&world.record(*id).await);
        assert!(status == 0 || status == 2, "{status}: {result}");
        *statuses.entry(status).or_default() += 1;
    }
    assert!(statuses[&0] > RUNS / 2, "{statuses:?}");
    let mut completions: HashMap<ActivationId, usize> = HashMap::new();
    for told in world.bus.told() {
        if let Told::Completion(id, _) = told {
            *completions.entry(id).or_default() += 1;
        }
    }
    assert!(ids.iter().all(|id| completions[id] == 1), "each completes once");
    invoker.stop().await;
    assert_eq!(world.fake.alive(), 0, "nothing is left");
}
