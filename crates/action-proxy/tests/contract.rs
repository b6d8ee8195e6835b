//! The proxy as a platform meets it: over HTTP, with a launcher of this
//! repository behind it, and its two streams.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

const END: &str = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX";
const PATIENCE: Duration = Duration::from_secs(30);

/// A running proxy with Python behind it.
struct Proxy {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Proxy {
    fn start() -> Proxy {
        let launcher = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtimes/python/launcher.py");
        Proxy::with(&["python3".as_ref(), "-B".as_ref(), launcher.as_ref()])
    }

    /// With these arguments behind those that every test has.
    fn with(arguments: &[&OsStr]) -> Proxy {
        // Free a moment ago; nobody else asks for a port by number.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_whisker-action-proxy"))
            .args(["--port", &port.to_string(), "--folder"])
            .arg(folder.path().join("action"))
            .args(arguments)
            .env_remove("__OW_ALLOW_CONCURRENT")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Proxy { child, port, _folder: folder }
    }

    fn connection(&self) -> TcpStream {
        let patience = Instant::now() + PATIENCE;
        loop {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(connection) => return connection,
                Err(error) => assert!(Instant::now() < patience, "{error}"),
            }
            std::thread::yield_now();
        }
    }

    /// Status and body; `None` if it hung up.
    fn sends(&self, method: &str, path: &str, body: &str) -> Option<(u16, Value)> {
        self.sends_a("application/json", method, path, body.as_bytes())
    }

    fn sends_a(&self, media_type: &str, method: &str, path: &str, body: &[u8]) -> Option<(u16, Value)> {
        let mut connection = self.connection();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {media_type}\r\n");
        connection.write_all(format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes()).unwrap();
        // It may answer, and hang up, before it has read all.
        let _ = connection.write_all(body);
        let mut reader = BufReader::new(connection);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.to_lowercase());
        }
        let status = head[0].split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.trim().parse().unwrap()];
        reader.read_exact(&mut body).ok()?;
        Some((status, serde_json::from_slice(&body).unwrap()))
    }

    fn posts(&self, path: &str, body: &Value) -> (u16, Value) {
        self.sends("POST", path, &body.to_string()).unwrap()
    }

    /// An initialisation with binary code as it is.
    fn init_bytes(&self, init: &Value, code: &[u8]) -> (u16, Value) {
        let body = [init.to_string().as_bytes(), b"\n", code].concat();
        self.sends_a("application/octet-stream", "POST", "/init", &body).unwrap()
    }

    fn init(&self, code: &str) -> (u16, Value) {
        self.posts("/init", &json!({ "value": { "name": "tested", "main": "main", "code": code, "binary": false } }))
    }

    /// What it wrote to both streams by its end, which is brought about if it
    /// has not come by itself.
    fn ends(mut self, how: Option<&str>) -> (ExitStatus, Vec<String>, Vec<String>) {
        if let Some(signal) = how {
            let killed = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
            assert!(killed.unwrap().success());
        }
        let lines = |stream: &mut dyn Read| {
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let status = self.child.wait().unwrap();
        let (stdout, stderr) = (lines(self.child.stdout.as_mut().unwrap()), lines(self.child.stderr.as_mut().unwrap()));
        (status, stdout, stderr)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // No error matters any more: it is gone, or was gone before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn error(words: &str) -> Value {
    json!({ "error": words })
}

#[test]
fn an_action_is_initialised_once_and_runs_any_number_of_times() {
    let proxy = Proxy::start();
    assert_eq!(proxy.posts("/run", &json!({ "value": {} })), (500, error("no action defined yet")));
    let code = "import os, sys\ndef main(args):\n    print('out', args['n'])\n    print('err', args['n'], file=sys.stderr)\n    \
                return {'n': args['n'], 'id': os.environ['__OW_ACTIVATION_ID'], 'ns': os.environ['__OW_NAMESPACE']}\n";
    assert_eq!(proxy.init(code), (200, json!({ "ok": true })));
    assert_eq!(proxy.init(code), (403, error("Cannot initialize the action more than once.")));
    for n in 0..3 {
        let id = format!("{n:032x}");
        let run = json!({ "value": { "n": n }, "namespace": "guest", "activation_id": id });
        assert_eq!(proxy.posts("/run", &run), (200, json!({ "n": n, "id": id, "ns": "guest" })));
    }
    let (_, stdout, stderr) = proxy.ends(Some("-TERM"));
    assert_eq!(stdout, ["out 0", END, "out 1", END, "out 2", END]);
    let again = "Cannot initialize the action more than once.";
    assert_eq!(stderr, [again, "err 0", END, "err 1", END, "err 2", END]);
}

#[test]
fn what_cannot_be_initialised_says_why() {
    for (body, status, words) in [
        (json!({}), 403, "Missing main/no code to execute."),
        (json!({ "value": {} }), 403, "Missing main/no code to execute."),
        (json!({ "value": { "code": "", "main": "" } }), 403, "Missing main/no code to execute."),
        (json!({ "value": { "code": "!", "binary": true } }), 400, "cannot decode the request"),
        (json!({ "value": 7 }), 400, "Error unmarshaling request"),
        (json!({ "value": { "code": "def main(:" } }), 502, "The action failed to generate or locate a binary."),
    ] {
        let proxy = Proxy::start();
        let (answered, said) = proxy.posts("/init", &body);
        assert_eq!(answered, status, "{body}: {said}");
        assert!(said["error"].as_str().unwrap().starts_with(words), "{body}: {said}");
    }
    let proxy = Proxy::start();
    let (status, said) = proxy.sends("POST", "/init", "{").unwrap();
    assert_eq!(status, 400, "{said}");
    assert_eq!(proxy.sends("GET", "/init", "").unwrap().0, 405);
    assert_eq!(proxy.sends("POST", "/", "{}").unwrap().0, 404);
}

#[test]
fn a_failed_init_ends_the_log() {
    let proxy = Proxy::start();
    assert_eq!(proxy.init("def main(:").0, 502);
    let (_, stdout, stderr) = proxy.ends(Some("-TERM"));
    assert_eq!(stdout, [END]);
    assert_eq!(stderr.last().unwrap(), END);
}

/// A zip whose action answers with what its other files have.
fn archive() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zip");
    let script = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1], 'w')\n\
                  z.writestr('__main__.py', 'import other\\ndef main(args):\\n    return {\"text\": open(\"data/x\").read() + other.y}')\n\
                  z.writestr('other.py', 'y = \"z\"')\nz.writestr('data/x', 'x')\nz.close()\n";
    assert!(Command::new("python3").args(["-c", script]).arg(&path).status().unwrap().success());
    std::fs::read(path).unwrap()
}

#[test]
fn archives_are_unpacked_and_run_where_they_are() {
    let proxy = Proxy::start();
    let code = STANDARD.encode(archive());
    let init = json!({ "value": { "name": "a", "main": "main", "code": code, "binary": true } });
    assert_eq!(proxy.posts("/init", &init), (200, json!({ "ok": true })));
    assert_eq!(proxy.posts("/run", &json!({ "value": {} })), (200, json!({ "text": "xz" })));
}

#[test]
fn results_that_are_none_are_the_developers_error() {
    let proxy = Proxy::start();
    assert_eq!(proxy.init("def main(args):\n    return args.get('give')\n").0, 200);
    let words = "The action did not return a dictionary or array.";
    assert_eq!(proxy.posts("/run", &json!({ "value": { "give": 7 } })), (502, error(words)));
    assert_eq!(proxy.posts("/run", &json!({ "value": { "give": [1] } })), (200, json!([1])));
}

#[test]
fn a_result_of_a_megabyte_comes_back() {
    let proxy = Proxy::start();
    assert_eq!(proxy.init("def main(args):\n    return args\n").0, 200);
    let value = json!({ "text": "ü".repeat(500_000) });
    assert_eq!(proxy.posts("/run", &json!({ "value": value })), (200, value));
}

#[test]
fn it_ends_as_its_launcher_ends() {
    for (code, status) in [("os._exit(3)", 3), ("os.kill(os.getpid(), 9)", 137)] {
        let proxy = Proxy::start();
        assert_eq!(proxy.init(&format!("import os\ndef main(args):\n    print('last')\n    {code}\n")).0, 200);
        assert_eq!(proxy.sends("POST", "/run", &json!({ "value": {} }).to_string()), None);
        let (ended, stdout, _) = proxy.ends(None);
        assert_eq!((ended.code(), stdout), (Some(status), vec!["last".to_owned()]));
    }
}

/// Makes a plain ActionLoop program, in shell, of whatever says no `bad`; what
/// it gets as `main` is in its answers.
const COMPILES: &str = r#"
set -eu
if grep -q bad "$2/exec"; then
    echo "this is bad"
    exit 1
fi
work=$(mktemp -d)
cat >"$work/exec" <<EOF
#!/bin/sh
echo '{"ok":true}' >&3
while IFS= read -r line; do
    echo "\$HELLO"
    echo "\$__OW_ACTION_NAME"
    echo '{"by":"$1","main":"$4"}' >&3
done
EOF
chmod +x "$work/exec"
tar -C "$work" -cf - exec >&3
"#;

#[test]
fn source_is_compiled_and_the_launcher_becomes_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("compile.sh");
    std::fs::write(&script, COMPILES).unwrap();
    let start = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtimes/actionloop/start.sh");
    let arguments = ["--compile".as_ref(), script.as_ref(), "--toolchain".as_ref(), "tool".as_ref()];
    let arguments: Vec<&OsStr> =
        arguments.into_iter().chain(["--handover".as_ref(), "sh".as_ref(), start.as_ref()]).collect();

    let proxy = Proxy::with(&arguments);
    let env = json!({ "HELLO": "it's\nme", "__OW_ACTION_NAME": "/a's/$b" });
    let init = json!({ "value": { "name": "a", "main": "entry", "code": "good", "env": env } });
    assert_eq!(proxy.posts("/init", &init), (200, json!({ "ok": true })));
    for _ in 0..2 {
        assert_eq!(proxy.posts("/run", &json!({ "value": {} })), (200, json!({ "by": "tool", "main": "entry" })));
    }
    let (_, stdout, _) = proxy.ends(Some("-TERM"));
    let said = ["it's", "me", "/a's/$b", END];
    assert_eq!(stdout, [said, said].concat());

    let proxy = Proxy::with(&arguments);
    let words = "The action failed to generate or locate a binary. See logs for details.";
    assert_eq!(proxy.init("bad"), (502, error(words)));
    let (_, _, stderr) = proxy.ends(Some("-TERM"));
    assert_eq!(stderr, ["this is bad", END]);
}

#[test]
fn source_is_compiled_beforehand_and_what_was_made_is_taken_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("compile.sh");
    std::fs::write(&script, COMPILES).unwrap();
    let start = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtimes/actionloop/start.sh");
    let compiles = |toolchain: &str, code: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_whisker-action-proxy"))
            .arg("--folder")
            .arg(folder.path().join(code))
            .arg("--compile")
            .arg(&script)
            .args(["--toolchain", toolchain, "--handover", "/none/such"])
            .env("WHISKER_COMPILE", "stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It stays open: the code's end is not that of the stream.
        let mut input = child.stdin.take().unwrap();
        let init = json!({ "value": { "name": "a", "main": "entry", "code": code } });
        input.write_all(init.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        drop(input);
        (output.status.code(), output.stdout, String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(compiles("tool", "bad"), (Some(1), Vec::new(), "this is bad\n".to_owned()));
    let (status, made, said) = compiles("tool", "good");
    assert_eq!((status, said.as_str()), (Some(0), ""));

    // By another compiler it would come to something else.
    let arguments = ["--compile".as_ref(), script.as_ref(), "--toolchain".as_ref(), "other".as_ref()];
    let arguments: Vec<&OsStr> =
        arguments.into_iter().chain(["--handover".as_ref(), "sh".as_ref(), start.as_ref()]).collect();
    let mut init = json!({ "value": { "name": "a", "main": "entry", "binary": true, "compiled": true } });
    for as_it_is in [true, false] {
        let proxy = Proxy::with(&arguments);
        let answer = if as_it_is {
            proxy.init_bytes(&init, &made)
        } else {
            init["value"]["code"] = STANDARD.encode(&made).into();
            proxy.posts("/init", &init)
        };
        assert_eq!(answer, (200, json!({ "ok": true })));
        assert_eq!(proxy.posts("/run", &json!({ "value": {} })), (200, json!({ "by": "tool", "main": "entry" })));
        proxy.ends(Some("-TERM"));
    }
}

#[test]
fn binary_code_may_follow_its_initialisation_as_it_is() {
    let proxy = Proxy::start();
    let init = json!({ "value": { "name": "a", "main": "main" } });
    assert_eq!(proxy.init_bytes(&init, b""), (403, error("Missing main/no code to execute.")));
    let (status, said) = proxy.sends_a("application/octet-stream", "POST", "/init", b"no line").unwrap();
    assert_eq!(status, 400, "{said}");
    let code = archive();
    assert_eq!(proxy.init_bytes(&init, &code), (200, json!({ "ok": true })));
    assert_eq!(proxy.init_bytes(&init, &code).0, 403, "once");
    assert_eq!(proxy.posts("/run", &json!({ "value": {} })), (200, json!({ "text": "xz" })));
    proxy.ends(Some("-TERM"));
}
