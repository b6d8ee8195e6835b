//! What firing a trigger does, and promises.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{SOON, World, action, keyed};
use serde_json::{Value, json};
use whisker_bus::Promise;
use whisker_testkit::{Client, GUEST, Request, Wire, base64, eventually};

/// Joins `rule` to the trigger `t` and an action.
fn join(of: &Client, rule: &str, action: &str) {
    of.put(&format!("rules/{rule}"), &json!({"trigger": "/_/t", "action": action})).expect(200);
}

/// The lines of a fire's log.
fn lines(record: &Value) -> Vec<Value> {
    let lines = record["logs"].as_array().unwrap().iter();
    lines.map(|line| serde_json::from_str(line.as_str().unwrap()).unwrap()).collect()
}

fn id(answer: &Value) -> &str {
    answer["activationId"].as_str().unwrap()
}

#[test]
fn every_active_rule_is_accepted_before_the_answer() {
    let world = World::start();
    world.guest.put("triggers/t", &json!({})).expect(200);
    world.guest.put("actions/a", &action()).expect(200);
    for i in 0..100 {
        join(&world.guest, &format!("r{i}"), "/_/a");
    }
    world.guest.post("rules/r7", &json!({"status": "inactive"}));
    let answer = world.guest.post("triggers/t", &json!({"x": 1}));
    let fired = answer.expect(202);
    assert_eq!(answer.header("x-openwhisk-activation-id"), Some(id(&fired)));
    let sent = world.bus.sent();
    assert_eq!(sent.len(), 99);
    assert!(sent.iter().all(|(message, promise)| *promise == Promise::Accepted && !message.blocking));
    let record = world.record(&world.guest, id(&fired));
    assert_eq!(record["response"]["result"], json!({"x": 1}));
    assert_eq!((record.get("end"), record.get("duration")), (None, None));
    // One line for each rule, in the order in which they were joined.
    let lines = lines(&record);
    assert_eq!(lines.len(), 100);
    for (i, line) in lines.iter().enumerate() {
        assert_eq!((&line["rule"], &line["action"]), (&json!(format!("guest/r{i}")), &json!("guest/a")));
        match line["activationId"].as_str() {
            Some(id) => assert_eq!(world.record(&world.guest, id)["name"], "a"),
            None => assert_eq!(
                (i, &line["error"], &line["statusCode"]),
                (7, &json!("Rule 'guest/r7' is inactive, action 'guest/a' was not activated."), &json!(1))
            ),
        }
    }
}

#[test]
fn arguments_come_from_action_trigger_headers_and_payload() {
    let world = World::start();
    let layer = |of: &str, keys: &[&str]| keyed(keys.iter().map(|key| (key.to_string(), json!(of))).collect());
    world.guest.put("triggers/t", &json!({"parameters": layer("trigger", &["b", "c", "__ow_headers"])})).expect(200);
    let mut a = action();
    a["parameters"] = layer("action", &["a", "b", "c"]);
    world.guest.put("actions/a", &a).expect(200);
    join(&world.guest, "r", "/_/a");
    let fire = Request::new("POST", world.guest.target("triggers/t"))
        .header("X-Many", "one")
        .header("x-many", "two")
        .json(&json!({"c": "payload"}));
    let fired = world.guest.send(&fire).expect(202);
    let arguments = |n: usize| serde_json::from_str::<Value>(world.bus.sent()[n].0.content.get()).unwrap();
    let seen = arguments(0);
    assert_eq!([&seen["a"], &seen["b"], &seen["c"]], ["action", "trigger", "payload"]);
    // The key is not for actions, which may be a stranger's.
    let host = world.address.to_string();
    assert_eq!(seen["__ow_headers"], json!({"host": host, "x-many": "two"}));
    assert_eq!(world.record(&world.guest, id(&fired))["response"]["result"], json!({"c": "payload"}));
    // Who fires may send that member too.
    world.guest.post("triggers/t", &json!({"__ow_headers": {"mine": 1}})).expect(202);
    assert_eq!(arguments(1)["__ow_headers"], json!({"mine": 1}));
}

#[test]
fn a_rule_that_cannot_run_is_told_and_stops_no_other() {
    let world = World::start();
    world.system.put("packages/p", &json!({"publish": true})).expect(200);
    world.system.put("actions/p/a", &action()).expect(200);
    world.guest.put("packages/q", &json!({})).expect(200);
    world.guest.put("triggers/t", &json!({"parameters": keyed(json!({"fixed": 1}))})).expect(200);
    let mut fixed = action();
    fixed["annotations"] = keyed(json!({"final": true}));
    fixed["parameters"] = keyed(json!({"fixed": 0}));
    for (name, body) in [("good", action()), ("gone", action()), ("q/inner", action()), ("fixed", fixed)] {
        world.guest.put(&format!("actions/{name}"), &body).expect(200);
    }
    for (rule, action) in [
        ("r-gone", "/_/gone"),
        ("r-package", "/_/q/inner"),
        ("r-closed", "/whisk.system/p/a"),
        ("r-final", "/_/fixed"),
        ("r-good", "/_/good"),
    ] {
        join(&world.guest, rule, action);
    }
    world.guest.delete("actions/gone").expect(200);
    world.guest.delete("packages/q?force=true").expect(200);
    world.system.put("packages/p?overwrite=true", &json!({"publish": false})).expect(200);
    let told = |n: usize, lines: &[Value]| (lines[n]["statusCode"].clone(), lines[n]["error"].clone());
    let fired = world.guest.post("triggers/t", &json!({})).expect(202);
    let lines_now = lines(&world.record(&world.guest, id(&fired)));
    for (n, words) in [
        "The requested resource does not exist.",
        "The requested resource does not exist.",
        "The supplied authentication is not authorized to access 'whisk.system/p'.",
        "Request defines parameters that are not allowed (e.g., reserved properties).",
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(told(n, &lines_now), (json!(1), json!(words)), "{n}");
    }
    assert_eq!(lines_now[4]["success"], true);
    assert_eq!(world.bus.sent().len(), 1);
    // The platform's own trouble has a status of its own.
    world.bus.set_full(true);
    let fired = world.guest.post("triggers/t", &json!({})).expect(202);
    assert_eq!(told(4, &lines(&world.record(&world.guest, id(&fired)))).0, json!(3));
}

#[test]
fn a_fire_ends_although_its_client_left() {
    let world = World::start();
    world.guest.put("triggers/t", &json!({})).expect(200);
    world.guest.put("actions/a", &action()).expect(200);
    ["r1", "r2"].into_iter().for_each(|rule| join(&world.guest, rule, "/_/a"));
    world.bus.set_open(false);
    let mut wire = Wire::open(world.address).unwrap();
    let auth = base64(GUEST.as_bytes());
    let head = format!("POST {} HTTP/1.1\r\nhost: x\r\n", world.guest.target("triggers/t"));
    wire.send(format!("{head}authorization: Basic {auth}\r\ncontent-length: 0\r\n\r\n").as_bytes()).unwrap();
    eventually(SOON, || if world.bus.waiting() == 2 { Ok(()) } else { Err(format!("{} wait", world.bus.waiting())) });
    drop(wire);
    // The server has heard of it when it takes the next connection's request.
    world.guest.get("triggers/t").expect(200);
    world.bus.set_open(true);
    let records = eventually(SOON, || {
        let records = world.guest.get("activations?name=t&docs=true").expect(200);
        if records == json!([]) { Err("no record".into()) } else { Ok(records) }
    });
    assert!(lines(&records[0]).iter().all(|line| line["success"] == true), "{records}");
    assert_eq!(world.bus.sent().len(), 2);
}

#[test]
fn fires_and_the_invocations_of_their_rules_are_counted() {
    // Counts begin anew with each minute of the clock. Should one begin in the
    // middle of this, the next try is at its beginning.
    if !counted() {
        assert!(counted(), "counted otherwise in two minutes");
    }
}

/// Whether the limits of one minute hold.
fn counted() -> bool {
    let world = World::with(|limits| (limits.fires_per_minute, limits.invocations_per_minute) = (2, 1));
    world.guest.put("triggers/t", &json!({})).expect(200);
    world.system.put("triggers/t", &json!({})).expect(200);
    world.guest.put("actions/a", &action()).expect(200);
    ["r1", "r2"].into_iter().for_each(|rule| join(&world.guest, rule, "/_/a"));
    let fires = [0; 3].map(|_| world.guest.post("triggers/t", &json!({})));
    // Others are not concerned.
    assert_eq!(world.system.post("triggers/t", &json!({})).status(), 204);
    let mut lines = lines(&world.record(&world.guest, id(&fires[0].expect(202))));
    lines.sort_by_key(|line| line["statusCode"].as_u64());
    fires[2].status() == 429
        && fires[2].refusal(429) == "Too many requests in the last minute (count: 3, allowed: 2)."
        && lines[0]["success"] == true
        && lines[1]["error"] == "Too many requests in the last minute (count: 2, allowed: 1)."
        && world.guest.post("triggers/absent", &json!({})).status() == 429
}
