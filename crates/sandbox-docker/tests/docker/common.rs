//! What the tests share: a daemon with images, sandboxes, and user code.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use whisker_sandbox::{
    Code, Container, InitEnd, Logs, RunEnd, Sandbox, Start, black_box,
    testing::{Programs, Subject, contract},
};
use whisker_sandbox_docker::{Config, DockerSandbox, Network, PullPolicy};
use whisker_testkit::Docker;

/// Where the daemon is, in a process that was started by one that has it.
pub const HOST: &str = "WHISKER_TEST_DOCKER_HOST";

pub const PATIENCE: Duration = Duration::from_secs(60);

pub const NODEJS: &str = "nodejs:20";
pub const PYTHON: &str = "python:3.11";

/// An image that ends no output with sentinels and takes no code.
pub const FOREIGN: &str = "test/foreign:1";

const MANIFEST: &str = include_str!("../../../../runtimes/manifest.json");
const NETWORK: &str = "test";

/// A server of a user's own: answers its argument, prints, and nothing else.
const FOREIGN_SERVER: &str = r#"
import json, os, time
from http.server import BaseHTTPRequestHandler, HTTPServer

class Action(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, answer = 200, b"{}"
        if self.path == "/run":
            value = body["value"]
            print("ran", value.get("name"), flush=True)
            status = value.get("status", 200)
            answer = value.get("raw", json.dumps(value)).encode()
            if value.get("endless"):
                return self.endless()
            if value.get("close"):
                self.close_connection = True
        elif "code" in body["value"]:
            answer = b"code"
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def endless(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            self.wfile.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    def log_message(self, *_):
        pass

HTTPServer(("", 8080), Action).serve_forever()
"#;

/// The daemon, with the images that most tests need.
pub fn docker() -> &'static Docker {
    static READY: OnceLock<&'static Docker> = OnceLock::new();
    READY.get_or_init(|| {
        let docker = Docker::shared();
        docker.import("test/base:1", &["nodejs", "python3"], &[]);
        docker.build("nodejs", "test/base:1", "test/action-nodejs-v20:1");
        docker.build("python", "test/base:1", "test/action-python-v3.11:1");
        let recipe = "FROM test/base:1\nCOPY server.py /\nCMD [\"python3\", \"/server.py\"]\n";
        docker.build_own(recipe, &[("server.py", FOREIGN_SERVER)], FOREIGN);
        docker.ask(&["network", "create", "--internal", NETWORK]);
        docker
    })
}

/// Where the daemon listens: one is enough for this process and those that it
/// starts.
fn host() -> String {
    std::env::var(HOST).unwrap_or_else(|_| docker().host())
}

/// Whether this process has nothing to do but this test; see
/// [`whisker_testkit::alone`].
pub async fn alone(test: &'static str) -> bool {
    tokio::task::spawn_blocking(move || whisker_testkit::alone(test, &[(HOST, &host())])).await.unwrap()
}

/// Settings for a sandbox of its own on the tests' daemon.
pub fn config() -> Config {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let instance = format!("{:04x}{:04x}", std::process::id() & 0xffff, NUMBER.fetch_add(1, Ordering::Relaxed));
    Config {
        host: host(),
        image_prefix: Some("test".into()),
        image_tag: Some("1".into()),
        pull: PullPolicy::Missing,
        network: Network::Named(NETWORK.into()),
        // Half of what a machine that runs tests has at least.
        user_memory_mb: 1024,
        ..Config::new(instance.clone(), MANIFEST, artifacts(&host(), &instance))
    }
}

/// Where a sandbox keeps compiled code: beside its daemon's socket, which is
/// removed with all that is there.
pub fn artifacts(host: &str, instance: &str) -> PathBuf {
    let socket = Path::new(host.strip_prefix("unix://").unwrap());
    socket.with_file_name("artifacts").join(instance)
}

pub async fn sandbox_with(change: impl FnOnce(&mut Config)) -> DockerSandbox {
    let mut config = tokio::task::spawn_blocking(config).await.unwrap();
    change(&mut config);
    DockerSandbox::connect(config).await.unwrap_or_else(|error| panic!("{error}"))
}

pub fn start(kind: &str, memory_mb: u32) -> Start {
    Start { kind: kind.to_owned(), memory_mb, concurrent: false }
}

pub async fn loaded(sandbox: &DockerSandbox, kind: &str, memory_mb: u32, code: &str) -> Arc<dyn Container> {
    let container = sandbox.start(start(kind, memory_mb)).await.unwrap();
    let end = container.init(contract::init(1, &Code::Text(code.into())), PATIENCE).await.unwrap();
    if !matches!(end, InitEnd::Ready) {
        let logs = container.logs(contract::activation(1), 1 << 20).await;
        panic!("{end:?} {logs:?}");
    }
    container
}

/// A container of the foreign image.
pub async fn foreign(sandbox: &DockerSandbox) -> Arc<dyn Container> {
    loaded(sandbox, &black_box(FOREIGN), 128, "").await
}

/// The lines of an activation that has written some. An image that ends no
/// output with sentinels is not waited for long, and its lines may come later
/// on a busy machine. `incomplete` is what must be said of them.
pub async fn lines(container: &dyn Container, number: u64, incomplete: bool) -> Vec<String> {
    let lines = async {
        loop {
            let logs = container.logs(contract::activation(number), 1000).await;
            assert_eq!(logs.incomplete, incomplete, "{logs:?}");
            if !logs.lines.is_empty() {
                return logs.lines.into_iter().map(|line| line.text).collect();
            }
        }
    };
    tokio::time::timeout(PATIENCE, lines).await.expect("a line comes")
}

/// Runs `code`, once, in a container of its own.
pub async fn once(sandbox: &DockerSandbox, kind: &str, code: &str, argument: Value) -> (RunEnd, Logs) {
    let container = loaded(sandbox, kind, 256, code).await;
    let end = container.run(contract::run(2, &argument), PATIENCE).await.unwrap();
    let logs = container.logs(contract::activation(2), 1 << 20).await;
    container.destroy().await;
    (end, logs)
}

/// The answer of Python code, once, in a container of its own.
pub async fn python(sandbox: &DockerSandbox, code: &str) -> Value {
    let (end, logs) = once(sandbox, PYTHON, code, serde_json::json!({})).await;
    match end {
        RunEnd::Answered(raw) => serde_json::from_str(raw.get()).unwrap(),
        other => panic!("{other:?} {logs:?}"),
    }
}

pub async fn subject(kind: &str, programs: Programs) -> Subject {
    let sandbox = Arc::new(sandbox_with(|_| {}).await);
    Subject { sandbox, kind: kind.to_owned(), memory_mb: 128, programs }
}

fn code(text: &str) -> Code {
    Code::Text(text.into())
}

pub fn nodejs() -> Programs {
    Programs {
        echo: code("const main = args => args;"),
        sleeps: code("const main = args => new Promise(done => setTimeout(() => done(args), args.ms));"),
        prints: code(
            "function main(args) { for (let n = 0; n < args.lines; n++) \
             { console.log('out ' + n); console.error('err ' + n); } return args; }",
        ),
        throws: code("function main() { throw new Error('thrown'); }"),
        broken: code("function main( {"),
        hangs: code("process.on('SIGTERM', () => {}); const main = () => { for (;;); };"),
        hangs_in_init: code("for (;;);"),
        exits: code("const main = () => process.exit(3);"),
        hogs: code("const held = []; const main = () => { for (;;) held.push(Buffer.alloc(10000000, 1)); };"),
        long: code("const main = args => ({ long: 'x'.repeat(args.length) });"),
    }
}

pub fn python_programs() -> Programs {
    Programs {
        echo: code("def main(args):\n    return args\n"),
        sleeps: code("import time\ndef main(args):\n    time.sleep(args['ms'] / 1000)\n    return args\n"),
        prints: code(
            "import sys\ndef main(args):\n    for n in range(args['lines']):\n        print('out', n)\n        \
             print('err', n, file=sys.stderr)\n    return args\n",
        ),
        throws: code("def main(args):\n    raise Exception('thrown')\n"),
        broken: code("def main(:\n"),
        hangs: code(
            "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ndef main(args):\n    while True:\n        pass\n",
        ),
        hangs_in_init: code("while True:\n    pass\n"),
        exits: code("import os\ndef main(args):\n    os._exit(3)\n"),
        hogs: code("def main(args):\n    held = []\n    while True:\n        held.append(b'x' * 10000000)\n"),
        long: code("def main(args):\n    return {'long': 'x' * args['length']}\n"),
    }
}
