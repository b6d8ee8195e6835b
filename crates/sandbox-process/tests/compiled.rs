//! Code that is unpacked or compiled before it runs, in real containers.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{os::unix::fs::MetadataExt, path::Path, sync::Arc, time::Duration};

use serde_json::{Value, json};
use whisker_sandbox::{Code, Container, Ended, InitEnd, RunEnd, Sandbox, testing::contract};
use whisker_sandbox_process::ProcessSandbox;

/// Compilers take their time on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

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
async fn what_is_to_be_prepared_is_without_a_container() {
    let own = common::sandbox_with(|config| config.prepare = ["cobol:85", "python:3.11"].map(str::to_owned).into());
    own.sweep().await.unwrap();
    let prepared = async {
        while kept(own.folder.path()) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, prepared).await.unwrap();
    let answer = common::python(&own, "def main(args):\n    return {}\n").await;
    assert_eq!((answer, kept(own.folder.path())), (json!({}), 1));
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

    // What is run while compiling is the user's as well.
    let build = r#"
        fn main() {
            let routes = std::fs::read_to_string("/proc/net/route").unwrap();
            assert_eq!(routes.lines().count(), 1, "there is a way out: {}", routes);
            assert!(std::net::TcpStream::connect("127.0.0.1:22").is_err());
            for place in ["/action/x", "/usr/x", "/runtimes/x", "/prepared/x"] {
                assert!(std::fs::write(place, "x").is_err(), "{} can be written", place);
            }
            assert!(std::env::vars().all(|(name, _)| !name.starts_with("__OW_")));
            println!("cargo:rustc-env=SEEN=nothing");
        }
    "#;
    let library = "use serde_json::{json, Error, Value};\n\
                   pub fn main(_: Value) -> Result<Value, Error> { Ok(json!({ \"seen\": env!(\"SEEN\") })) }\n";
    let (second, end) = container(&own, "rust:1.34", &package(build, library), "main").await;
    let logs = second.logs(contract::activation(1), 1 << 20).await;
    assert!(matches!(end, InitEnd::Ready), "{end:?} {logs:?}");
    assert_eq!(answer(&*second, &json!({})).await, json!({ "seen": "nothing" }));
}

/// A package with a build script.
fn package(build: &str, library: &str) -> Code {
    let manifest = "[package]\nname = \"built\"\nversion = \"0.1.0\"\nedition = \"2018\"\nbuild = \"build.rs\"\n\n\
                    [dependencies]\nserde_json = \"1\"\n";
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in [("Cargo.toml", manifest), ("build.rs", build), ("src/lib.rs", library)] {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut archive, text.as_bytes()).unwrap();
    }
    Code::Binary(archive.finish().unwrap().into_inner().into())
}

#[tokio::test]
async fn what_takes_too_long_to_compile_is_stopped_and_leaves_nothing() {
    // The launcher, for a start, which nothing can compile in that time.
    let own = common::sandbox_with(|config| config.compile_time = Duration::from_millis(1));
    let failed = own.start(common::start("java:8", 256)).await.map(drop).unwrap_err();
    assert!(failed.to_string().contains("not compiled within"), "{failed}");
    let containers = own.folder.path().join("sandbox/containers");
    assert_eq!(std::fs::read_dir(containers).unwrap().count(), 0);
    assert_eq!(kept(own.folder.path()), 0);
}

/// Go that does as it is told, at compile time as far as a compiler lets it.
fn go(body: &str) -> Code {
    Code::Text(format!("package main\n\nfunc Main(args map[string]any) map[string]any {{\n{body}\n}}\n").into())
}

#[tokio::test]
async fn an_artifact_outlives_the_server_and_an_error_is_told_again_without_compiling() {
    let own = common::sandbox_with(|_| {});
    let good = go("return map[string]any{\"n\": 1}");
    let bad = go("return 5");
    ready(&container(&own, "go:1.20", &good, "main").await.1);
    for _ in 0..2 {
        let (container, end) = container(&own, "go:1.20", &bad, "main").await;
        assert!(matches!(&end, InitEnd::Failed(words) if words == NOT_BUILT), "{end:?}");
        let logs = container.logs(contract::activation(1), 1 << 20).await;
        assert!(logs.lines.iter().any(|line| line.text.contains("cannot use 5")), "{logs:?}");
    }
    let common::Own { sandbox, folder } = own;
    drop(sandbox);
    let kept_before = kept(folder.path());

    // In the next life there is no compiler: nothing may ask for one.
    let mut config = whisker_sandbox_process::Config::new(folder.path().join("sandbox"));
    config.network = whisker_sandbox_process::Network::None;
    let sandbox = again(config).await;
    let stamp = |name: &str| std::fs::metadata(folder.path().join("sandbox/artifacts/kept").join(name)).unwrap().ino();
    let names: Vec<String> = std::fs::read_dir(folder.path().join("sandbox/artifacts/kept"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let before: Vec<u64> = names.iter().map(|name| stamp(name)).collect();
    let (container, end) = container(&sandbox, "go:1.20", &good, "main").await;
    ready(&end);
    assert_eq!(answer(&*container, &json!({})).await, json!({ "n": 1 }));
    assert_eq!(kept(folder.path()), kept_before);
    let after: Vec<u64> = names.iter().map(|name| stamp(name)).collect();
    assert_eq!(before, after, "the folders are those of the life before");
}

const NOT_BUILT: &str = "The action failed to generate or locate a binary. See logs for details.";

/// A sandbox on a folder whose last one may not be gone yet.
async fn again(config: whisker_sandbox_process::Config) -> ProcessSandbox {
    let tried = async {
        loop {
            match ProcessSandbox::new(config.clone()) {
                Ok(sandbox) => return sandbox,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, tried).await.unwrap()
}

/// A program that is made already needs no compiler, whoever made it.
#[tokio::test]
async fn a_bare_action_loop_program_speaks_for_itself() {
    let own = common::sandbox_with(|_| {});
    let script = "#!/bin/sh\necho '{\"ok\":true}' >&3\nwhile read -r line; do\n  \
                  echo 'a line of log'\n  echo \"{\\\"token\\\":\\\"$TOKEN\\\"}\" >&3\ndone\n";
    let container = own.start(common::start("go:1.20", 128)).await.unwrap();
    let mut init = contract::init(1, &Code::Binary(script.into()));
    init.env.insert("TOKEN".into(), "it's\nmine".into());
    ready(&container.init(init, PATIENCE).await.unwrap());
    let end = container.run(contract::run(2, &json!({})), PATIENCE).await.unwrap();
    // A shell's line feed within JSON is nonsense, which shows the variable.
    assert!(matches!(&end, RunEnd::Nonsense(text) if text.starts_with("{\"token\":\"it's")), "{end:?}");
    let logs = container.logs(contract::activation(2), 1 << 20).await;
    assert_eq!(logs.lines[0].text, "a line of log");
}

/// As in OpenWhisk's images of these languages, which wait for the word too: it
/// has the time of an initialisation, and then it is gone.
#[tokio::test]
async fn an_action_loop_program_that_does_not_say_that_it_is_ready_is_not() {
    let own = common::sandbox_with(|_| {});
    let script = "#!/bin/sh\n[ \"$__OW_WAIT_FOR_ACK\" = 1 ] && echo 'it should' >&2\n\
                  while read -r line; do echo '{}' >&3; done\n";
    let container = own.start(common::start("go:1.20", 128)).await.unwrap();
    let init = contract::init(1, &Code::Binary(script.into()));
    let end = container.init(init, Duration::from_secs(1)).await.unwrap();
    assert!(matches!(end, InitEnd::Ended(Ended::TimedOut)), "{end:?}");
    let logs = container.logs(contract::activation(1), 1 << 20).await;
    assert_eq!(logs.lines[0].text, "it should", "{logs:?}");
    container.destroy().await;
}

#[tokio::test]
async fn a_jar_is_left_as_it_is_and_seen_by_its_container_alone() {
    let own = common::sandbox_with(|_| {});
    let mut jar = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    jar.start_file("META-INF/MANIFEST.MF", zip::write::SimpleFileOptions::default()).unwrap();
    let jar = jar.finish().unwrap().into_inner();
    let (first, end) = container(&own, "java:8", &Code::Binary(jar.into()), "Missing").await;
    assert!(matches!(&end, InitEnd::Failed(words) if words.to_string().contains("ClassNotFoundException: Missing")));
    drop(first);
    let kept: Vec<_> = std::fs::read_dir(own.folder.path().join("sandbox/artifacts/kept")).unwrap().collect();
    assert!(kept.iter().any(|entry| entry.as_ref().unwrap().path().join("content/exec.jar").is_file()));
    // A container has no way to the others' code.
    let seen = common::python(
        &own,
        "import os\ndef main(args):\n    found = []\n    for top in ['/action', '/prepared', '/runtimes', '/tmp', '/modules']:\n        \
         for folder, _, files in os.walk(top):\n            found += [f for f in files if f.endswith('.jar')]\n    \
         return {'found': found}\n",
    )
    .await;
    assert_eq!(seen, json!({ "found": [] }));
}

/// Containers share an archive's files, and none can change them.
#[tokio::test]
async fn containers_share_what_was_unpacked() {
    let own = common::sandbox_with(|_| {});
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    archive.start_file("__main__.py", options).unwrap();
    let code = "import os\ndef main(args):\n    try:\n        open('data', 'w')\n    except OSError as error:\n        \
                return {'error_number': error.errno, 'inode': os.stat('data').st_ino}\n    return {}\n";
    std::io::Write::write_all(&mut archive, code.as_bytes()).unwrap();
    archive.start_file("data", options).unwrap();
    let code = Code::Binary(archive.finish().unwrap().into_inner().into());
    let (first, end) = container(&own, "python:3.11", &code, "main").await;
    ready(&end);
    let (second, end) = container(&own, "python:3.11", &code, "main").await;
    ready(&end);
    let (one, two) = (answer(&*first, &json!({})).await, answer(&*second, &json!({})).await);
    assert_eq!(one, two, "the same file, which neither can write");
    assert!(one["inode"].is_u64(), "{one}");
    assert_eq!(kept(own.folder.path()), 2, "the launcher, and the action");
}
