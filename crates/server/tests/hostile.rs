//! Requests that no friend sends: each gets a clear refusal in OpenWhisk's
//! form, costs bounded memory, and leaves everyone else in peace.

use std::{
    io,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use whisker_testkit::{Answer, Archive, GUEST, Request, Server, Wire, base64, binary, escapes, eventually, source};

/// What a server may hold after an attack: its own, and room to work.
const MEMORY_BYTES: u64 = 400 << 20;

/// The head of a request by `guest`, without the empty line at its end.
fn head(method: &str, path: &str) -> String {
    format!("{method} /api/v1/namespaces/_/{path} HTTP/1.1\r\nhost: test\r\nauthorization: Basic {}\r\n", base64(GUEST))
}

/// Sends bytes on a connection of their own and reads what comes back.
fn raw(address: SocketAddr, bytes: &[u8]) -> io::Result<Answer> {
    let mut wire = Wire::open(address)?;
    // The server may refuse, and close, before it has read everything.
    let sent = wire.send(bytes);
    wire.answer(false).or_else(|error| sent.and(Err(error)))
}

/// The words of a refusal in OpenWhisk's form.
#[track_caller]
fn words(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body)
        .unwrap_or_else(|_| panic!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body)));
    assert!(body["code"].is_string(), "{body}");
    body["error"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
}

/// A neighbour is served, and the server has not grown.
#[track_caller]
fn all_is_well(server: &Server) {
    let guest = server.guest();
    guest.node("neighbour", "function main(p) { return p }");
    assert_eq!(guest.result("neighbour", &json!({"n": 1})), json!({"n": 1}));
    let resident = server.resident_bytes();
    assert!(resident < MEMORY_BYTES, "the server holds {} MB", resident >> 20);
    assert!(!server.output().contains("panicked"), "{}", server.output());
}

#[test]
fn bodies_that_are_no_json_are_refused() {
    let server = Server::start();
    let guest = server.guest();
    guest.node("echo", "function main(p) { return p }");
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
    let bodies: Vec<Vec<u8>> = vec![
        b"{".to_vec(),
        b"{\"a\":}".to_vec(),
        b"{'a':1}".to_vec(),
        b"{\"a\":1}}".to_vec(),
        b"nul".to_vec(),
        b"\xff\xfe{\"a\":1}".to_vec(),
        b"{\"a\":\"\x00\"}".to_vec(),
        deep("[", "]").into_bytes(),
        deep("{\"a\":", "}").into_bytes(),
        b"[".repeat(900_000),
    ];
    for body in bodies {
        for (method, path) in [("POST", "actions/echo?blocking=true"), ("PUT", "actions/made")] {
            let request = Request::new(method, guest.target(path)).header("content-type", "application/json");
            let response = guest.send(&request.body(body.clone()));
            let shown = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
            assert!(response.refusal(400).starts_with("The request content was malformed"), "{method} {shown}");
        }
    }
    guest.get("actions/made").refusal(404);
    all_is_well(&server);
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    let server = Server::start();
    let guest = server.guest();
    for body in [
        json!([]),
        json!("text"),
        json!(null),
        json!({"exec": "nodejs:20"}),
        json!({"exec": {"kind": 20, "code": "x"}}),
        json!({"exec": {"kind": "nodejs:20", "code": 5}}),
        json!({"exec": {"kind": "nodejs:20", "code": "x", "main": []}}),
        json!({"exec": {"kind": "nodejs:20", "code": "x"}, "parameters": {"a": 1}}),
        json!({"exec": {"kind": "nodejs:20", "code": "x"}, "parameters": [{"value": 1}]}),
        json!({"exec": {"kind": "nodejs:20", "code": "x"}, "annotations": [1]}),
        json!({"exec": {"kind": "nodejs:20", "code": "x"}, "limits": {"timeout": "long"}}),
        json!({"exec": {"kind": "nodejs:20", "code": "x"}, "limits": {"memory": 1.5}}),
        json!({"exec": {"kind": "nodejs:20", "code": "x"}, "limits": {"memory": -256}}),
        json!({"exec": {"kind": "nodejs:20", "code": "x"}, "limits": {"timeout": 1e30}}),
        json!({"exec": {"kind": "nodejs:20", "code": "x"}, "version": "one"}),
        json!({"exec": {"kind": "nodejs:20", "code": "x"}, "publish": "yes"}),
        json!({"exec": {"kind": "cobol:60", "code": "x"}}),
    ] {
        guest.put("actions/typed", &body).refusal(400);
    }
    guest.get("actions/typed").refusal(404);
    for query in ["blocking=perhaps", "timeout=0", "timeout=-1", "timeout=999999999", "timeout=soon"] {
        guest.post(&format!("actions/typed?{query}"), &json!({})).refusal(400);
    }
    for query in ["limit=-1", "limit=201", "limit=many", "skip=-1", "skip=99999999999999999999"] {
        guest.get(&format!("actions?{query}")).refusal(400);
    }
}

#[test]
fn names_outside_the_rule_are_refused() {
    let server = Server::start();
    let guest = server.guest();
    let body = source("nodejs:20", "function main() { return {} }");
    let long = "n".repeat(257);
    for name in [
        "%00",
        "a%00b",
        "%0a",
        "a%0d%0aset-cookie:%20x",
        "%2e%2e%2fetc",
        "a%2fb",
        "%20lead",
        "trail%20",
        "a%24b",
        "a%3Bb",
        "a%60id%60",
        "%24%28id%29",
        "%ff%fe",
        "%c3%28",
        "%f0%9f%92%a9",
        "a%5c..%5cb",
        "%e2%80%ae",
        &long,
    ] {
        let response = guest.put(&format!("actions/{name}"), &body);
        assert_eq!(response.status(), 400, "{name}: {}", response.text());
        response.refusal(400);
    }
    for name in ["plain", "with%20space", "a@b.c-d_e", "0", &"n".repeat(256)] {
        guest.put(&format!("actions/{name}"), &body).expect(200);
    }
    assert_eq!(guest.get("actions?count=true").expect(200)["actions"], 5);
}

#[test]
fn code_over_the_limit_is_refused_and_forgotten() {
    let server = Server::start();
    let guest = server.guest();
    let before = server.resident_bytes();
    let code = "x".repeat((48 << 20) + 1);
    let response = guest.put("actions/large", &source("nodejs:20", &code));
    assert!(response.refusal(413).contains("larger than allowed"), "{}", response.text());
    guest.get("actions/large").refusal(404);
    let response = guest.put(
        "actions/parameters",
        &json!({
            "exec": {"kind": "nodejs:20", "code": "x"}, "parameters": [{"key": "a", "value": "x".repeat(1 << 20)}]
        }),
    );
    assert!(response.refusal(413).contains("parameters larger than allowed"), "{}", response.text());
    guest.node("echo", "function main(p) { return p }");
    let response = guest.invoke("echo", &json!({"a": "x".repeat(1 << 20)}));
    assert!(response.refusal(413).contains("larger than allowed"), "{}", response.text());
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 200 << 20, "the server grew by {} MB", grown >> 20);
    all_is_well(&server);
}

#[test]
fn archives_that_unpack_to_more_than_they_should_are_refused_at_once() {
    let server = Server::start();
    let guest = server.guest();
    // 10 GB of zeros in some 10 MB, as faults.md has it, would take minutes to
    // make; what is refused is what the archive says, so 2 GB show the same.
    let bomb = Archive::default().file("index.js", "exports.main = p => p").zeros("zeros", 2 << 30).base64();
    let asked = Instant::now();
    guest.put("actions/bomb", &binary("nodejs:20", &bomb)).refusal(400);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    guest.get("actions/bomb").refusal(404);
    let mut many = Archive::default().file("index.js", "exports.main = p => p");
    for n in 0..70_000 {
        many = many.file(&format!("f{n}"), "");
    }
    guest.put("actions/many", &binary("nodejs:20", &many.base64())).refusal(400);
    all_is_well(&server);
}

#[test]
fn archives_that_reach_outside_their_folder_are_refused() {
    let server = Server::start();
    let guest = server.guest();
    let outside = server.data_dir().join("escaped");
    let archives = escapes(server.data_dir().to_str().expect("a plain path"), || {
        Archive::default().file("index.js", "exports.main = p => p")
    });
    for (name, archive) in archives {
        let name = name.replace(' ', "-");
        guest.put(&format!("actions/{name}"), &binary("nodejs:20", &archive.base64())).refusal(400);
    }
    let found = std::process::Command::new("find").arg(server.data_dir()).args(["-name", "*escaped*"]).output();
    assert_eq!(String::from_utf8_lossy(&found.expect("find runs").stdout), "", "nothing outside");
    assert!(!outside.exists() && !std::path::Path::new("/etc/escaped").exists());
}

#[test]
fn code_that_is_no_archive_is_told() {
    let server = Server::start();
    let guest = server.guest();
    // OpenWhisk takes any code; that it cannot be loaded is told by its run.
    for (name, code) in [("broken", base64("PK\x03\x04 and then nonsense")), ("nobase64", "???".into())] {
        let put = guest.put(&format!("actions/{name}"), &binary("nodejs:20", &code));
        if put.status() == 200 {
            let record = guest.run(name, &json!({}));
            assert_eq!(record["response"]["status"], "action developer error", "{name}: {record}");
        } else {
            put.refusal(400);
        }
    }
}

#[test]
fn long_headers_are_refused_with_431() {
    let server = Server::start();
    let request = format!("{}x-long: {}\r\n\r\n", head("GET", "actions"), "x".repeat(64 << 10));
    let answer = raw(server.address(), request.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 431);
    words(&answer);
    let many: String = (0..5000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let answer = raw(server.address(), format!("{}{many}\r\n", head("GET", "actions")).as_bytes()).expect("an answer");
    assert_eq!(answer.status, 431);
    // Without end: cut off, not read for ever.
    let mut wire = Wire::open(server.address()).expect("a connection");
    let piece = format!("x-more: {}\r\n", "x".repeat(8000));
    wire.send(head("GET", "actions").as_bytes()).expect("the first piece is taken");
    let sent = (0..10_000).take_while(|_| wire.send(piece.as_bytes()).is_ok()).count();
    assert!(sent < 10_000, "80 MB of headers were taken");
    all_is_well(&server);
}

#[test]
fn a_request_with_two_lengths_is_refused() {
    let server = Server::start();
    let start = || head("POST", "actions/x") + "content-type: application/json\r\n";
    for (what, rest) in [
        ("two lengths", "content-length: 2\r\ncontent-length: 3\r\n\r\n{}"),
        ("a negative length", "content-length: -2\r\n\r\n{}"),
        ("a length that is no number", "content-length: two\r\n\r\n{}"),
        ("an unknown encoding", "transfer-encoding: gzip\r\n\r\n{}"),
        ("a chunk without length", "transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"),
    ] {
        let answer = raw(server.address(), (start() + rest).as_bytes()).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(answer.status, 400, "{what}: {}", String::from_utf8_lossy(&answer.body));
    }
    for line in ["GET / HTTP/9.9\r\n\r\n", "GET\r\n\r\n", "\0\0\0\0\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n"] {
        let answer = raw(server.address(), line.as_bytes()).unwrap_or_else(|e| panic!("{line:?}: {e}"));
        assert!(matches!(answer.status, 400 | 505), "{line:?}: {}", answer.status);
    }
    all_is_well(&server);
}

#[test]
fn a_length_together_with_chunks_is_refused_and_nothing_is_smuggled_behind_it() {
    let server = Server::start();
    let start = || head("POST", "actions/x") + "content-type: application/json\r\n";
    for lengths in [
        "content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n",
        "TRANSFER-ENCODING:chunked\r\nx: y\r\nContent-Length:2\r\n\r\n",
    ] {
        let mut wire = Wire::open(server.address()).expect("a connection");
        // Not the first request of its connection.
        wire.send((head("GET", "actions") + "\r\n").as_bytes()).expect("it is taken");
        assert_eq!(wire.answer(false).expect("an answer").status, 200);
        let smuggled = format!("2\r\n{{}}\r\n0\r\n\r\n{}\r\n", head("GET", "actions"));
        wire.send((start() + lengths + &smuggled).as_bytes()).expect("it is taken");
        assert_eq!(wire.answer(false).expect("an answer").status, 400, "{lengths}");
        assert!(wire.answer(false).is_err(), "{lengths}: what came behind was answered");
    }
    all_is_well(&server);
}

#[test]
fn an_endless_body_is_cut_off() {
    let server = Server::start();
    let before = server.resident_bytes();
    for path in ["actions/endless", "actions/endless?blocking=true"] {
        let method = if path.contains('?') { "POST" } else { "PUT" };
        let mut wire = Wire::open(server.address()).expect("a connection");
        let start = head(method, path) + "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        wire.send(start.as_bytes()).expect("the head is taken");
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        // 640 MB, of which no limit lets more than 50 MB pass.
        let sent = (0..10_000).take_while(|_| wire.send(chunk.as_bytes()).is_ok()).count();
        assert!(sent < 10_000, "640 MB of body were taken");
        if let Ok(answer) = wire.answer(false) {
            assert!(matches!(answer.status, 400 | 413), "{}", answer.status);
        }
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 200 << 20, "the server grew by {} MB", grown >> 20);
    all_is_well(&server);
}

#[test]
fn an_address_with_too_many_connections_is_told_so_and_others_are_served() {
    let server = Server::builder().flag("--listen", "0.0.0.0").flag("--connections-per-address", "5").start();
    let output = std::process::Command::new("ip").args(["-4", "-o", "addr"]).output().expect("ip runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let own = text.lines().filter_map(|line| line.split_whitespace().nth(3)?.split('/').next()?.parse().ok());
    let own: std::net::IpAddr =
        own.into_iter().find(|address: &std::net::IpAddr| !address.is_loopback()).expect("an address");
    let address = SocketAddr::new(own, server.address().port());
    let ping = || "GET /ping HTTP/1.1\r\nhost: test\r\n\r\n".as_bytes();
    let mut wires: Vec<Wire> = (0..5).map(|_| Wire::open(address).expect("a connection")).collect();
    for wire in &mut wires {
        wire.send(ping()).expect("it is taken");
        assert_eq!(wire.answer(false).expect("an answer").status, 200);
    }
    assert_eq!(raw(address, b"").expect("an answer").status, 429);
    let loopback = SocketAddr::new([127, 0, 0, 1].into(), address.port());
    assert_eq!(raw(loopback, ping()).expect("an answer").status, 200, "others are served");
    drop(wires.pop());
    eventually(Duration::from_secs(30), || match raw(address, ping()) {
        Ok(answer) if answer.status == 200 => Ok(()),
        answer => Err(format!("{:?}", answer.map(|answer| answer.status))),
    });
}

#[test]
fn slow_clients_are_dropped_and_others_do_not_notice() {
    const SLOW: usize = 200;
    let server = Server::start();
    let slow: Vec<_> = (0..SLOW)
        .map(|n| {
            let mut wire = Wire::open(server.address()).expect("a connection");
            // Some never finish their headers, some never begin.
            if n % 2 == 0 {
                wire.send(b"GET /api/v1/namespaces/_/actions HTTP/1.1\r\nhost: te").expect("some bytes");
            }
            wire
        })
        .collect();
    all_is_well(&server);
    let opened = Instant::now();
    thread::scope(|scope| {
        for mut wire in slow {
            scope.spawn(move || {
                wire.patience(Duration::from_secs(30)).expect("a limit");
                // Whether with words or without: the connection ends.
                if let Err(error) = wire.rest() {
                    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
                }
            });
        }
    });
    assert!(opened.elapsed() < Duration::from_secs(15), "{:?}", opened.elapsed());
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for_without_end() {
    let server = Server::start();
    let mut wire = Wire::open(server.address()).expect("a connection");
    let start = head("PUT", "actions/slow") + "content-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
    wire.send(start.as_bytes()).expect("the head is taken");
    let asked = Instant::now();
    wire.patience(Duration::from_secs(45)).expect("a limit");
    assert_eq!(wire.answer(false).expect("an answer").status, 408);
    assert!(asked.elapsed() < Duration::from_secs(40));
}

#[test]
fn texts_in_any_language_come_back_as_they_went() {
    let server = Server::start();
    let guest = server.guest();
    guest.node("echo", "function main(p) { console.log(p.text); return p }");
    for text in
        ["naïve ☃ 𝄞 漢字 עברית", "a\u{0}b", "\u{202e}reversed", "line\nfeed\r\ttab", "\"quoted\\\"", "\u{feff}bom"]
    {
        let arguments = json!({"text": text, text: 1});
        assert_eq!(guest.result("echo", &arguments), arguments, "{text:?}");
    }
}
