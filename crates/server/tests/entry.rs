//! The public entry: a real NGINX with the configuration of `deploy/nginx`, in
//! front of the real binary, and what those meet who mean it ill.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
use serde_json::{Value, json};
use whisker_testkit::{Answer, Certificate, Client, GUEST, Nginx, Origin, Request, Server, Wire, base64, eventually};

/// Behind NGINX, whose word for its clients is taken.
fn behind_nginx() -> Server {
    Server::builder().flag("--trusted-proxy", "127.0.0.1").start()
}

fn guest(nginx: &Nginx) -> Client {
    Client::at(nginx.origin(), Some(GUEST))
}

/// The head of a request, without the empty line at its end.
fn head(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: api.test\r\nauthorization: Basic {}\r\n", base64(GUEST))
}

/// Sends bytes on a connection of their own and reads what comes back.
#[track_caller]
fn raw(origin: &Origin, bytes: &[u8]) -> Answer {
    let mut wire = Wire::open(origin).unwrap();
    // It may be refused, and closed, before all of it was read.
    let sent = wire.send(bytes);
    wire.answer(false).unwrap_or_else(|error| panic!("no answer: {error}; sent: {sent:?}"))
}

/// A refusal by NGINX in OpenWhisk's form, which names the request.
#[track_caller]
fn refused(answer: &Answer, status: u16) {
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, status, "{text}");
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}"));
    assert!(body["error"].is_string(), "{body}");
    assert_eq!(body["code"].as_str(), answer.header("x-request-id"), "{body} {:?}", answer.headers);
}

/// What curl has of an action, by HTTP/2: the answer, the version and the status.
#[track_caller]
fn http2(nginx: &Nginx, method: &str, action: &str, body: &str) -> String {
    let port = nginx.origin().address().port();
    let mut call = Command::new("curl")
        .args(["-sS", "--http2", "--user", GUEST, "--write-out", "\n%{http_version} %{http_code}", "--cacert"])
        .arg(nginx.certificate().path())
        .args(["--resolve", &format!("api.test:{port}:127.0.0.1"), "-H", "content-type: application/json"])
        .args(["--request", method, "--data-binary", "@-"])
        .arg(format!("https://api.test:{port}/api/v1/namespaces/_/actions/{action}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    call.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let said = call.wait_with_output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

#[test]
fn what_is_public_is_reached_by_both_versions_of_http_and_nothing_else_is() {
    let server = behind_nginx();
    let nginx = Nginx::start(&[server.address()]);
    let (guest, anyone) = (guest(&nginx), Client::at(nginx.origin(), None));
    guest.node("echo", "function main(p) { return p }");
    assert_eq!(guest.result("echo", &json!({"n": 1})), json!({"n": 1}));
    assert_eq!(http2(&nginx, "POST", "echo?blocking=true&result=true", r#"{"n":2}"#), "{\"n\":2}\n2 200");

    for path in ["/", "/ping", "/api/v1"] {
        assert_eq!(anyone.get(path).status(), 200, "{path}");
    }
    let hidden = ["/metrics", "/invokers", "/invokers/healthy/count", "/invokers/ready", "/activation/count", "/ready"];
    for path in hidden.iter().map(|&path| path.to_owned()).chain([
        "/%6detrics".to_owned(),
        "//metrics".to_owned(),
        "/api/../metrics".to_owned(),
        "/api/v1/..%2f..%2fmetrics".to_owned(),
        "/ping/../metrics".to_owned(),
    ]) {
        let response = anyone.get(&path);
        assert!(!response.text().contains("controller_http") && !response.text().contains("invoker"), "{path}");
        assert_eq!(response.refusal(404), "The requested resource does not exist.", "{path}");
    }
    for path in hidden {
        assert_eq!(server.anyone().get(path).status(), 200, "{path} is there, behind");
    }

    let mut plain = Wire::open(nginx.http()).unwrap();
    plain.send(b"GET /api/v1/namespaces?a=b HTTP/1.1\r\nhost: api.test\r\n\r\n").unwrap();
    let answer = plain.answer(false).unwrap();
    assert_eq!((answer.status, answer.header("location")), (308, Some("https://api.test/api/v1/namespaces?a=b")));
}

#[test]
fn requests_have_ids_and_answers_tell_no_more_than_they_should() {
    let server = behind_nginx();
    let nginx = Nginx::start(&[server.address()]);
    let guest = guest(&nginx);
    let id_of = |sent: Option<&str>| {
        let request = Request::new("GET", "/api/v1/namespaces/_/actions/none");
        let request = sent.map_or(request.clone(), |id| request.header("x-request-id", id));
        let response = guest.send(&request);
        response.refusal(404);
        let ids: Vec<_> = response.headers().iter().filter(|(name, _)| name == "x-request-id").collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
        ids[0].1.clone()
    };
    assert_eq!(id_of(Some("mine-1")), "mine-1");
    for not_taken in [None, Some("sid_x"), Some("a b"), Some("a\"b"), Some(&*"x".repeat(129))] {
        let made = id_of(not_taken);
        assert!(made.len() == 32 && made.bytes().all(|b| b.is_ascii_hexdigit()), "{not_taken:?}: {made}");
    }

    let response = guest.get("/api/v1/namespaces?token=s3cret-query");
    assert_eq!(response.status(), 200);
    assert_eq!(response.header("server"), Some("nginx"));
    assert_eq!(response.header("strict-transport-security"), Some("max-age=31536000"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    let logged = eventually(Duration::from_secs(10), || {
        let logs = nginx.logs();
        if logs.contains("\"path\":\"/api/v1/namespaces\"") { Ok(logs) } else { Err(logs) }
    });
    let key = GUEST.split_once(':').unwrap();
    for secret in ["s3cret-query", key.0, key.1, &base64(GUEST)] {
        assert!(!logged.contains(secret), "{secret} in\n{logged}");
    }
    assert!(logged.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{logged}");
    assert!(logged.contains("\"transaction.id\":\"mine-1\""), "{logged}");
}

#[test]
fn a_namespace_has_a_host_of_its_own() {
    let server = behind_nginx();
    let nginx = Nginx::start(&[server.address()]);
    let guest = guest(&nginx);
    let page = |code: &str| {
        json!({
            "exec": {"kind": "nodejs:20", "code": code},
            "annotations": [{"key": "web-export", "value": true}, {"key": "final", "value": true}]
        })
    };
    let told = "function main(p) { return { body: { path: p.__ow_path, query: p.q, method: p.__ow_method } } }";
    guest.action("root", &page(told));
    guest.put("packages/public", &json!({})).expect(200);
    guest.action("public/index", &page("function main() { return { html: '<p>welcome</p>' } }"));
    guest.put("packages/shop", &json!({})).expect(200);
    guest.action("shop/told", &page(told));
    let anyone = Client::at(nginx.origin(), None);
    let at = |method: &str, host: &str, path: &str| anyone.send(&Request::new(method, path).header("host", host));
    assert_eq!(at("GET", "guest.api.test", "/").text(), "<p>welcome</p>");
    for (method, path, seen) in [
        ("GET", "/shop/told.json?q=1", json!({"path": "", "query": "1", "method": "get"})),
        ("GET", "/shop/told.json/a/b%20c", json!({"path": "/a/b%20c", "method": "get"})),
        ("PUT", "/shop/told.json", json!({"path": "", "method": "put"})),
        ("DELETE", "/default/root.json", json!({"path": "", "method": "delete"})),
    ] {
        let mut answer = at(method, "guest.api.test", path).expect(200)["body"].take();
        // Whether what is left of the path comes decoded is the API's affair.
        if let Some(rest) = answer["path"].as_str() {
            answer["path"] = rest.replace(' ', "%20").into();
        }
        assert_eq!(answer, seen, "{method} {path}");
    }
    // Nothing but web actions of that namespace is there.
    for path in ["/api/v1/namespaces", "/metrics", "/ping", "/shop/none", "/..%2f..%2fnamespaces/_/actions"] {
        assert!(matches!(at("GET", "guest.api.test", path).status(), 400 | 401 | 404), "{path}");
    }
    assert_eq!(at("GET", "nobody.api.test", "/").status(), 404);
    assert_eq!(at("GET", "a.guest.api.test", "/ping").text(), "pong", "no namespace: the API");
}

#[test]
fn sizes_and_forms_are_refused_at_the_entry() {
    let server = behind_nginx();
    let nginx = Nginx::start(&[server.address()]);
    let origin = nginx.origin();
    let put = head("PUT", "/api/v1/namespaces/_/actions/large") + "content-type: application/json\r\n";
    refused(&raw(&origin, format!("{put}content-length: {}\r\n\r\n", (50 << 20) + 1).as_bytes()), 413);
    let get = head("GET", "/api/v1/namespaces/_/actions");
    refused(&raw(&origin, format!("{get}x-long: {}\r\n\r\n", "x".repeat(64 << 10)).as_bytes()), 431);
    let many: String = (0..5000).map(|n| format!("x-{n}: 1234567890\r\n")).collect();
    refused(&raw(&origin, format!("{get}{many}\r\n").as_bytes()), 431);
    let long = format!("{}\r\n", head("GET", &format!("/api/v1/{}", "x".repeat(40 << 10))));
    refused(&raw(&origin, long.as_bytes()), 431);
    refused(&raw(&origin, b"GET\r\n\r\n"), 400);
    let two = "content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    refused(&raw(&origin, format!("{put}{two}").as_bytes()), 400);
    let large = http2(&nginx, "PUT", "large", &" ".repeat((50 << 20) + 1));
    assert!(large.starts_with(r#"{"error":"The request is larger than allowed.""#), "{large}");
    assert!(large.ends_with("\n2 413"), "{large}");
    // What NGINX lets through has the server's own words.
    let guest = guest(&nginx);
    let code = "x".repeat(5 << 20);
    guest.put("actions/large", &json!({"exec": {"kind": "nodejs:20", "code": code}})).expect(200);
    guest.invoke("large", &json!({"a": "x".repeat(1 << 20)})).refusal(413);
    let between = format!("{get}x-a: {0}\r\nx-b: {0}\r\n\r\n", "x".repeat(20 << 10));
    assert_eq!(raw(&origin, between.as_bytes()).status, 431);
}

#[test]
fn guessers_behind_a_proxy_are_told_apart() {
    let server = behind_nginx();
    let status = |claimed: &str, auth: &str| {
        let request = Request::new("GET", "/api/v1/namespaces").header("x-forwarded-for", claimed);
        Client::new(server.address(), Some(auth)).send(&request).status()
    };
    let wrong = GUEST.replace("123z", "999z");
    // Counted by clock minutes: one may end on the way.
    let stopped = (0..40).any(|_| status("198.51.100.7, 203.0.113.1", &wrong) == 429);
    assert!(stopped, "40 guesses were taken");
    assert_eq!(status("203.0.113.2", &wrong), 401, "another client of the same proxy");
    assert_eq!(status("203.0.113.2", GUEST), 200);
    let plain = Server::start();
    for n in 0..40 {
        let request = Request::new("GET", "/api/v1/namespaces").header("x-forwarded-for", "203.0.113.1");
        let response = Client::new(plain.address(), Some(&wrong)).send(&request);
        assert_eq!(response.status(), 401, "{n}: what nobody vouches for is not looked at");
    }
}

#[test]
fn no_read_fails_when_one_of_two_servers_is_killed() {
    const READERS: usize = 4;
    // Each has a store of its own, and the same in it.
    let servers = [behind_nginx(), behind_nginx()];
    for server in &servers {
        server.guest().node("there", "function main(p) { return p }");
    }
    let nginx = Nginx::start(&servers.each_ref().map(Server::address));
    let [stays, goes] = servers;
    let (over, read) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                scope.spawn(|| {
                    let guest = guest(&nginx);
                    let mut failed = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        let response = guest.get("actions/there");
                        if response.status() != 200 {
                            failed.push(response.text());
                        }
                        read.fetch_add(1, Ordering::Relaxed);
                    }
                    failed
                })
            })
            .collect();
        let reads = |more: usize| {
            let from = read.load(Ordering::Relaxed);
            eventually(Duration::from_secs(60), || match read.load(Ordering::Relaxed) - from {
                n if n >= more => Ok(()),
                n => Err(format!("{n} reads")),
            });
        };
        reads(200);
        let killed = goes.kill();
        reads(500);
        let back = killed.start();
        reads(200);
        over.store(true, Ordering::Relaxed);
        let failed: Vec<String> = readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect();
        assert!(
            failed.is_empty(),
            "of {} reads {} failed: {:?}",
            read.load(Ordering::Relaxed),
            failed.len(),
            failed[0]
        );
        drop(back);
    });
    eprintln!("{} reads, none failed", read.load(Ordering::Relaxed));
    drop(stays);
}

/// As one whose machine is gone: what is sent to it is dropped.
#[test]
fn a_server_that_takes_no_connections_costs_time_and_no_request() {
    let (away, _waiting) = takes_no_connections();
    let server = behind_nginx();
    server.guest().node("there", "function main(p) { return p }");
    let nginx = Nginx::start(&[away, server.address()]);
    let guest = guest(&nginx);
    let began = Instant::now();
    for n in 0..40 {
        let what = if n % 2 == 0 { "GET" } else { "POST" };
        let request = Request::new(what, guest.target("actions/there"));
        let status = guest.send(&request).status();
        assert!(matches!((what, status), ("GET", 200) | ("POST", 202)), "{what} {status}");
    }
    eprintln!("40 requests beside a server that takes none: {:?}", began.elapsed());
}

/// A port that connections wait for in vain, since its queue is full of these.
fn takes_no_connections() -> (SocketAddr, Vec<OwnedFd>) {
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listen(&listener, 0).unwrap();
    let address = getsockname(&listener).unwrap();
    let address = SocketAddr::try_from(address).unwrap();
    let mut held = vec![listener];
    // The kernel takes one more than were asked for, or some.
    loop {
        match TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            Ok(stream) => held.push(stream.into()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
                return (address, held);
            }
        }
    }
}

/// Row 27 of what the platform must survive.
#[test]
fn ten_thousand_slow_clients_are_closed_in_time_and_others_do_not_notice() {
    let certificate = Certificate::new(&["localhost", "127.0.0.1"]);
    let tls = Server::builder()
        .flag("--connections-max", "30000")
        .flag("--tls-cert", certificate.path().to_str().unwrap())
        .flag("--tls-key", certificate.key_path().to_str().unwrap())
        .start();
    let plain = Server::builder().flag("--connections-max", "30000").flag("--trusted-proxy", "127.0.0.1").start();
    let nginx = Nginx::start(&[plain.address()]);
    let begun = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice();
    let half = b"GET /api/v1/namespaces/_/actions HTTP/1.1\r\nhost: te".as_slice();
    for (name, origin, sent) in [
        ("HTTP", Origin::from(plain.address()), half),
        ("HTTPS", certificate.origin(tls.address()), begun),
        ("NGINX", nginx.origin(), begun),
    ] {
        besiege(name, &origin, sent);
    }
}

/// Opens as many connections as this process may, says so much on each, and
/// watches how long they last and how others fare.
fn besiege(name: &str, origin: &Origin, sent: &[u8]) {
    let neighbour = &Client::at(origin, Some(GUEST));
    let before = p99(neighbour);
    let slow = slow_clients();
    let mut open = Vec::with_capacity(slow);
    for _ in 0..slow {
        let mut stream =
            TcpStream::connect(origin.address()).unwrap_or_else(|e| panic!("{name}: {} open: {e}", open.len()));
        stream.write_all(sent).unwrap();
        stream.set_nonblocking(true).unwrap();
        open.push((stream, Instant::now()));
        // Whoever is behind all these in the queue has an answer: they were let
        // in, and none waits to try again.
        if open.len() % 512 == 0 {
            assert_eq!(Client::at(origin, None).get("/ping").text(), "pong");
        }
    }
    let during = p99(neighbour);
    let mut longest = Duration::ZERO;
    eventually(Duration::from_secs(30), || {
        open.retain_mut(|(stream, opened)| {
            let ended = match stream.read(&mut [0; 256]) {
                Ok(0) => true,
                Ok(_) => false,
                Err(error) => error.kind() != ErrorKind::WouldBlock,
            };
            if ended {
                longest = longest.max(opened.elapsed());
            }
            !ended
        });
        if open.is_empty() { Ok(()) } else { Err(format!("{name}: {} of {slow} are still open", open.len())) }
    });
    eprintln!("{name}: {slow} slow clients, gone after {longest:?}; p99 of others {before:?}, meanwhile {during:?}");
    assert!(longest < Duration::from_secs(10), "{name}: {longest:?}");
    // On a busy machine the tail is others' work: some milliseconds are no harm.
    assert!(during <= (2 * before).max(Duration::from_millis(100)), "{name}: {before:?} became {during:?}");
}

/// 10,000, or as many as descriptors go round.
fn slow_clients() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let files: usize = line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX);
    10_000.min(files.saturating_sub(500))
}

/// Of some hundred calls, the time that one in a hundred takes longer than.
fn p99(client: &Client) -> Duration {
    let mut times: Vec<Duration> = (0..300)
        .map(|_| {
            let asked = Instant::now();
            assert_eq!(client.get("actions").status(), 200);
            asked.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() * 99 / 100]
}
