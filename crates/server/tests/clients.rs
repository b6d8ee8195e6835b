//! A client that no one here wrote, the `openwhisk` npm package, against the
//! real binary.

use std::{path::Path, process::Command};

use whisker_testkit::{GUEST, Server};

/// Runs one file of `compat/npm`.
#[track_caller]
fn npm(file: &str) {
    let folder = whisker_compat::folder().join("npm");
    let package = folder.join("node_modules/openwhisk");
    assert!(package.is_dir(), "the npm package is missing: `scripts/install-deps.sh test` installs it");
    let server = Server::start();
    let output = Command::new("node")
        .args(["--test", "--test-reporter=tap"])
        .arg(folder.join(file))
        .env("WHISKER_URL", format!("http://{}", server.address()))
        .env("WHISKER_AUTH", GUEST)
        .output()
        .expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
}

#[test]
fn npm_actions() {
    npm("actions.test.mjs");
}

#[test]
fn npm_activations() {
    npm("activations.test.mjs");
}

#[test]
fn npm_namespaces() {
    npm("namespaces.test.mjs");
}

#[test]
fn npm_packages() {
    npm("packages.test.mjs");
}

#[test]
fn npm_triggers() {
    npm("triggers.test.mjs");
}

#[test]
fn npm_sequences() {
    npm("sequences.test.mjs");
}

#[test]
fn every_file_of_calls_is_run() {
    let own = include_str!("clients.rs");
    for entry in whisker_compat::folder().join("npm").read_dir().expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let run = !name.ends_with(".test.mjs") || own.contains(&format!("npm(\"{name}\")"));
        assert!(run, "{} is not run", Path::new(name).display());
    }
}
