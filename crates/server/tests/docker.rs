//! The real binary with containers of a Docker daemon. Needs root, `dockerd`,
//! and the program `whisker-action-proxy`, which is built with the workspace's
//! tests.

mod calling;

use std::time::Duration;

use serde_json::{Value, json};
use whisker_testkit::{Docker, Server, eventually};

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
    let settings = docker.server(&["nodejs", "python"]).switch("--no-prewarm");
    docker.build_own(
        "FROM test/base-python:1\nCOPY server.py /\nCMD [\"python3\", \"/server.py\"]\n",
        &[("server.py", BLACK_BOX)],
        "test/blackbox:1",
    );
    let networked = settings.clone().flag("--network", "nat");
    let server = settings.start();
    hello_in_two_languages(&server);
    a_black_box(&server);
    faults(&server);
    keys(&server);

    // What is killed leaves its containers, and the next life removes them.
    assert!(!containers(docker).is_empty());
    let server = server.kill().start();
    eventually(Duration::from_secs(60), || match containers(docker).as_slice() {
        [] => Ok(()),
        left => Err(format!("{left:?} are left")),
    });
    assert_eq!(server.guest().result("hello-node", &json!({})), json!({ "hello": "world" }));
    server.stop();
    assert_eq!(containers(docker), [""; 0]);
    assert_eq!(calling::back(&networked.start().guest()), json!({"status": 200, "actions": 1}));
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
