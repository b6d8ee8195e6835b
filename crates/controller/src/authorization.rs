//! A test of every route against everybody who may not use it.
//!
//! The rows are compared with the routes themselves: a new one does not
//! compile until [`place`] knows it, and then fails until a row asks for it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use http::Method;
use serde_json::json;
use whisker_entity::Subject;
use whisker_store::{Collection, Subjects};
use whisker_testkit::{Client, Request};

use crate::route::{Destination, Part, Resource, Route, Verb, route};

#[path = "../tests/common/mod.rs"]
mod common;

use common::{World, action};

/// Where a request leads, by name. No catch-all: see above.
fn place(destination: &Destination) -> String {
    let verb = |verb: &Verb| match verb {
        Verb::Read => "read",
        Verb::Put => "put",
        Verb::Delete => "delete",
        Verb::Activate => "activate",
    };
    let resource = match destination {
        Destination::Open(open) => {
            let name = match open {
                Route::Options { api: true } => "options in the api",
                Route::Options { api: false } => "options",
                Route::Deployment => "deployment",
                Route::Ping => "ping",
                Route::Ready => "ready",
                Route::Metrics => "metrics",
                Route::Invokers => "invokers",
                Route::HealthyInvokers => "healthy invokers",
                Route::InvokersReady => "invokers ready",
                Route::InFlight => "in flight",
                Route::Api => "api",
            };
            return format!("open: {name}");
        }
        Destination::Web(_) => return "web action".into(),
        Destination::Secured(resource) => resource.as_ref().unwrap(),
    };
    match resource {
        Resource::Namespaces => "namespaces".into(),
        Resource::Limits(_) => "limits".into(),
        Resource::List(_, collection) => match collection {
            Collection::Actions => "list of actions".into(),
            Collection::Packages => "list of packages".into(),
            // The same path: which of the two it is depends on who asks.
            Collection::PublicPackages => "list of packages".into(),
            Collection::Triggers => "list of triggers".into(),
            Collection::Rules => "list of rules".into(),
        },
        Resource::PackageList(..) => "list of a package".into(),
        Resource::Action(v, _, None, _) => format!("{} action", verb(v)),
        Resource::Action(v, _, Some(_), _) => format!("{} packaged action", verb(v)),
        Resource::Package(v, ..) => format!("{} package", verb(v)),
        Resource::Trigger(v, ..) => format!("{} trigger", verb(v)),
        Resource::Rule(v, ..) => format!("{} rule", verb(v)),
        Resource::Activations(_) => "list of activations".into(),
        Resource::Activation(_, _, part) => match part {
            Part::Record => "activation".into(),
            Part::Logs => "logs of an activation".into(),
            Part::Result => "result of an activation".into(),
        },
    }
}

/// Every place there is.
fn places() -> BTreeSet<String> {
    let mut places: BTreeSet<String> = [
        "options in the api",
        "options",
        "deployment",
        "ping",
        "ready",
        "metrics",
        "invokers",
        "healthy invokers",
        "invokers ready",
        "in flight",
        "api",
    ]
    .map(|name| format!("open: {name}"))
    .into();
    for name in [
        "web action",
        "namespaces",
        "limits",
        "list of actions",
        "list of packages",
        "list of triggers",
        "list of rules",
        "list of a package",
        "list of activations",
        "activation",
        "logs of an activation",
        "result of an activation",
    ] {
        places.insert(name.into());
    }
    for (entity, verbs) in [
        ("action", &["read", "put", "delete", "activate"][..]),
        ("packaged action", &["read", "put", "delete", "activate"]),
        ("package", &["read", "put", "delete"]),
        ("trigger", &["read", "put", "delete", "activate"]),
        ("rule", &["read", "put", "delete", "activate"]),
    ] {
        places.extend(verbs.iter().map(|verb| format!("{verb} {entity}")));
    }
    places
}

/// What is asked for, in the namespace `guest`, and what somebody with the key
/// of another namespace gets. Whoever has no valid key gets 401 for it.
const SECURED: &[(&str, &str, u16)] = &[
    ("GET", "", 200),
    ("GET", "/guest/limits", 403),
    ("GET", "/guest/actions", 403),
    ("GET", "/guest/actions/private/", 403),
    ("GET", "/guest/actions/public/", 200),
    ("GET", "/guest/actions/a", 403),
    ("PUT", "/guest/actions/a?overwrite=true", 403),
    ("DELETE", "/guest/actions/a", 403),
    ("POST", "/guest/actions/a", 403),
    ("GET", "/guest/actions/private/a", 403),
    ("PUT", "/guest/actions/private/a?overwrite=true", 403),
    ("DELETE", "/guest/actions/private/a", 403),
    ("POST", "/guest/actions/private/a", 403),
    ("GET", "/guest/actions/public/a", 200),
    ("PUT", "/guest/actions/public/a?overwrite=true", 403),
    ("DELETE", "/guest/actions/public/a", 403),
    ("POST", "/guest/actions/public/a", 202),
    ("GET", "/guest/packages", 200),
    ("GET", "/guest/packages/private", 403),
    ("GET", "/guest/packages/public", 200),
    ("GET", "/guest/packages/bound", 403),
    ("PUT", "/guest/packages/public?overwrite=true", 403),
    ("DELETE", "/guest/packages/public?force=true", 403),
    ("GET", "/guest/triggers", 403),
    ("GET", "/guest/triggers/t", 403),
    ("PUT", "/guest/triggers/t?overwrite=true", 403),
    ("DELETE", "/guest/triggers/t", 403),
    ("POST", "/guest/triggers/t", 403),
    ("GET", "/guest/rules", 403),
    ("GET", "/guest/rules/r", 403),
    ("PUT", "/guest/rules/r?overwrite=true", 403),
    ("DELETE", "/guest/rules/r", 403),
    ("POST", "/guest/rules/r", 403),
    ("GET", "/guest/activations", 403),
    ("GET", "/guest/activations/${ID}", 403),
    ("GET", "/guest/activations/${ID}/logs", 403),
    ("GET", "/guest/activations/${ID}/result", 403),
];

/// What anyone may ask for, with any key or none.
const OPEN: &[(&str, &str, u16)] = &[
    ("OPTIONS", "/api/v1/namespaces/guest/actions", 200),
    ("OPTIONS", "/anything", 200),
    ("GET", "/", 200),
    ("GET", "/ping", 200),
    ("GET", "/ready", 503),
    ("GET", "/metrics", 200),
    ("GET", "/invokers", 200),
    ("GET", "/invokers/healthy/count", 200),
    ("GET", "/invokers/ready", 500),
    ("GET", "/activation", 200),
    ("GET", "/api/v1", 200),
    ("GET", "/api/v1/web/guest/default/a", 404),
    ("GET", "/api/v1/web/guest/private/a", 404),
    ("GET", "/api/v1/web/guest/private/absent", 404),
];

/// A namespace with one of everything; answers an activation's id.
fn furnish(world: &World) -> String {
    let guest = &world.guest;
    guest.put("packages/private", &json!({})).expect(200);
    guest.put("packages/public", &json!({"publish": true})).expect(200);
    let bound = json!({"binding": {"namespace": "_", "name": "public"}, "publish": true});
    guest.put("packages/bound", &bound).expect(200);
    for name in ["a", "private/a", "public/a"] {
        guest.put(&format!("actions/{name}"), &action()).expect(200);
    }
    guest.put("triggers/t", &json!({})).expect(200);
    guest.put("rules/r", &json!({"trigger": "/_/t", "action": "/_/a"})).expect(200);
    let record = guest.post("actions/a?blocking=true", &json!({})).expect(200);
    record["activationId"].as_str().unwrap().to_owned()
}

#[test]
fn every_route_is_closed_to_whom_it_is_not_for() {
    let world = World::start();
    let id = furnish(&world);
    let blocked = format!("11111111-2222-3333-4444-555555555555:{}", "b".repeat(64));
    world.wait(Subjects::put(&*world.store, &subject_blocked(&blocked))).unwrap();
    let client = |key: Option<&str>| Client::new(world.address, key);
    let strangers = [
        ("nobody", client(None)),
        (
            "a wrong key",
            client(Some(&format!("{}:{}", whisker_testkit::GUEST.split_once(':').unwrap().0, "x".repeat(64)))),
        ),
        ("an unknown key", client(Some(&format!("unknown:{}", "x".repeat(64))))),
        ("a blocked subject", client(Some(&blocked))),
    ];
    let mut seen = BTreeSet::new();
    for (method, path, status) in SECURED {
        let target = format!("/api/v1/namespaces{}", path.replace("${ID}", &id));
        let bare = target.split('?').next().unwrap();
        seen.insert(place(&route(&method.parse::<Method>().unwrap(), bare).unwrap()));
        let body = if method == &"PUT" && path.contains("actions") { action() } else { json!({}) };
        let request = Request::new(method, &target).json(&body);
        for (name, stranger) in &strangers {
            assert_eq!(stranger.send(&request).status(), 401, "{method} {path} by {name}");
        }
        let answer = world.system.send(&request);
        assert_eq!(answer.status(), *status, "{method} {path} by another: {}", answer.text());
    }
    for (method, path, status) in OPEN {
        seen.insert(place(&route(&method.parse::<Method>().unwrap(), path).unwrap()));
        for (name, anyone) in strangers.iter().map(|(n, c)| (*n, c)).chain([("another", &world.system)]) {
            assert_eq!(anyone.send(&Request::new(method, *path)).status(), *status, "{method} {path} by {name}");
        }
    }
    assert_eq!(seen, places(), "each route has its row, and each row its route");
    // Nothing of all this left a trace.
    for kept in ["actions/a", "actions/private/a", "actions/public/a", "packages/public", "triggers/t", "rules/r"] {
        assert_eq!(world.guest.get(kept).expect(200)["version"], "0.0.1", "{kept}");
    }
}

fn subject_blocked(key: &str) -> Subject {
    let (uuid, key) = key.split_once(':').unwrap();
    let namespaces = json!([{"name": "blocked", "uuid": uuid, "key": key}]);
    serde_json::from_value(json!({"subject": "blocked", "namespaces": namespaces, "blocked": true})).unwrap()
}
