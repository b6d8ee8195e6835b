//! Every operation against everybody who may not use it.
//!
//! The table is a `match` without catch-all over the operations that there are:
//! one that is added does not compile here until somebody has said who is
//! refused what, and a row that leads to another operation fails.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{World, action};
use serde_json::json;
use whisker_controller::{Access, Operation};
use whisker_entity::Subject;
use whisker_store::Subjects;
use whisker_testkit::{Client, GUEST, Request};

/// A request for something in the namespace `guest`, and what it is answered.
struct Row {
    /// Path and query; below the operation's root if it begins with no slash.
    target: &'static str,
    /// To who shows no key.
    nobody: u16,
    /// To who shows a wrong one.
    wrong: u16,
    /// To a blocked subject.
    blocked: u16,
    /// To the owner of another namespace.
    other: u16,
}

/// For those who have a key; what the owner of another namespace is answered.
const fn secured(target: &'static str, other: u16) -> Row {
    Row { target, nobody: 401, wrong: 401, blocked: 401, other }
}

/// For all alike.
const fn open(target: &'static str, status: u16) -> Row {
    Row { target, nobody: status, wrong: status, blocked: status, other: status }
}

/// The table.
fn rows(operation: Operation) -> Vec<Row> {
    use Operation as O;
    match operation {
        O::Api => vec![open("/api/v1", 200), open("/api/v1/", 200)],
        O::ApiDocument => vec![open("/api/v1/api-docs", 200)],
        O::ApiDocs => vec![open("/api/v1/docs", 308)],
        O::ApiDocsPage => vec![open("/api/v1/docs/index.html", 200)],
        O::Deployment => vec![open("/", 200)],
        O::Ping => vec![open("/ping", 200)],
        // There are no invokers here.
        O::Ready => vec![open("/ready", 503)],
        O::Metrics => vec![open("/metrics", 200)],
        O::ListInvokers => vec![open("/invokers", 200)],
        O::CountHealthyInvokers => vec![open("/invokers/healthy/count", 200)],
        O::InvokersReady => vec![open("/invokers/ready", 500)],
        O::CountInFlight => vec![open("/activation", 200), open("/activation/count", 200)],
        O::Document => vec![open("/api-docs", 200)],
        O::Docs => vec![open("/docs", 308)],
        O::DocsPage => vec![open("/docs/index.html", 200)],
        O::Preflight => vec![open("/anything", 200), open("/api/v1/namespaces/guest/actions", 200)],

        // What is not exported is not there, also for its owner.
        O::Web => vec![
            open("/api/v1/web/guest/default/a", 404),
            open("/api/v1/web/guest/private/a", 404),
            open("/api/v1/web/guest/private/absent", 404),
            Row { other: 200, ..secured("/api/v1/web/guest/public/closed.json", 200) },
        ],

        O::ListNamespaces => vec![secured("/api/v1/namespaces", 200), secured("/api/v1/namespaces/", 200)],
        O::ReadLimits => vec![secured("limits", 403)],
        O::ListActions => vec![secured("actions", 403), secured("actions/", 403)],
        O::ReadAction => vec![secured("actions/a", 403), secured("actions/absent", 403)],
        O::PutAction => vec![secured("actions/a?overwrite=true", 403)],
        O::DeleteAction => vec![secured("actions/a", 403)],
        O::InvokeAction => vec![secured("actions/a", 403)],

        // What is in a public package is for all, but to write.
        O::ListPackageActions => vec![secured("actions/private/", 403), secured("actions/public/", 200)],
        O::ReadPackageAction => {
            vec![secured("actions/private/a", 403), secured("actions/public/a", 200), secured("actions/bound/a", 403)]
        }
        O::PutPackageAction => vec![
            secured("actions/private/a?overwrite=true", 403),
            secured("actions/public/a?overwrite=true", 403),
            secured("actions/public/new", 403),
        ],
        O::DeletePackageAction => vec![secured("actions/private/a", 403), secured("actions/public/a", 403)],
        O::InvokePackageAction => {
            vec![secured("actions/private/a", 403), secured("actions/public/a", 202), secured("actions/bound/a", 403)]
        }

        O::ListPackages => vec![secured("packages", 200)],
        O::ReadPackage => vec![
            secured("packages/private", 403),
            secured("packages/public", 200),
            secured("packages/bound", 403),
            secured("packages/absent", 403),
        ],
        O::PutPackage => vec![secured("packages/public?overwrite=true", 403), secured("packages/new", 403)],
        O::DeletePackage => vec![secured("packages/public?force=true", 403)],

        O::ListTriggers => vec![secured("triggers", 403)],
        O::ReadTrigger => vec![secured("triggers/t", 403)],
        O::PutTrigger => vec![secured("triggers/t?overwrite=true", 403)],
        O::DeleteTrigger => vec![secured("triggers/t", 403)],
        O::FireTrigger => vec![secured("triggers/t", 403)],

        O::ListRules => vec![secured("rules", 403)],
        O::ReadRule => vec![secured("rules/r", 403)],
        O::PutRule => vec![secured("rules/r?overwrite=true", 403)],
        O::DeleteRule => vec![secured("rules/r", 403)],
        O::SwitchRule => vec![secured("rules/r", 403)],

        O::ListActivations => vec![secured("activations", 403)],
        O::ReadActivation => vec![secured("activations/ID", 403)],
        O::ReadLogs => vec![secured("activations/ID/logs", 403)],
        O::ReadResult => vec![secured("activations/ID/result", 403)],
    }
}

/// A namespace with one of everything; answers an activation's id.
fn furnish(world: &World) -> String {
    let guest = &world.guest;
    guest.put("packages/private", &json!({})).expect(200);
    guest.put("packages/public", &json!({"publish": true})).expect(200);
    let bound = json!({"binding": {"namespace": "_", "name": "public"}, "publish": true});
    guest.put("packages/bound", &bound).expect(200);
    for name in ["a", "private/a", "public/a", "public/closed"] {
        guest.put(&format!("actions/{name}"), &action()).expect(200);
    }
    let annotations = common::keyed(json!({"web-export": true, "require-whisk-auth": true}));
    guest.put("actions/public/closed?overwrite=true", &json!({"annotations": annotations})).expect(200);
    guest.put("triggers/t", &json!({})).expect(200);
    guest.put("rules/r", &json!({"trigger": "/_/t", "action": "/_/a"})).expect(200);
    let record = guest.post("actions/a?blocking=true", &json!({})).expect(200);
    record["activationId"].as_str().unwrap().to_owned()
}

/// A subject that has a key and is blocked.
fn block(world: &World, key: &str) {
    let (uuid, secret) = key.split_once(':').unwrap();
    let namespaces = json!([{"name": "blocked", "uuid": uuid, "key": secret}]);
    let subject = json!({"subject": "blocked", "namespaces": namespaces, "blocked": true});
    let subject: Subject = serde_json::from_value(subject).unwrap();
    world.wait(Subjects::put(&*world.store, &subject)).unwrap();
}

#[test]
fn every_operation_is_closed_to_whom_it_is_not_for() {
    let world = World::start();
    let id = furnish(&world);
    let blocked = format!("11111111-2222-3333-4444-555555555555:{}", "b".repeat(64));
    block(&world, &blocked);
    let wrong = format!("{}:{}", GUEST.split_once(':').unwrap().0, "x".repeat(64));
    let unknown = format!("unknown:{}", "x".repeat(64));
    let client = |key: Option<&str>| Client::new(world.address, key);
    for &operation in Operation::ALL {
        let rows = rows(operation);
        assert!(!rows.is_empty(), "{operation:?} has no row");
        for row in rows {
            let target = row.target.replace("ID", &id);
            let target = if target.starts_with('/') { target } else { format!("/api/v1/namespaces/guest/{target}") };
            let path = target.split('?').next().unwrap();
            for method in operation.methods() {
                assert_eq!(Operation::of(method, path), Some(operation), "{method} {path}");
                let body = if row.target.starts_with("actions/") { action() } else { json!({}) };
                let request = Request::new(method.as_str(), &target).json(&body);
                for (who, client, status) in [
                    ("nobody", client(None), row.nobody),
                    ("a wrong key", client(Some(&wrong)), row.wrong),
                    ("an unknown key", client(Some(&unknown)), row.wrong),
                    ("a blocked subject", client(Some(&blocked)), row.blocked),
                    ("another", world.system.clone(), row.other),
                ] {
                    // Browsers ask without credentials; the action is not called.
                    let preflight = operation == Operation::Web && method == "OPTIONS" && status != 404;
                    let status = if preflight { 200 } else { status };
                    let answer = client.send(&request);
                    assert_eq!(answer.status(), status, "{method} {target} by {who}: {}", answer.text());
                    if status == 401 && operation.access() == Access::Key {
                        assert!(answer.header("www-authenticate").is_some(), "{method} {target} by {who}");
                    }
                }
            }
        }
    }
    // Nothing of all this left a trace.
    for kept in ["actions/a", "actions/private/a", "actions/public/a", "packages/public", "triggers/t", "rules/r"] {
        assert_eq!(world.guest.get(kept).expect(200)["version"], "0.0.1", "{kept}");
    }
    for absent in ["actions/public/new", "packages/new"] {
        assert_eq!(world.guest.get(absent).status(), 404, "{absent}");
    }
}
