//! What one namespace may: its own limits, within the operator's.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{World, action};
use serde_json::{Value, json};
use whisker_entity::{Allowance, LimitRange, NamespaceLimits};
use whisker_store::Subjects;

/// A world where `guest` has limits of its own, before anyone asked for them.
fn limited(own: Value) -> World {
    let world = World::with(|limits| {
        limits.actions.memory_mb = LimitRange::new(128, 2048);
        limits.unset = Some(Allowance::default());
    });
    let own: NamespaceLimits = serde_json::from_value(own).unwrap();
    world.wait(Subjects::put_limits(&*world.store, &"guest".parse().unwrap(), Some(&own))).unwrap();
    world
}

fn with_limits(limits: Value) -> Value {
    let mut action = action();
    action["limits"] = limits;
    action
}

#[test]
fn a_namespace_sees_what_is_in_force_for_it() {
    let world = limited(json!({
        "invocationsPerMinute": 7, "concurrentInvocations": 3, "allowedKinds": ["nodejs:20"], "storeActivations": true,
        "maxActionMemory": 4096, "minActionTimeout": 50, "maxActionTimeout": 1000, "maxParameterSize": "2 KB",
        "maxPayloadSize": "3 KB", "truncationSize": "1 KB",
    }));
    assert_eq!(
        world.guest.get("limits").expect(200),
        json!({
            "invocationsPerMinute": 7, "concurrentInvocations": 3, "firesPerMinute": 1_000_000,
            "allowedKinds": ["nodejs:20"], "storeActivations": true,
            "minActionMemory": 128, "maxActionMemory": 2048, "minActionLogs": 0, "maxActionLogs": 10,
            "minActionTimeout": 100, "maxActionTimeout": 1000, "minActionConcurrency": 1, "maxActionConcurrency": 1,
            "maxParameterSize": "2 KB", "maxPayloadSize": "3 KB", "truncationSize": "1 KB", "maxActionInstances": 3,
        })
    );
    let others = world.system.get("limits").expect(200);
    assert_eq!((&others["maxActionMemory"], &others["maxParameterSize"]), (&json!(512), &json!("1048576 B")));
    assert_eq!(others.get("allowedKinds"), None);
}

#[test]
fn limits_of_actions_are_checked_against_those_of_their_namespace() {
    let world = limited(json!({
        "maxActionMemory": 1024, "minActionLogs": 1, "maxActionTimeout": 5000, "concurrentInvocations": 3,
    }));
    for (limits, words) in [
        (json!({"memory": 1025}), "requirement failed: memory size 1025 MB exceeds allowed threshold of 1024 MB"),
        (
            json!({"timeout": 5001}),
            "requirement failed: duration 5001 milliseconds exceeds allowed threshold of 5000 milliseconds",
        ),
        (json!({"logs": 0}), "requirement failed: log size 0 MB below allowed threshold of 1 MB"),
        (json!({"instances": 4}), "Max action instance concurrency must not exceed your namespace concurrency of 3."),
    ] {
        assert_eq!(world.guest.put("actions/a", &with_limits(limits)).refusal(400), words);
    }
    world.guest.put("actions/a", &with_limits(json!({"memory": 1024, "instances": 3}))).expect(200);
    world.system.put("actions/a", &with_limits(json!({"memory": 1024}))).refusal(400);
    // Only what the body states is looked at.
    world.guest.put("actions/b", &action()).expect(200);
}

#[test]
fn kinds_and_sizes_may_be_less_for_one_namespace() {
    let world = limited(json!({"allowedKinds": ["python:3.11"], "maxParameterSize": "20 B", "maxPayloadSize": "30 B"}));
    let words = "The supplied authentication is not authorized to access actions of kind 'nodejs:20'.";
    assert_eq!(world.guest.put("actions/a", &action()).refusal(403), words);
    let long = json!({"parameters": [{"key": "key", "value": "x".repeat(30)}]});
    for path in ["packages/p", "triggers/t"] {
        assert_eq!(world.guest.put(path, &long).refusal(413), "parameters larger than allowed: 35 > 20 bytes.");
        world.system.put(path, &long).expect(200);
    }
    world.guest.put("triggers/t", &json!({})).expect(200);
    let payload = json!({"key": "x".repeat(30)});
    assert_eq!(world.guest.post("triggers/t", &payload).refusal(413), "Request larger than allowed: 40 > 30 bytes.");
    assert_eq!(world.system.post("triggers/t", &payload).status(), 204);
}

#[test]
fn an_empty_list_of_kinds_allows_them_all() {
    let world = limited(json!({"allowedKinds": []}));
    world.guest.put("actions/a", &action()).expect(200);
}

#[test]
fn throttles_are_those_of_the_namespace() {
    let world = limited(json!({"invocationsPerMinute": 0, "firesPerMinute": 0}));
    for user in [&world.guest, &world.system] {
        user.put("actions/a", &action()).expect(200);
        user.put("triggers/t", &json!({})).expect(200);
    }
    for path in ["actions/a", "triggers/t"] {
        let words = world.guest.post(path, &json!({})).refusal(429);
        assert_eq!(words, "Too many requests in the last minute (count: 1, allowed: 0).");
        assert!(world.system.post(path, &json!({})).status() < 300);
    }
}
