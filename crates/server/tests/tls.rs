//! HTTPS on the server's own listener, with a client that was not written
//! here: curl, whose TLS and HTTP/2 are OpenSSL's and nghttp2's.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Output},
    time::{Duration, Instant},
};

use serde_json::json;
use whisker_testkit::{Builder, Certificate, Client, GUEST, Server, Wire, base64, eventually};

const SLOW: &str = "function main() { return new Promise(done => setTimeout(() => done({ slept: true }), 2000)) }";

fn certificate() -> Certificate {
    Certificate::new(&["localhost", "127.0.0.1"])
}

fn secured(certificate: &Certificate) -> Builder {
    Server::builder()
        .flag("--tls-cert", certificate.path().to_str().unwrap())
        .flag("--tls-key", certificate.key_path().to_str().unwrap())
}

/// A call by curl, which believes this certificate, of a path of `localhost`.
fn curl(certificate: &Certificate, address: SocketAddr, path: &str) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "60", "--user", GUEST, "--cacert"]).arg(certificate.path());
    command.arg("--resolve").arg(format!("localhost:{}:127.0.0.1", address.port()));
    command.arg(format!("https://localhost:{}{path}", address.port()));
    command
}

/// What it answered, which must be something.
#[track_caller]
fn answered(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("curl is there");
    assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8_lossy(&stdout).into_owned()
}

fn guest(certificate: &Certificate, server: &Server) -> Client {
    Client::at(certificate.origin(server.address()), Some(GUEST))
}

#[test]
fn curl_calls_by_both_versions_of_http_and_of_tls() {
    let certificate = certificate();
    let server = secured(&certificate).start();
    let url = format!("https://{}", server.address());
    assert!(server.output().contains(&format!("listens on {url}\n")), "{}", server.output());
    let guest = guest(&certificate, &server);
    guest.node("echo", "function main(p) { return { ...p, api: process.env.__OW_API_HOST } }");
    for (http, shown) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for tls in ["1.2", "1.3"] {
            let path = "/api/v1/namespaces/_/actions/echo?blocking=true&result=true";
            let mut call = curl(&certificate, server.address(), path);
            call.args([http, "--tlsv1.2", "--tls-max", tls, "--write-out", "\n%{http_version} %{http_code}"]);
            call.args(["-H", "content-type: application/json", "--data", r#"{"n":1}"#]);
            let answer = answered(&mut call);
            assert_eq!(answer, format!("{}\n{shown} 200", json!({"n": 1, "api": url})), "{http} {tls}");
        }
    }
    for old in ["1.0", "1.1"] {
        let mut call = curl(&certificate, server.address(), "/ping");
        // Or else OpenSSL does not even try. The refusal is the server's.
        let refused = call.args(["--ciphers", "DEFAULT@SECLEVEL=0", "--tlsv1.0", "--tls-max", old]).output().unwrap();
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && words.contains(" alert "), "TLS {old}: {words}");
    }
    // Who speaks HTTP to it is not answered in HTTP.
    let mut wire = Wire::open(server.address()).unwrap();
    wire.send(b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(wire.answer(false).is_err());
}

#[test]
fn what_is_asked_by_http2_looks_to_web_actions_as_by_http1() {
    let certificate = certificate();
    let server = secured(&certificate).start();
    let code = "function main(p) { return { body: { host: p.__ow_headers.host, cookie: p.__ow_headers.cookie } } }";
    let action = json!({
        "exec": {"kind": "nodejs:20", "code": code}, "annotations": [{"key": "web-export", "value": true}]
    });
    guest(&certificate, &server).action("page", &action);
    let host = format!("localhost:{}", server.address().port());
    for http in ["--http1.1", "--http2"] {
        let mut call = curl(&certificate, server.address(), "/api/v1/web/guest/default/page.json");
        let answer = answered(call.args([http, "-H", "cookie: a=1; b=2"]));
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["body"], json!({"host": host, "cookie": "a=1; b=2"}), "{http}: {answer}");
    }
}

#[test]
fn limits_are_those_of_plain_http() {
    let certificate = certificate();
    let server = secured(&certificate).start();
    let guest = guest(&certificate, &server);
    guest.node("echo", "function main(p) { return p }");
    let headers = server.data_dir().with_file_name("headers");
    let large = server.data_dir().with_file_name("large");
    fs::write(&large, json!({"a": "x".repeat(2 << 20)}).to_string()).unwrap();
    for http in ["--http1.1", "--http2"] {
        let status = |arguments: &[&str], path: &str| {
            let mut call = curl(&certificate, server.address(), path);
            call.args([http, "--output", "/dev/null", "--write-out", "%{http_code}"]);
            answered(call.args(arguments))
        };
        // Beyond 64 KB curl's HTTP/2 does not go.
        for (kilobytes, expected) in [(16, "200"), (40, "431"), (60, "431")] {
            fs::write(&headers, format!("x-long: {}\n", "x".repeat(kilobytes << 10))).unwrap();
            let file = format!("@{}", headers.display());
            assert_eq!(status(&["-H", &file], "/api/v1/namespaces/_/actions"), expected, "{http} {kilobytes} KB");
        }
        let data = format!("@{}", large.display());
        let body = ["-H", "content-type: application/json", "--data", &data];
        assert_eq!(status(&body, "/api/v1/namespaces/_/actions/echo"), "413", "{http}");
    }
    let mut wire = Wire::open(certificate.origin(server.address())).unwrap();
    let long = format!("GET /ping HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(64 << 10));
    wire.send(long.as_bytes()).unwrap();
    assert_eq!(wire.answer(false).unwrap().status, 431);
}

#[test]
fn slow_handshakes_and_requests_are_dropped() {
    let certificate = certificate();
    let server = secured(&certificate).start();
    // The first bytes of a handshake, and of what is none.
    let beginnings: [&[u8]; 3] = [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x16"];
    let slow: Vec<TcpStream> = beginnings
        .iter()
        .map(|bytes| {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            stream.write_all(bytes).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream
        })
        .collect();
    let mut head = Wire::open(certificate.origin(server.address())).unwrap();
    head.send(b"GET /ping HTTP/1.1\r\nhost: te").unwrap();
    head.patience(Duration::from_secs(20)).unwrap();
    let opened = Instant::now();
    for mut stream in slow {
        // Closed, perhaps with an alert; a time-out here would be another error.
        let ended = stream.read_to_end(&mut Vec::new());
        assert!(ended.is_ok() || ended.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset));
    }
    assert!(opened.elapsed() < Duration::from_secs(10), "{:?}", opened.elapsed());
    // Whether TLS was told or not: it is closed.
    let rest = head.rest();
    assert!(rest.as_ref().is_ok_and(Vec::is_empty) || rest.is_err_and(|e| e.kind() == ErrorKind::UnexpectedEof));
    assert!(opened.elapsed() < Duration::from_secs(15), "{:?}", opened.elapsed());
    assert_eq!(Client::at(certificate.origin(server.address()), None).get("/ping").text(), "pong");
}

#[test]
fn a_certificate_is_replaced_while_connections_stay() {
    let certificate = certificate();
    let server = secured(&certificate).start();
    let request =
        format!("GET /api/v1/namespaces HTTP/1.1\r\nhost: x\r\nauthorization: Basic {}\r\n\r\n", base64(GUEST));
    let mut kept = Wire::open(certificate.origin(server.address())).unwrap();
    let mut ask = || {
        kept.send(request.as_bytes()).unwrap();
        assert_eq!(kept.answer(false).unwrap().status, 200);
    };
    let first = certificate.der();
    certificate.renew();
    assert_ne!(certificate.der(), first);
    let origin = certificate.origin(server.address());
    let renewed = |ask: &mut dyn FnMut()| {
        eventually(Duration::from_secs(20), || {
            ask();
            // Nobody who believes the new one alone is shown the old one.
            Wire::open(&origin).map(|wire| wire.certificate().unwrap()).map_err(|error| error.to_string())
        })
    };
    assert_eq!(renewed(&mut ask), certificate.der());

    // One that cannot be used: said, and the last good one stays.
    let good = certificate.der();
    let refused = || server.output().matches("the new TLS certificate cannot be used").count();
    fs::write(certificate.path(), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    eventually(Duration::from_secs(20), || {
        ask();
        if refused() == 1 { Ok(()) } else { Err(server.output()) }
    });
    hang_up(&server);
    eventually(Duration::from_secs(20), || {
        ask();
        if refused() == 2 { Ok(()) } else { Err(server.output()) }
    });
    assert_eq!(renewed(&mut ask), good);
    let key = fs::read_to_string(certificate.key_path()).unwrap();
    let secret = key.lines().nth(1).unwrap();
    assert!(!server.output().contains(secret));
}

fn hang_up(server: &Server) {
    let killed = Command::new("kill").args(["-HUP", &server.pid().to_string()]).status();
    assert!(killed.unwrap().success());
}

#[test]
fn a_shutdown_lets_requests_finish_and_says_goodbye() {
    let certificate = certificate();
    let server = secured(&certificate).start();
    let guest = guest(&certificate, &server);
    guest.node("slow", SLOW);
    let path = "/api/v1/namespaces/_/actions/slow?blocking=true&result=true";
    let mut calls = ["--http1.1", "--http2"].map(|http| {
        let mut call = curl(&certificate, server.address(), path);
        call.args([http, "-X", "POST"]);
        call
    });
    std::thread::scope(|scope| {
        let answers: Vec<_> = calls.iter_mut().map(|call| scope.spawn(|| answered(call))).collect();
        eventually(Duration::from_secs(20), || match guest.get("/activation/count").text().as_str() {
            "2" => Ok(()),
            other => Err(other.to_owned()),
        });
        server.terminate();
        for answer in answers {
            assert_eq!(answer.join().unwrap(), r#"{"slept":true}"#);
        }
    });
    let stopped = server.wait();
    assert!(stopped.status.success(), "{}", stopped.output);
}

#[test]
fn a_server_whose_certificate_is_no_good_does_not_start() {
    let (one, other) = (certificate(), certificate());
    let mixed = secured(&one).flag("--tls-key", other.key_path().to_str().unwrap());
    let (status, output) = mixed.refused();
    assert!(!status.success() && output.contains("does not fit"), "{output}");
    let (status, output) = Server::builder().flag("--tls-cert", one.path().to_str().unwrap()).refused();
    assert!(!status.success() && output.contains("--tls-key"), "{output}");
    let (status, output) = Server::builder().flag("--trusted-proxy", "10.0.0.0/40").refused();
    assert!(!status.success() && output.contains("a network such as"), "{output}");
}
