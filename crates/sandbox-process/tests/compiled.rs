//! Code that is unpacked or compiled before it runs, in real containers.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{path::Path, sync::Arc, time::Duration};

use serde_json::{Value, json};
use whisker_sandbox::{Code, Container, InitEnd, RunEnd, Sandbox, testing::contract};
use whisker_sandbox_process::ProcessSandbox;

/// Compilers take their time on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const GO: &str = r#"
package main

import "fmt"

func Main(args map[string]any) map[string]any {
	fmt.Println("hello from Go")
	return map[string]any{"greeting": fmt.Sprintf("Hello, %v!", args["name"])}
}
"#;

async fn container(sandbox: &ProcessSandbox, kind: &str, code: &Code, main: &str) -> (Arc<dyn Container>, InitEnd) {
    let container = sandbox.start(common::start(kind, 256)).await.unwrap();
    let init = whisker_sandbox::Init { main: main.to_owned(), ..contract::init(1, code) };
    let end = container.init(init, PATIENCE).await.unwrap();
    (container, end)
}

async fn answer(container: &dyn Container, argument: &Value) -> Value {
    match container.run(contract::run(2, argument), PATIENCE).await.unwrap() {
        RunEnd::Answered(raw) => serde_json::from_str(raw.get()).unwrap(),
        other => panic!("{other:?} {:?}", container.logs(contract::activation(2), 1 << 20).await),
    }
}

#[track_caller]
fn ready(end: &InitEnd) {
    assert!(matches!(end, InitEnd::Ready), "{end:?}");
}

/// Folders of artifacts that are kept.
fn kept(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("sandbox/artifacts/kept")).unwrap().count()
}

#[tokio::test]
async fn go_is_compiled_once_for_all_containers_and_lives() {
    let own = common::sandbox_with(|_| {});
    let code = Code::Text(GO.into());
    let (first, end) = container(&own, "go:1.20", &code, "main").await;
    let logs = first.logs(contract::activation(1), 1 << 20).await;
    assert!(matches!(end, InitEnd::Ready), "{end:?} {logs:?}");
    assert_eq!(answer(&*first, &json!({ "name": "Ann" })).await, json!({ "greeting": "Hello, Ann!" }));
    let made = kept(own.folder.path());
    assert_eq!(made, 2, "what was prepared, and the action");
    let (second, end) = container(&own, "go:1.20", &code, "main").await;
    ready(&end);
    assert_eq!(answer(&*second, &json!({ "name": "Bob" })).await, json!({ "greeting": "Hello, Bob!" }));
    assert_eq!(kept(own.folder.path()), made);
}

#[tokio::test]
async fn java_is_compiled_or_taken_as_a_jar() {
    let own = common::sandbox_with(|_| {});
    let code = Code::Text(
        "import com.google.gson.*;\npublic class Hello {\n  public static JsonObject main(JsonObject args) {\n    \
         System.out.println(\"hello from Java\");\n    args.addProperty(\"seen\", true);\n    return args;\n  }\n}\n"
            .into(),
    );
    let (first, end) = container(&own, "java:8", &code, "Hello").await;
    let logs = first.logs(contract::activation(1), 1 << 20).await;
    assert!(matches!(end, InitEnd::Ready), "{end:?} {logs:?}");
    assert_eq!(answer(&*first, &json!({ "n": 1 })).await, json!({ "n": 1, "seen": true }));
    let logs = first.logs(contract::activation(2), 1 << 20).await;
    assert_eq!(logs.lines[0].text, "hello from Java");
}

#[tokio::test]
async fn rust_is_compiled_with_serde_json_and_without_a_network() {
    let own = common::sandbox_with(|_| {});
    let code = Code::Text(
        "extern crate serde_json;\nuse serde_json::{Error, Value};\n\
         pub fn main(args: Value) -> Result<Value, Error> {\n    println!(\"hello from Rust\");\n    Ok(args)\n}\n"
            .into(),
    );
    let (first, end) = container(&own, "rust:1.34", &code, "main").await;
    let logs = first.logs(contract::activation(1), 1 << 20).await;
    assert!(matches!(end, InitEnd::Ready), "{end:?} {logs:?}");
    assert_eq!(answer(&*first, &json!({ "n": 1 })).await, json!({ "n": 1 }));
}
