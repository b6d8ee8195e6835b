//! A server's life: it starts at once, says where it is, ends when asked, and
//! comes back with everything.

use std::{
    io::ErrorKind,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use whisker_testkit::{Request, Server, Wire, eventually};

const SLOW: &str = "function main() { return new Promise(done => setTimeout(() => done({ slept: true }), 2000)) }";

#[test]
fn a_server_starts_within_a_second_and_says_how_to_call_it() {
    // The best of a few: a start shares the machine with other tests.
    let starts: Vec<_> = (0..5).map(|_| Server::start()).collect();
    let quickest = starts.iter().map(Server::start_time).min();
    assert!(quickest < Some(Duration::from_secs(1)), "{quickest:?}");
    let server = &starts[0];
    assert_eq!(server.said("listens on http://"), server.address().to_string());
    assert_eq!(server.said("key of guest: "), whisker_testkit::GUEST, "it is no secret on loopback");
    assert_eq!(server.anyone().get("/ping").text(), "pong");
    eventually(Duration::from_secs(10), || match server.anyone().get("/ready") {
        ready if ready.status() == 200 => Ok(()),
        ready => Err(ready.text()),
    });
}

#[test]
fn an_asked_server_finishes_what_runs() {
    let server = Server::start();
    let guest = server.guest();
    guest.node("slow", SLOW);
    let waiting = guest.clone();
    let call = thread::spawn(move || waiting.invoke("slow", &json!({})));
    // The answer of a request that waits is what a shutdown must not lose.
    eventually(Duration::from_secs(10), || match server.anyone().get("/activation/count").text().as_str() {
        "1" => Ok(()),
        other => Err(other.to_owned()),
    });
    server.terminate();
    let response = call.join().expect("the call is answered");
    assert_eq!(response.expect(200)["response"]["result"], json!({"slept": true}));
    let stopped = server.wait();
    assert!(stopped.status.success(), "{:?}\n{}", stopped.status, stopped.output);
}

/// What a proxy needs so that no request of its is lost: a connection that can
/// be refused is, and one that was kept open is closed by an answer that says so.
#[test]
fn a_server_that_ends_refuses_connections_and_answers_on_those_of_a_proxy() {
    const PING: &[u8] = b"GET /ping HTTP/1.1\r\nhost: api.test\r\n\r\n";
    let server = Server::builder().flag("--trusted-proxy", "127.0.0.1").start();
    let guest = server.guest();
    guest.node("slow", SLOW);
    let mut kept = Wire::open(server.address()).expect("it listens");
    kept.send(PING).expect("it is open");
    assert!(kept.answer(false).expect("an answer").keeps_alive());
    let call = thread::spawn(move || guest.invoke("slow", &json!({})));
    eventually(Duration::from_secs(10), || match server.anyone().get("/activation/count").text().as_str() {
        "1" => Ok(()),
        other => Err(other.to_owned()),
    });
    server.terminate();
    eventually(Duration::from_secs(10), || match TcpStream::connect(server.address()) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert!(!call.is_finished(), "connections are refused while requests still end");
    kept.send(PING).expect("it is kept open");
    let last = kept.answer(false).expect("an answer");
    assert_eq!((last.status, last.keeps_alive()), (200, false));
    call.join().expect("the call is answered").expect(200);
    let stopped = server.wait();
    assert!(stopped.status.success(), "{:?}\n{}", stopped.status, stopped.output);
}

#[test]
fn an_idle_server_ends_at_once() {
    let server = Server::start();
    server.guest().get("actions").expect(200);
    let asked = Instant::now();
    let stopped = server.stop();
    assert!(stopped.status.success(), "{}", stopped.output);
    // Its grace is 30 seconds, and nothing needs it.
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
}

#[test]
fn a_shutdown_is_bounded_whatever_runs() {
    let server = Server::builder().flag("--shutdown-grace", "1s").start();
    let guest = server.guest();
    guest.node("endless", "function main() { for (;;); }");
    guest.accept("endless", &json!({}));
    let asked = Instant::now();
    let stopped = server.stop();
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}\n{}", asked.elapsed(), stopped.output);
}

#[test]
fn requests_and_runs_share_one_grace() {
    let grace = Duration::from_secs(6);
    let server = Server::builder().flag("--shutdown-grace", "6s").start();
    let guest = server.guest();
    guest.node("endless", "function main() { for (;;); }");
    guest.accept("endless", &json!({}));
    let waiting = thread::spawn(move || guest.try_send(&request(&guest)).map(|answer| answer.status()));
    let guest = server.guest();
    eventually(Duration::from_secs(30), || match guest.get("/activation/count").json() {
        count if count == json!(2) => Ok(()),
        count => Err(count.to_string()),
    });
    let asked = Instant::now();
    let stopped = server.stop();
    // Twice the grace would be what each of them had for itself.
    assert!(asked.elapsed() < 2 * grace - Duration::from_millis(500), "{:?}\n{}", asked.elapsed(), stopped.output);
    let _ = waiting.join();
}

/// A request that waits for a run that does not end.
fn request(guest: &whisker_testkit::Client) -> Request {
    Request::new("POST", guest.target("actions/endless?blocking=true")).json(&json!({}))
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let server = Server::start();
    let (status, output) = server.settings().refused();
    assert!(!status.success());
    assert!(output.contains("another server"), "{output}");
    server.guest().get("actions").expect(200);
}

#[test]
fn a_port_in_use_is_said() {
    let server = Server::start();
    let port = server.address().port().to_string();
    let (status, output) = Server::builder().flag("--port", &port).refused();
    assert!(!status.success());
    assert!(output.contains(&format!("cannot listen on {}", server.address())), "{output}");
}

#[test]
fn an_unknown_flag_or_setting_is_said() {
    let (status, output) = Server::builder().switch("--prot").refused();
    assert_eq!(status.code(), Some(2));
    assert!(output.contains("--prot"), "{output}");
    let (status, output) = Server::builder().variable("WHISKER_QUEUE_MAX", "many").refused();
    assert_eq!(status.code(), Some(2));
    assert!(output.contains("many"), "{output}");
}

#[test]
fn a_restart_keeps_actions_and_records() {
    let server = Server::start();
    let guest = server.guest();
    guest.action(
        "kept",
        &json!({
            "exec": {"kind": "nodejs:20", "code": "function main(p) { console.log('a line'); return p }"},
            "parameters": [{"key": "a", "value": 1}], "limits": {"timeout": 5000}
        }),
    );
    let before = guest.get("actions/kept").expect(200);
    let record = guest.run("kept", &json!({"b": 2}));
    let id = record["activationId"].as_str().expect("an id").to_owned();

    let server = server.stop().start();
    let guest = server.guest();
    assert_eq!(guest.get("actions/kept").expect(200), before);
    assert_eq!(guest.get(&format!("activations/{id}")).expect(200), record);
    assert_eq!(guest.result("kept", &json!({"b": 3})), json!({"a": 1, "b": 3}));
}

#[test]
fn a_non_loopback_address_gets_random_keys_shown_once() {
    let server = Server::builder().flag("--listen", "0.0.0.0").start();
    let key = server.said("key of guest: ");
    let output = server.output();
    assert!(!output.contains(whisker_testkit::GUEST), "{output}");
    let address = ([127, 0, 0, 1], server.address().port()).into();
    whisker_testkit::Client::new(address, Some(&key)).get("actions").expect(200);
    whisker_testkit::Client::new(address, Some(whisker_testkit::GUEST)).get("actions").refusal(401);
    let server = server.stop().start();
    // The server is asked first: by then it has said all that a start says.
    whisker_testkit::Client::new(([127, 0, 0, 1], server.address().port()).into(), Some(&key))
        .get("actions")
        .expect(200);
    assert!(!server.output().contains(&key), "{}", server.output());
}
