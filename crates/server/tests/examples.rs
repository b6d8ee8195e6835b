//! What `examples/` shows works, in every language.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use whisker_testkit::Server;

/// Longest that compiling one may take, on a busy machine.
const COMPILED: Duration = Duration::from_secs(300);

/// File, kind, and the entry point if that must be named.
const GREETERS: [(&str, &str, Option<&str>); 8] = [
    ("hello.js", "nodejs:default", None),
    ("hello.py", "python:default", None),
    ("hello.rb", "ruby:default", None),
    ("hello.php", "php:default", None),
    ("hello.sh", "blackbox", None),
    ("hello.go", "go:default", None),
    ("Hello.java", "java:default", Some("Hello")),
    ("hello.rs", "rust:default", None),
];

#[test]
fn every_example_greets_and_logs() {
    let server = Server::start();
    let guest = server.guest();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| {
        let path = repository.join(path);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let page = read("docs/functions.md");
    for (file, kind, main) in GREETERS {
        let code = read(&format!("examples/{file}"));
        assert!(page.contains(&code), "docs/functions.md shows another {file}");
        let mut exec = json!({"kind": kind, "code": code});
        if kind == "blackbox" {
            exec["image"] = "openwhisk/dockerskeleton".into();
        }
        if let Some(main) = main {
            exec["main"] = main.into();
        }
        guest.action(file, &json!({"exec": exec}));
        let record = guest.record_within(COMPILED, &guest.accept(file, &json!({"name": "Ann"})));
        assert_eq!(record["response"]["result"], json!({"greeting": "Hello, Ann!"}), "{file}: {record}");
        let logs: Vec<&str> = record["logs"].as_array().expect("logs").iter().filter_map(Value::as_str).collect();
        assert!(matches!(logs[..], [line] if line.ends_with(" stdout: greeting Ann")), "{file}: {logs:?}");
        assert_eq!(guest.result(file, &json!({})), json!({"greeting": "Hello, world!"}), "{file}");
    }
}
