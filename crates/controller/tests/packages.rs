//! Packages, bindings, and what they open to others.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{World, action, keyed};
use serde_json::json;
use whisker_entity::{Binding, Package, Parameters, QualifiedName, Version};
use whisker_store::{Document, Entities};

const SYSTEM: &str = "/api/v1/namespaces/whisk.system";

#[test]
fn others_see_a_package_once_it_is_published() {
    let world = World::start();
    let named = |path: &str| format!("{SYSTEM}/{path}");
    world.system.put("packages/p", &json!({})).expect(200);
    world.system.put("actions/p/a", &action()).expect(200);
    let reads = ["packages/p", "actions/p/", "actions/p/a"];
    // What is private and what is not there look the same.
    for path in reads.into_iter().chain(["packages/q", "actions/q/a"]) {
        let words = world.guest.get(&named(path)).refusal(403);
        let package = if path.contains('q') { 'q' } else { 'p' };
        assert!(words.ends_with(&format!("'whisk.system/{package}'.")), "{path}: {words}");
    }
    assert_eq!(world.guest.get(&named("packages")).expect(200), json!([]));
    world.system.put("packages/p?overwrite=true", &json!({"publish": true})).expect(200);
    for path in reads {
        world.guest.get(&named(path)).expect(200);
    }
    assert_eq!(world.guest.get(&named("packages")).expect(200)[0]["name"], "p");
    assert_eq!(world.guest.get(&named("packages?count=true")).expect(200), json!({"packages": 1}));
    world.guest.post(&named("actions/p/a?blocking=true"), &json!({})).expect(200);
    // Reading and invoking is all that others may.
    for (answer, whole) in [
        (world.guest.put(&named("actions/p/a?overwrite=true"), &action()), "whisk.system/p/a"),
        (world.guest.delete(&named("actions/p/a")), "whisk.system/p/a"),
        (world.guest.put(&named("packages/p?overwrite=true"), &json!({})), "whisk.system/p"),
        (world.guest.delete(&named("packages/p?force=true")), "whisk.system/p"),
        (world.guest.get(&named("actions/a")), "whisk.system/a"),
        (world.guest.get(&named("triggers/t")), "whisk.system/t"),
        (world.guest.post(&named("triggers/t"), &json!({})), "whisk.system/t"),
        (world.guest.post(&named("rules/r"), &json!({"status": "active"})), "whisk.system/r"),
        (world.guest.get(&named("actions")), "whisk.system"),
        (world.guest.get(&named("triggers")), "whisk.system"),
        (world.guest.get(&named("rules")), "whisk.system"),
    ] {
        let words = answer.refusal(403);
        assert!(words.ends_with(&format!("'{whole}'.")), "{words}");
    }
}

#[test]
fn an_activation_through_a_binding_is_its_callers() {
    let world = World::start();
    let body = json!({"publish": true, "parameters": keyed(json!({"a": "package", "b": "package", "c": "package"}))});
    world.system.put("packages/p", &body).expect(200);
    let mut hello = action();
    hello["parameters"] = keyed(json!({"c": "action"}));
    world.system.put("actions/p/hello", &hello).expect(200);
    let binding = json!({"namespace": "whisk.system", "name": "p"});
    let body = json!({"binding": binding, "parameters": keyed(json!({"b": "binding"}))});
    world.guest.put("packages/mine", &body).expect(200);
    let record = world.guest.post("actions/mine/hello?blocking=true", &json!({"d": "payload"})).expect(200);
    assert_eq!(record["namespace"], "guest");
    assert_eq!(record["response"]["result"], json!({"a": "package", "b": "binding", "c": "action", "d": "payload"}));
    let (message, _) = world.bus.sent().remove(0);
    assert_eq!(message.action.to_string(), "whisk.system/p/hello");
    assert_eq!(message.binding.as_ref().map(ToString::to_string), Some("guest/mine".into()));
    // Records are found by the name that was called.
    assert_eq!(world.guest.get("activations?name=mine/hello&count=true").expect(200), json!({"activations": 1}));
}

#[test]
fn a_binding_is_as_good_as_the_package_behind_it() {
    let world = World::start();
    world.system.put("packages/p", &json!({"publish": true})).expect(200);
    world.system.put("actions/p/a", &action()).expect(200);
    world.guest.put("packages/mine", &json!({"binding": {"namespace": "whisk.system", "name": "p"}})).expect(200);
    world.guest.get("actions/mine/a").expect(200);
    world.system.put("packages/p?overwrite=true", &json!({"publish": false})).expect(200);
    for path in ["packages/mine", "actions/mine/", "actions/mine/a"] {
        assert!(world.guest.get(path).refusal(403).contains("'guest/mine'"), "{path}");
    }
    world.guest.post("actions/mine/a", &json!({})).refusal(403);
    world.system.delete("packages/p?force=true").expect(200);
    world.guest.get("packages/mine").refusal(403);
    // It can still be taken away.
    world.guest.delete("packages/mine").expect(200);
    assert_eq!(world.bus.sent().len(), 0);
}

#[test]
fn bindings_made_elsewhere_are_followed_but_not_in_circles() {
    let world = World::start();
    world.guest.put("packages/base", &json!({"parameters": keyed(json!({"k": "base", "l": "base"}))})).expect(200);
    world.guest.put("actions/base/a", &action()).expect(200);
    for (name, bound) in [("b1", "b2"), ("b2", "base"), ("c1", "c2"), ("c2", "c1"), ("self", "self")] {
        world.wait(world.store.put(&bind(name, bound), None)).unwrap();
    }
    let shown = world.guest.get("packages/b1").expect(200);
    assert_eq!((&shown["name"], &shown["binding"]["name"]), (&json!("b1"), &json!("b2")));
    assert_eq!(shown["parameters"], keyed(json!({"k": "b1", "l": "base"})));
    assert_eq!(shown["actions"][0]["name"], "a");
    let result = world.guest.post("actions/b1/a?blocking=true&result=true", &json!({})).expect(200);
    assert_eq!(result, json!({"k": "b1", "l": "base"}));
    for path in ["packages/c1", "actions/c1/a", "actions/c1/", "packages/self"] {
        assert!(world.guest.get(path).refusal(422).ends_with("contains a circular reference."), "{path}");
    }
    world.guest.post("actions/self/a", &json!({})).refusal(422);
}

fn bind(name: &str, bound: &str) -> Document {
    let full = |name: &str| QualifiedName::parse(&format!("guest/{name}")).unwrap();
    let mut parameters = Parameters::default();
    parameters.set_value("k", name);
    Document::Package(Package {
        namespace: full(name).path,
        name: full(name).name,
        binding: Some(Binding(full(bound))),
        parameters,
        version: Version::FIRST,
        publish: false,
        annotations: Parameters::default(),
        updated: 1,
    })
}

#[test]
fn force_empties_a_package_of_any_size() {
    let world = World::start();
    world.guest.put("packages/p", &json!({})).expect(200);
    for i in 0..450 {
        world.guest.put(&format!("actions/p/a{i}"), &action()).expect(200);
    }
    let words = world.guest.delete("packages/p").refusal(409);
    assert_eq!(words, "Package not empty (contains 450 entities). Set force param or delete package contents.");
    assert_eq!(world.guest.get("packages/p").expect(200)["actions"].as_array().unwrap().len(), 450);
    world.guest.delete("packages/p?force=true").expect(200);
    assert_eq!(world.guest.get("actions?count=true").expect(200), json!({"actions": 0}));
    world.guest.get("packages/p").refusal(404);
}

#[test]
fn very_many_parameters_are_merged_in_no_time() {
    let world = World::start();
    let many = |n: usize| (0..n).map(|i| json!({"key": format!("k{i}"), "value": 0})).collect::<serde_json::Value>();
    world.guest.put("packages/p", &json!({"parameters": many(100_000)})).expect(200);
    world.guest.put("actions/p/a", &action()).expect(200);
    let payload: serde_json::Map<_, _> = (50_000..130_000).map(|i| (format!("k{i}"), 1.into())).collect();
    let result = world.guest.post("actions/p/a?blocking=true&result=true", &payload.into()).expect(200);
    assert_eq!(result.as_object().unwrap().len(), 130_000);
    assert_eq!((&result["k49999"], &result["k50000"]), (&json!(0), &json!(1)));
}

#[test]
fn a_client_that_is_refused_while_it_sends_hears_why() {
    let world = World::start();
    let large = json!({"a": "x".repeat(8 << 20)});
    for _ in 0..10 {
        world.guest.put("triggers/t?overwrite=true", &json!({})).expect(200);
        assert!(world.guest.post("triggers/t", &large).refusal(413).starts_with("Request larger than allowed"));
        world.guest.put(&format!("{SYSTEM}/actions/a"), &large).refusal(403);
        world.guest.put("gizmos/a", &large).refusal(404);
    }
}

#[test]
fn where_sharing_is_for_invoking_others_code_is_not_shown() {
    let world = World::with(|limits| limits.shared_packages_execute_only = true);
    world.system.put("packages/p", &json!({"publish": true})).expect(200);
    world.system.put("actions/p/a", &action()).expect(200);
    world.guest.put("packages/mine", &json!({"binding": {"namespace": "whisk.system", "name": "p"}})).expect(200);
    for (path, words) in [
        (format!("{SYSTEM}/packages/p"), "GET not permitted for 'whisk.system/p' since it's a shared package"),
        (
            format!("{SYSTEM}/actions/p/a"),
            "GET not permitted for 'whisk.system/p' since it's an action in a shared package",
        ),
        ("packages/mine".into(), "GET not permitted since mine is a binding of a shared package"),
        (
            "actions/mine/a".into(),
            "GET not permitted for 'guest/mine/a'. Resource does not exist or is an action in a shared package binding.",
        ),
        (
            "actions/mine/absent".into(),
            "GET not permitted for 'guest/mine/absent'. Resource does not exist or is an action in a shared package \
             binding.",
        ),
    ] {
        assert_eq!(world.guest.get(&path).refusal(403), words);
    }
    world.guest.post("actions/mine/a?blocking=true", &json!({})).expect(200);
    world.guest.post(&format!("{SYSTEM}/actions/p/a?blocking=true"), &json!({})).expect(200);
    world.system.get("packages/p").expect(200);
    world.system.get("actions/p/a").expect(200);
}
