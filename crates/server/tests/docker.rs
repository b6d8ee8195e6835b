//! The real binary with containers of a Docker daemon. Needs root, `dockerd`,
//! and the program `whisker-action-proxy`, which is built with the workspace's
//! tests.

mod calling;
mod rows;

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use whisker_testkit::{Docker, Server, binary_path, eventually};

/// A server of a user's own: prints, and answers its argument with the code that
/// it was given.
const BLACK_BOX: &str = r#"
import json
from http.server import BaseHTTPRequestHandler, HTTPServer

code = None

class Action(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        global code
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/init":
            code = body["value"].get("code")
            answer = b"{}"
        else:
            print("called by", body["namespace"], flush=True)
            answer = json.dumps({"code": code, "given": body["value"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass

HTTPServer(("", 8080), Action).serve_forever()
"#;

/// Containers of this server's.
fn containers(docker: &Docker) -> Vec<String> {
    docker.ask(&["ps", "-aq"]).lines().map(str::to_owned).collect()
}

fn error(record: &Value) -> &str {
    record["response"]["result"]["error"].as_str().unwrap_or_else(|| panic!("no error: {record}"))
}

/// The texts of log lines, in order.
fn logs(record: &Value) -> Vec<String> {
    let lines = record["logs"].as_array().expect("records have logs");
    lines.iter().map(|line| line.as_str().unwrap_or_default()[31..].to_owned()).collect()
}

// One test: its parts share a daemon's images, and none can run beside another
// that counts containers.
#[test]
fn actions_run_in_containers_of_docker() {
    let docker = Docker::shared();
    let languages = docker.server(&["go", "nodejs", "python"]);
    let settings = languages.clone().switch("--no-prewarm");
    docker.build_own(
        "FROM test/base-python:1\nCOPY server.py /\nCMD [\"python3\", \"/server.py\"]\n",
        &[("server.py", BLACK_BOX)],
        "test/blackbox:1",
    );
    docker.build_own("FROM test/base-python:1\nLABEL for=nothing\n", &[], "test/nothing:1");
    let networked = settings.clone().flag("--network", "nat");
    let server = settings.start();
    hello_in_two_languages(&server);
    a_black_box(&server);
    faults(&server);
    keys(&server);
    rows::metacharacters_are_text(&server);

    // What is killed leaves its containers, and the next life removes them.
    assert!(!containers(docker).is_empty());
    let server = server.kill().start();
    eventually(Duration::from_secs(60), || match containers(docker).as_slice() {
        [] => Ok(()),
        left => Err(format!("{left:?} are left")),
    });
    assert_eq!(server.guest().result("hello-node", &json!({})), json!({ "hello": "world" }));
    let server = compiled_once(docker, server);
    server.stop();
    assert_eq!(containers(docker), [""; 0]);
    assert_eq!(calling::back(&networked.start().guest()), json!({"status": 200, "actions": 1}));
    rows::nothing_is_left_for_others(languages);
    a_doctor_leaves_nothing(docker);
}

/// What the daemon told of containers and networks with these words, line by line.
fn told(docker: &Docker, filters: &[&str]) -> Vec<String> {
    let format = "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}";
    // To the nanosecond: a time of whole seconds would leave out what was just told.
    let now = whisker_testkit::wall();
    let until = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
    let filters = filters.iter().flat_map(|filter| ["--filter", filter]);
    let words: Vec<&str> =
        ["events", "--since", "1", "--until", &until, "--format", format].into_iter().chain(filters).collect();
    docker.ask(&words).lines().map(str::to_owned).collect()
}

/// Compilers' containers that were made.
fn compilers(docker: &Docker) -> usize {
    let created = told(docker, &["type=container", "event=create"]);
    created.iter().filter(|line| line.contains("-compiler-")).count()
}

const GO: &str = "package main\n\nfunc Main(args map[string]any) map[string]any {\n\treturn args\n}\n";

/// Go is compiled once for three cold starts at a time, in no network, and not again
/// in the next life. What does not compile is told, and tried once.
fn compiled_once(docker: &Docker, server: Server) -> Server {
    let guest = server.guest();
    guest.action("compiled", &json!({ "exec": { "kind": "go:1.20", "code": GO } }));
    let asked = Instant::now();
    thread::scope(|scope| {
        for n in 0..3 {
            let guest = &guest;
            scope.spawn(move || assert_eq!(guest.result("compiled", &json!({ "n": n })), json!({ "n": n })));
        }
    });
    eprintln!("three cold starts of Go, compiled once: {:?}", asked.elapsed());
    assert_eq!(compilers(docker), 1);
    assert!(!told(docker, &["type=network", "event=connect", "network=none"]).is_empty(), "it was in a network");

    let code = "package main\n\nfunc Main() {\n\tnone()\n}\n";
    guest.action("no-program", &json!({ "exec": { "kind": "go:1.20", "code": code } }));
    for _ in 0..2 {
        let record = guest.invoke("no-program", &json!({})).expect(502);
        let words = "The action failed to generate or locate a binary. See logs for details.";
        assert_eq!(error(&record), words);
        let record = guest.record(record["activationId"].as_str().expect("records have ids"));
        let logs = logs(&record);
        assert!(logs.iter().any(|line| line.starts_with("stderr: ") && line.contains("undefined: none")), "{logs:?}");
    }
    assert_eq!(compilers(docker), 2);

    let server = server.kill().start();
    assert_eq!(server.guest().result("compiled", &json!({ "n": 3 })), json!({ "n": 3 }));
    assert_eq!(compilers(docker), 2);
    server
}

/// `whisker doctor` tries what a start would do, and leaves none of it.
fn a_doctor_leaves_nothing(docker: &Docker) {
    let networks = docker.ask(&["network", "ls"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("new");
    let output = Command::new(binary_path())
        .args([
            "doctor",
            "--json",
            "--containers",
            "docker",
            "--docker-image-prefix",
            "test",
            "--docker-image-tag",
            "1",
        ])
        .args(["--docker-host", &docker.host(), "--data-dir"])
        .arg(&data)
        .output()
        .expect("the binary runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("the report is JSON");
    let backend = &report["backends"]["docker"];
    assert_eq!(backend["works"], true, "{report}");
    let network = backend["enforces"].as_array().expect("a list").iter().find(|row| row["what"] == "network");
    assert!(network.is_some_and(|row| row["how"].as_str().unwrap_or_default().contains("nftables")), "{network:?}");
    let images = backend["images"].as_array().expect("a list");
    let image = |kind: &str| images.iter().find(|image| image["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"));
    assert_eq!(image("go:1.20")["available"], true, "{images:?}");
    let swift = image("swift:5.7");
    assert_eq!(swift["available"], false, "{images:?}");
    assert!(swift["reason"].as_str().is_some_and(|reason| reason.contains("not here")), "{swift}");
    assert_eq!(docker.ask(&["network", "ls"]), networks);
    assert!(!data.exists(), "a doctor needs no data folder");
}

fn hello_in_two_languages(server: &Server) {
    let guest = server.guest();
    guest.node("hello-node", "function main(p) { console.log('to', p.name); return { hello: p.name || 'world' } }");
    guest.python(
        "hello-python",
        "def main(p):\n    print('to', p.get('name'))\n    return {'hello': p.get('name', 'world')}\n",
    );
    for action in ["hello-node", "hello-python"] {
        for name in ["Ann", "Bob"] {
            let record = guest.invoke(action, &json!({ "name": name })).expect(200);
            assert_eq!(record["response"]["result"], json!({ "hello": name }));
            let id = record["activationId"].as_str().expect("records have ids");
            let record = guest.record(id);
            assert_eq!(logs(&record), [format!("stdout: to {name}")]);
        }
    }
}

fn a_black_box(server: &Server) {
    let guest = server.guest();
    guest.action("box", &json!({ "exec": { "kind": "blackbox", "image": "test/blackbox:1" } }));
    guest.action(
        "box-with-code",
        &json!({ "exec": { "kind": "blackbox", "image": "test/blackbox:1", "code": "some" } }),
    );
    assert_eq!(guest.result("box", &json!({ "a": 1 })), json!({ "code": null, "given": { "a": 1 } }));
    let record = guest.invoke("box-with-code", &json!({})).expect(200);
    assert_eq!(record["response"]["result"], json!({ "code": "some", "given": {} }));
    let record = guest.record(record["activationId"].as_str().expect("records have ids"));
    assert_eq!(logs(&record), ["stdout: called by guest"]);
}

/// No process of a container has the key, unless its action is to have it.
fn keys(server: &Server) {
    let guest = server.guest();
    let code = "import os\ndef main(args):\n    seen = ''\n    for name in os.listdir('/proc'):\n        try:\n            \
                seen += open(f'/proc/{name}/environ').read()\n        except OSError:\n            pass\n    \
                return {'environment': seen + str(dict(os.environ))}\n";
    for (name, provided) in [("keyed", true), ("keyless", false)] {
        let exec = json!({ "kind": "python:3.11", "code": code });
        let annotations = json!([{ "key": "provide-api-key", "value": provided }]);
        guest.action(name, &json!({ "exec": exec, "annotations": annotations }));
        let seen = guest.result(name, &json!({}))["environment"].to_string();
        assert_eq!(seen.contains(whisker_testkit::GUEST), provided, "{name}");
        assert_eq!(seen.contains("__OW_API_KEY"), provided, "{name}");
    }
}

fn faults(server: &Server) {
    let guest = server.guest();
    // Nobody is at this registry.
    guest.action("nowhere", &json!({ "exec": { "kind": "blackbox", "image": "127.0.0.1:1/no/image" } }));
    let record = guest.invoke("nowhere", &json!({})).expect(502);
    assert_eq!(error(&record), "Failed to pull container image '127.0.0.1:1/no/image'.");
    assert_eq!(record["response"]["status"], "action developer error");
    guest.action("nothing", &json!({ "exec": { "kind": "blackbox", "image": "test/nothing:1" } }));
    let record = guest.invoke("nothing", &json!({})).expect(502);
    assert_eq!(error(&record), "no command specified in image test/nothing:1");
    assert_eq!(record["response"]["status"], "action developer error");
    let code = "function main() { const held = []; for (;;) held.push(Buffer.alloc(10000000, 1)); }";
    guest.action("hog", &json!({ "exec": { "kind": "nodejs:20", "code": code }, "limits": { "memory": 128 } }));
    let record = guest.invoke("hog", &json!({})).expect(502);
    assert_eq!(error(&record), "The action exhausted its memory and was aborted.");
    guest.action(
        "slow",
        &json!({ "exec": { "kind": "nodejs:20", "code": "function main() { for (;;); }" },
        "limits": { "timeout": 500 } }),
    );
    let record = guest.invoke("slow", &json!({})).expect(502);
    assert_eq!(error(&record), "The action exceeded its time limits of 500 milliseconds.");
}
