//! Rules: what ties them to their triggers holds under concurrent writers.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{World, action};
use serde_json::{Value, json};

fn rule(trigger: &str, action: &str) -> Value {
    json!({"trigger": format!("/_/{trigger}"), "action": format!("/_/{action}")})
}

/// A world with triggers and actions of these names.
fn world(triggers: &[&str], actions: &[&str]) -> World {
    let world = World::start();
    for name in triggers {
        world.guest.put(&format!("triggers/{name}"), &json!({})).expect(200);
    }
    for name in actions {
        world.guest.put(&format!("actions/{name}"), &action()).expect(200);
    }
    world
}

#[test]
fn rules_that_join_one_trigger_at_once_are_all_joined() {
    let world = world(&["t"], &["a"]);
    std::thread::scope(|scope| {
        for i in 0..24 {
            let guest = &world.guest;
            scope.spawn(move || guest.put(&format!("rules/r{i}"), &rule("t", "a")).expect(200));
        }
    });
    let trigger = world.guest.get("triggers/t").expect(200);
    assert_eq!(trigger["rules"].as_object().unwrap().len(), 24);
    assert_eq!(trigger["version"], "0.0.1");
    std::thread::scope(|scope| {
        for i in 0..24 {
            let guest = &world.guest;
            scope.spawn(move || match i % 2 {
                0 => guest.delete(&format!("rules/r{i}")).expect(200),
                _ => guest.post(&format!("rules/r{i}"), &json!({"status": "inactive"})).text().into(),
            });
        }
    });
    let trigger = world.guest.get("triggers/t").expect(200);
    let links = trigger["rules"].as_object().unwrap();
    assert_eq!(links.len(), 12);
    assert!(links.values().all(|link| link["status"] == "inactive"), "{links:?}");
}

#[test]
fn whoever_wins_what_fires_is_what_the_rule_says() {
    let status = json!({"status": "active"});
    for round in 0..60 {
        let world = world(&["t0", "t1", "t2"], &["a0", "a1", "a2"]);
        let exists = round % 3 > 0;
        if exists {
            world.guest.put("rules/r", &rule("t0", "a0")).expect(200);
        }
        let write = |i: usize| {
            let body = rule(&format!("t{}", i % 3), &format!("a{}", i % 3));
            match (round % 3, i) {
                (2, 0) => world.guest.delete("rules/r").status(),
                (2, 1) => world.guest.post("rules/r", &status).status(),
                (0, _) => world.guest.put("rules/r", &body).status(),
                _ => world.guest.put("rules/r?overwrite=true", &body).status(),
            }
        };
        let answers: Vec<u16> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..6).map(|i| scope.spawn(move || write(i))).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        assert!(answers.iter().all(|status| matches!(status, 200 | 404 | 409)), "{answers:?}");
        let shown = world.guest.get("rules/r").json();
        for name in ["t0", "t1", "t2"] {
            let trigger = world.guest.get(&format!("triggers/{name}")).expect(200);
            let joined = shown["trigger"]["name"] == name;
            let link = trigger["rules"].get("guest/r").map(|link| &link["action"]);
            assert_eq!(link, joined.then_some(&shown["action"]), "round {round}, {name}: {shown}, {answers:?}");
        }
    }
}

#[test]
fn a_rule_names_both_parts_that_are_closed_to_its_owner() {
    let world = world(&["t"], &["a"]);
    let body = json!({"trigger": "/whisk.system/t", "action": "/whisk.system/a"});
    assert_eq!(
        world.guest.put("rules/r", &body).refusal(403),
        "The supplied authentication is not authorized to access 'whisk.system/a, whisk.system/t'."
    );
    for (body, words) in [
        (rule("absent", "a"), "trigger /guest/absent does not exist"),
        (rule("t", "absent"), "action /guest/absent does not exist"),
        (rule("t", "t"), "Resource by this name exists but is not in this collection."),
        (json!({"trigger": "/_/t"}), "rule requires a valid trigger and a valid action"),
    ] {
        assert_eq!(world.guest.put("rules/r", &body).refusal(400), words, "{body}");
    }
    // Nothing was joined on the way.
    assert_eq!(world.guest.get("triggers/t").expect(200).get("rules"), None);
}
