//! `whisker doctor`, from outside.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Output};

use serde_json::{Value, json};
use whisker_testkit::{Server, binary_path};

fn doctor(flags: &[&str]) -> Output {
    let mut command = Command::new(binary_path());
    command.arg("doctor").args(flags);
    command.env_remove("WHISKER_SETTINGS").env_remove("WHISKER_NETWORK").output().unwrap()
}

fn report(flags: &[&str]) -> (Option<i32>, Value) {
    let output = doctor(&[flags, &["--json"]].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    let report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{output:?}"));
    (output.status.code(), report)
}

#[test]
fn a_host_that_does_is_told_so_with_its_parts() {
    let (code, report) = report(&["--network", "none"]);
    assert_eq!((code, &report["works"], &report["default"]), (Some(0), &json!(true), &json!("sandbox")), "{report}");
    let host = &report["host"];
    assert_eq!(host["namespaces"]["pid"], true, "{host}");
    assert_eq!(host["seccomp"], true, "{host}");
    assert!(host["programs"]["bwrap"]["version"].as_str().unwrap().contains("bubblewrap"), "{host}");
    let cgroups = host["cgroups"].as_array().unwrap();
    let held = |name| cgroups.iter().any(|tree| tree["controllers"].as_array().unwrap().contains(&json!(name)));
    assert!(held("memory") && held("pids"), "{host}");
    let kinds = report["runtimes"].as_array().unwrap();
    let kind = |name: &str| kinds.iter().find(|kind| kind["kind"] == name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(kind("nodejs:20")["available"], true);
    assert!(kind("python:3.11")["version"].as_str().unwrap().starts_with("Python 3."));
    // What is not there says why.
    assert!(kinds.iter().all(|kind| kind["available"] == true || kind["reason"].is_string()), "{kinds:?}");
    let sandbox = &report["backends"]["sandbox"];
    assert_eq!(sandbox["works"], true);
    let network = sandbox["enforces"].as_array().unwrap().iter().find(|row| row["what"] == "network").unwrap();
    assert!(network["how"].as_str().unwrap().starts_with("none"), "{network}");
    let docker = &report["backends"]["docker"];
    assert!(docker["works"] == true || docker["reason"].is_string(), "{docker}");
}

#[test]
fn what_is_missing_is_named_with_a_way_to_get_it() {
    // A group that cannot be made, whoever asks.
    let flags = ["--network", "none", "--cgroup-parent", "cgroup.procs/none"];
    let (code, report) = report(&flags);
    assert_eq!((code, &report["works"]), (Some(1), &json!(false)), "{report}");
    let reason = report["backends"]["sandbox"]["reason"].as_str().unwrap();
    assert!(reason.contains("cgroup"), "{reason}");
    let missing = report["missing"].as_array().unwrap();
    let entry = missing.iter().find(|entry| entry["what"] == "sandbox").unwrap_or_else(|| panic!("{missing:?}"));
    assert!(entry["get"].as_str().unwrap().contains("cgroup"), "{entry}");

    let output = doctor(&flags);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("The backend `sandbox` does NOT work here."), "{text}");
}

#[test]
fn people_get_a_table_also_beside_a_server_that_runs() {
    let server = Server::start();
    let data = server.data_dir();
    let output = doctor(&["--network", "none", "--data-dir", data.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for words in ["The backend `sandbox` works here.", "bwrap", "nodejs:20", "Backend `docker`"] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    // The server did not notice.
    server.guest().node("still", "function main() { return { here: true } }");
    assert_eq!(server.guest().result("still", &json!({})), json!({"here": true}));
}
