//! Who may do what: every route, asked by nobody, by a stranger with a wrong
//! key, and by a user in another user's namespace.

use serde_json::json;
use whisker_testkit::{Client, GUEST, Request, SYSTEM, Server, base64, source};

/// Routes below a namespace, with a body where one is needed.
const ROUTES: [(&str, &str, Option<&str>); 10] = [
    ("GET", "actions", None),
    ("GET", "actions/hello", None),
    ("PUT", "actions/hello?overwrite=true", Some("{\"exec\":{\"kind\":\"nodejs:20\",\"code\":\"stolen\"}}")),
    ("POST", "actions/hello", Some("{}")),
    ("DELETE", "actions/hello", None),
    ("GET", "activations", None),
    ("GET", "activations/ID", None),
    ("GET", "activations/ID/logs", None),
    ("GET", "activations/ID/result", None),
    ("GET", "limits", None),
];

fn request(method: &str, space: &str, path: &str, body: Option<&str>) -> Request {
    let request = Request::new(method, format!("/api/v1/namespaces/{space}/{path}"));
    match body {
        Some(body) => request.header("content-type", "application/json").body(body),
        None => request,
    }
}

#[test]
fn without_credentials_or_with_wrong_ones_nothing_is_shown_or_done() {
    let server = Server::start();
    let guest = server.guest();
    guest.node("hello", "function main(p) { return p }");
    let record = guest.run("hello", &json!({}));
    let id = record["activationId"].as_str().expect("an id");
    let uuid = GUEST.split(':').next().expect("a uuid");
    let wrong_key = format!("{uuid}:{}", "x".repeat(64));
    let stranger = format!("00000000-1111-2222-3333-444444444444:{}", "x".repeat(64));
    let swapped = format!("{uuid}:{}", SYSTEM.split(':').nth(1).expect("a key"));
    let supplied = "The supplied authentication is invalid";
    let missing = "The resource requires authentication, which was not supplied with the request";
    let cases: Vec<(&str, Option<String>, &str)> = vec![
        ("nobody", None, missing),
        ("a wrong key", Some(format!("Basic {}", base64(&wrong_key))), supplied),
        ("a stranger", Some(format!("Basic {}", base64(&stranger))), supplied),
        ("another's key", Some(format!("Basic {}", base64(&swapped))), supplied),
        ("an empty key", Some(format!("Basic {}", base64(format!("{uuid}:")))), supplied),
        ("another scheme", Some(format!("Bearer {}", base64(GUEST))), missing),
        ("no base64", Some("Basic ???".into()), missing),
    ];
    for (who, authorization, words) in cases {
        for (method, path, body) in ROUTES {
            let mut request = request(method, "guest", &path.replace("ID", id), body);
            if let Some(authorization) = &authorization {
                request = request.header("authorization", authorization);
            }
            let response = server.anyone().send(&request);
            assert_eq!(response.refusal(401), words, "{who}: {method} {path}");
            assert!(response.header("www-authenticate").is_some_and(|v| v.starts_with("Basic ")), "{who}");
        }
    }
    let code = guest.get("actions/hello").expect(200)["exec"]["code"].clone();
    assert_eq!(code, "function main(p) { return p }", "nobody changed it");
}

#[test]
fn a_user_reaches_nothing_in_the_namespace_of_another() {
    let server = Server::start();
    let (guest, system) = (server.guest(), server.system());
    guest.node("hello", "function main(p) { return p }");
    let record = guest.run("hello", &json!({}));
    let id = record["activationId"].as_str().expect("an id");
    for (method, path, body) in ROUTES {
        let response = system.send(&request(method, "guest", &path.replace("ID", id), body));
        let status = response.status();
        assert!(matches!(status, 403 | 404), "{method} {path}: {status} {}", response.text());
        response.refusal(status);
    }
    // The id alone opens nothing either.
    assert!(matches!(system.get(&format!("activations/{id}")).status(), 403 | 404));
    assert_eq!(guest.get("actions/hello").expect(200)["version"], "0.0.1", "nothing was done to it");
    let listed = guest.get("activations?count=true").expect(200);
    assert_eq!(listed["activations"], 1, "nothing was run");
}

#[test]
fn lists_and_namespaces_show_ones_own() {
    let server = Server::start();
    let (guest, system) = (server.guest(), server.system());
    guest.node("mine", "function main(p) { return p }");
    assert_eq!(system.get("actions").expect(200), json!([]));
    assert_eq!(guest.get("/api/v1/namespaces").expect(200), json!(["guest"]));
    assert_eq!(system.get("/api/v1/namespaces").expect(200), json!(["whisk.system"]));
}

#[test]
fn a_namespace_that_nobody_has_is_forbidden_like_any_other() {
    let server = Server::start();
    let guest = server.guest();
    for (method, path, body) in ROUTES {
        let response = guest.send(&request(method, "nobody", &path.replace("ID", &"0".repeat(32)), body));
        assert!(matches!(response.status(), 403 | 404), "{method} {path}: {} {}", response.status(), response.text());
    }
    assert_eq!(
        guest.put("/api/v1/namespaces/nobody/actions/x", &source("nodejs:20", "x")).status(),
        403,
        "nothing is made outside one's namespace"
    );
}

#[test]
fn keys_are_not_in_what_the_server_says() {
    let server = Server::builder().flag("--log", "trace").flag("--listen", "127.0.0.1").start();
    let guest = server.guest();
    guest.action(
        "secret",
        &json!({
            "exec": {"kind": "nodejs:20", "code": "function main(p) { return p } // CODE-7f3a"},
            "parameters": [{"key": "password", "value": "PARAMETER-7f3a"}]
        }),
    );
    guest.run("secret", &json!({"token": "PAYLOAD-7f3a"}));
    let wrong = Client::new(
        server.address(),
        Some(&format!("{}:{}", "23bc46b1-71f6-4ed5-8c54-816aa4f8c502", "WRONG7f3a".repeat(7))),
    );
    assert_eq!(wrong.get("actions").status(), 401);
    let output = server.stop().output;
    // The published keys are shown at the start, on loopback; nothing else is.
    for secret in ["CODE-7f3a", "PARAMETER-7f3a", "PAYLOAD-7f3a", "WRONG7f3a"] {
        assert!(!output.contains(secret), "{secret} is in the log:\n{output}");
    }
}
