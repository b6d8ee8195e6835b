//! Kinds of actions that this host cannot run: they can be created, and a run
//! says what is missing.

use serde_json::json;
use whisker_testkit::Server;

#[test]
fn an_image_without_an_engine_is_refused_and_says_why() {
    let server = Server::start();
    let guest = server.guest();
    guest.action("boxed", &json!({"exec": {"kind": "blackbox", "image": "somebody/something:1"}}));
    let answer = guest.invoke("boxed", &json!({}));
    assert_eq!(answer.status(), 500, "{}", answer.text());
    let record = guest.record(answer.json()["activationId"].as_str().expect("an id"));
    assert_eq!(record["response"]["status"], "whisk internal error");
    let words = "This platform cannot run actions of kind 'blackbox:somebody/something:1': \
                 it is a container image, which takes a container engine (--containers docker).";
    assert_eq!(record["response"]["result"]["error"], words);
}
