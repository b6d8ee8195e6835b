//! Web actions over HTTP: who may call what, in whose name it runs, and what
//! crosses the wire.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{World, action, keyed};
use serde_json::{Value, json};
use whisker_testkit::{Client, Request, Response};

/// A path below `/web`.
fn web(path: &str) -> String {
    format!("/api/v1/web/{path}")
}

/// Puts an action of `guest` with these annotations.
fn put(world: &World, name: &str, annotations: Value) {
    let mut body = action();
    body["annotations"] = keyed(annotations);
    world.guest.put(&format!("actions/{name}"), &body).expect(200);
}

/// Nobody in particular.
fn anyone(world: &World) -> Client {
    Client::new(world.address, None)
}

fn ask(client: &Client, method: &str, path: &str) -> Response {
    client.send(&Request::new(method, web(path)))
}

#[test]
fn what_is_not_exported_is_not_there() {
    let world = World::start();
    put(&world, "private", json!({}));
    put(&world, "almost", json!({"web-export": "true"}));
    put(&world, "number", json!({"web-export": 1}));
    world.guest.put("packages/p", &json!({})).expect(200);
    put(&world, "p/private", json!({"web-export": false}));
    world.guest.put("triggers/trigger", &json!({})).expect(200);
    // A binding is worth what the package behind it is to the binding's owner.
    world.system.put("packages/shared", &json!({"publish": true})).expect(200);
    let mut exported = action();
    exported["annotations"] = keyed(json!({"web-export": true}));
    world.system.put("actions/shared/a", &exported).expect(200);
    world.guest.put("packages/bound", &json!({"binding": {"namespace": "whisk.system", "name": "shared"}})).expect(200);
    assert_eq!(ask(&anyone(&world), "GET", "guest/bound/a").status(), 204);
    world.system.put("packages/shared?overwrite=true", &json!({"publish": false})).expect(200);

    for path in [
        "guest/default/private",
        "guest/default/private.json",
        "guest/default/almost",
        "guest/default/number",
        "guest/default/absent",
        "guest/default/trigger",
        "guest/default/p",
        "guest/p/private",
        "guest/absent/private",
        "guest/private/private",
        "guest/bound/a",
        "nobody/default/private",
        "_/default/private",
    ] {
        for client in [&anyone(&world), &world.guest, &world.system] {
            for method in ["GET", "POST", "OPTIONS"] {
                let answer = ask(client, method, path);
                assert_eq!(answer.refusal(404), "The requested resource does not exist.", "{method} {path}");
                let names: Vec<&str> = answer.headers().iter().map(|(name, _)| name.as_str()).collect();
                assert_eq!(names, ["content-type", "x-request-id", "content-length", "date"], "{method} {path}");
            }
        }
    }
    assert_eq!(world.bus.sent().len(), 1, "of all these one was invoked, before its package was taken back");
}

#[test]
fn it_runs_in_its_owners_name_and_is_told_who_calls() {
    let world = World::start();
    put(&world, "echo", json!({"web-export": true}));
    let wrong = Client::new(world.address, Some(&format!("00000000-1111-2222-3333-444444444444:{}", "n".repeat(64))));
    for (client, user) in [
        (&anyone(&world), Value::Null),
        (&wrong, Value::Null),
        (&world.guest, json!("guest")),
        (&world.system, json!("whisk.system")),
    ] {
        let answer = ask(client, "GET", "guest/default/echo.json/rest?a=1");
        let told = answer.expect(200);
        assert_eq!((&told["__ow_user"], &told["__ow_path"], &told["a"]), (&user, &json!("/rest"), &json!("1")));
        let (message, _) = world.bus.sent().pop().unwrap();
        assert_eq!(message.user.namespace.as_str(), "guest");
        assert!(message.blocking);
        assert_eq!(answer.header("x-openwhisk-activation-id"), Some(message.activation.to_string().as_str()));
        world.record(&world.guest, &message.activation.to_string());
    }
}

#[test]
fn it_counts_against_its_owners_limits_once_it_is_to_be_run() {
    let world = World::with(|limits| limits.invocations_per_minute = 3);
    put(&world, "echo", json!({"web-export": true}));
    put(&world, "secured", json!({"web-export": true, "require-whisk-auth": "s3cret"}));
    let anyone = anyone(&world);
    let mut statuses = Vec::new();
    // Seven, since a minute of the clock may end in between.
    for _ in 0..7 {
        assert_eq!(ask(&anyone, "OPTIONS", "guest/default/echo").status(), 200);
        assert_eq!(ask(&anyone, "GET", "guest/default/absent").status(), 404);
        assert_eq!(ask(&anyone, "GET", "guest/default/secured").status(), 401);
        statuses.push(ask(&world.system, "GET", "guest/default/echo").status());
    }
    assert_eq!(statuses[..3], [204; 3]);
    assert!(statuses.contains(&429), "{statuses:?}");
    // Whoever calls has limits of their own.
    world.system.put("actions/own", &action()).expect(200);
    world.system.post("actions/own?blocking=true", &json!({})).expect(200);
}

#[test]
fn who_may_not_call_it_does_not_reach_it() {
    let world = World::start();
    put(&world, "keyed", json!({"web-export": true, "require-whisk-auth": true}));
    put(&world, "secret", json!({"web-export": true, "require-whisk-auth": "s3cret", "web-custom-options": true}));
    let anyone = anyone(&world);
    for (client, path, secret, status) in [
        (&anyone, "keyed", None, 401),
        (&anyone, "keyed", Some("true"), 401),
        (&world.system, "keyed", None, 204),
        (&anyone, "secret", None, 401),
        (&world.guest, "secret", None, 401),
        (&anyone, "secret", Some("s3cre"), 401),
        (&anyone, "secret", Some("s3cret"), 204),
    ] {
        let before = world.bus.sent().len();
        let mut request = Request::new("GET", web(&format!("guest/default/{path}")));
        if let Some(secret) = secret {
            request = request.header("x-require-whisk-auth", secret);
        }
        let answer = client.send(&request);
        assert_eq!(answer.status(), status, "{path} {secret:?}");
        assert_eq!(world.bus.sent().len() - before, usize::from(status == 204));
        if status == 401 {
            let words = "Authentication is possible but has failed or not yet been provided.";
            assert_eq!(answer.refusal(401), words);
        }
        assert_eq!(answer.header("access-control-allow-origin"), (path == "keyed").then_some("*"));
    }
    // Browsers ask for options without credentials, and this action answers them itself.
    let before = world.bus.sent().len();
    assert_eq!(ask(&anyone, "OPTIONS", "guest/default/secret").status(), 204);
    assert_eq!(ask(&anyone, "OPTIONS", "guest/default/keyed").status(), 200);
    assert_eq!(world.bus.sent().len() - before, 1);
}

#[test]
fn final_and_reserved_arguments_are_kept() {
    let world = World::start();
    let mut body = action();
    body["annotations"] = keyed(json!({"web-export": true, "final": true}));
    body["parameters"] = keyed(json!({"fixed": "f", "open": null}));
    world.guest.put("actions/fin", &body).expect(200);
    put(&world, "raw", json!({"web-export": true, "final": true, "raw-http": true}));
    let anyone = anyone(&world);
    let path = web("guest/default/fin.json");
    for request in [
        Request::new("GET", format!("{path}?fixed=x")),
        Request::new("POST", &path).json(&json!({"fixed": "f"})),
        Request::new("POST", &path).header("content-type", "application/x-www-form-urlencoded").body("fixed=x"),
        Request::new("GET", format!("{path}?__ow_user=whisk.system")),
        Request::new("POST", &path).json(&json!({"__ow_headers": {}})),
    ] {
        let words = anyone.send(&request).refusal(400);
        assert_eq!(words, "Request defines parameters that are not allowed (e.g., reserved properties).");
    }
    assert!(world.bus.sent().is_empty());
    let told = anyone.send(&Request::new("GET", format!("{path}?open=x"))).expect(200);
    assert_eq!((&told["fixed"], &told["open"]), (&json!("f"), &json!("x")));
    // A raw action sees what was sent, and decides for itself.
    let told = ask(&anyone, "GET", "guest/default/raw.json?__ow_user=x").expect(200);
    assert_eq!((&told["__ow_query"], told.get("__ow_user")), (&json!("__ow_user=x"), None));
}

#[test]
fn bodies_over_the_limit_are_refused_declared_or_not() {
    let world = World::with(|limits| limits.payload_max_bytes = 1000);
    put(&world, "echo", json!({"web-export": true}));
    let post = |request: Request| anyone(&world).send(&request.header("content-type", "text/plain"));
    let path = web("guest/default/echo.json");
    let whole = post(Request::new("POST", &path).body("x".repeat(1000)));
    assert_eq!(whole.expect(200)["__ow_body"], "x".repeat(1000));
    let declared = post(Request::new("POST", &path).body("x".repeat(1001)));
    assert_eq!(declared.refusal(413), "Request larger than allowed: 1001 > 1000 bytes.");
    let chunks = format!("{}0\r\n\r\n", format!("64\r\n{}\r\n", "x".repeat(100)).repeat(11));
    let chunked = post(Request::new("POST", &path).header("transfer-encoding", "chunked").body(chunks));
    assert_eq!(chunked.status(), 413);
    assert_eq!(world.bus.sent().len(), 1);
}

#[test]
fn a_response_is_what_the_result_says_and_no_more() {
    let world = World::start();
    put(&world, "say", json!({"web-export": true}));
    let say = |result: Value| anyone(&world).send(&Request::new("POST", web("guest/default/say")).json(&result));
    let all = |answer: &Response, name: &str| -> Vec<String> {
        answer.headers().iter().filter(|(n, _)| n == name).map(|(_, value)| value.clone()).collect()
    };
    let answer = say(json!({"statusCode": 201, "headers": {"set-cookie": ["a=1", "b=2"]}, "body": "made"}));
    assert_eq!((answer.status(), answer.text().as_str()), (201, "made"));
    assert_eq!(all(&answer, "set-cookie"), ["a=1", "b=2"]);
    assert_eq!(all(&answer, "content-type"), ["text/html; charset=UTF-8"]);

    let answer = say(json!({"headers": {"x": "a\r\nset-cookie: c=3", "y\r\nset-cookie": "1"}, "body": "x"}));
    assert_eq!(answer.refusal(400), "Response is not valid 'message/http'.");
    assert!(all(&answer, "set-cookie").is_empty());

    // Framing is the server's: the next request on this connection is answered.
    let lies = json!({"content-length": "1", "transfer-encoding": "chunked", "x-openwhisk-activation-id": "0"});
    let answer = say(json!({"headers": lies, "body": "whole"}));
    assert_eq!(answer.text(), "whole");
    assert_eq!(all(&answer, "x-openwhisk-activation-id").len(), 1);
    assert_ne!(all(&answer, "x-openwhisk-activation-id"), ["0"]);

    let answer = ask(&anyone(&world), "HEAD", "guest/default/say.json");
    assert_eq!((answer.status(), answer.text().as_str()), (200, ""));
    assert!(world.bus.sent().last().unwrap().0.content.get().contains(r#""__ow_method":"head""#));

    let picky = Request::new("GET", web("guest/default/say.json")).header("accept", "text/html, image/*");
    assert!(anyone(&world).send(&picky).refusal(406).ends_with("application/json"));
    let answer = ask(&anyone(&world), "TRACE", "guest/default/say");
    assert_eq!(answer.header("allow"), Some("GET, DELETE, POST, PUT, HEAD, OPTIONS, PATCH"));
    answer.refusal(405);
}

#[test]
fn a_bus_that_takes_no_more_is_told() {
    let world = World::start();
    put(&world, "echo", json!({"web-export": true}));
    world.bus.set_full(true);
    ask(&anyone(&world), "GET", "guest/default/echo").refusal(503);
    world.bus.set_full(false);
    assert_eq!(ask(&anyone(&world), "GET", "guest/default/echo").status(), 204);
}
