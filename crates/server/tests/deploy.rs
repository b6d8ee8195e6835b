//! What stands in `deploy/` speaks of flags, files and metrics: they exist.
#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "each test target uses a part of it")]
mod dashboard;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;
use whisker_testkit::{Server, binary_path, eventually};

/// The role of a command line, and the flags that it is given.
type Line = (String, Vec<String>);

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = deploy().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `whisker ROLE --help`, as words.
fn help(role: &str) -> BTreeSet<String> {
    let output = Command::new(binary_path()).args([role, "--help"]).output().unwrap();
    assert!(output.status.success(), "there is no role {role}");
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[track_caller]
fn check_flags((role, flags): &Line) {
    let help = help(role);
    for flag in flags {
        assert!(help.contains(flag), "`whisker {role} --help` knows no {flag}");
    }
}

fn line_of<'a>(mut words: impl Iterator<Item = &'a str>) -> Line {
    let role = words.next().unwrap().to_owned();
    (role, words.filter(|word| word.starts_with("--")).map(str::to_owned).collect())
}

/// YAML, which a test reads by Debian's python3-yaml.
fn yaml(path: &Path) -> Value {
    const READ: &str = "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    let output = Command::new("/usr/bin/python3").args(["-c", READ]).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().map(|members| members.keys().cloned().collect()).unwrap_or_default()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect()
}

#[test]
fn units_are_sound_and_name_flags_that_exist() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for unit in fs::read_dir(deploy().join("systemd")).unwrap().map(|entry| entry.unwrap().path()) {
        if unit.extension().is_none_or(|extension| extension != "service") {
            continue;
        }
        seen += 1;
        let text = fs::read_to_string(&unit).unwrap();
        let start = text.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/whisker ")).unwrap();
        check_flags(&line_of(start.split_whitespace()));
        // As installed: an instance of a template, and a program that is there.
        let name = unit.file_name().unwrap().to_str().unwrap().replace("@.", "@0.");
        let installed = folder.path().join(name);
        fs::write(&installed, text.replace("/usr/bin/whisker", "/bin/true")).unwrap();
        let verify = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&installed).output();
        let verify = verify.expect("apt-get install systemd");
        let said = String::from_utf8_lossy(&verify.stderr);
        let of_ours: Vec<_> = said.lines().filter(|line| line.contains("whisker")).collect();
        assert!(verify.status.success() && of_ours.is_empty(), "{said}");
    }
    assert_eq!(seen, 3);
}

#[test]
fn settings_files_have_settings_that_exist() {
    let roles = |name: &str| if name == "serve.toml" { vec!["serve"] } else { vec!["controller", "invoker"] };
    for name in ["serve.toml", "cluster.toml"] {
        let known: BTreeSet<String> = roles(name).into_iter().flat_map(help).collect();
        let settings: toml::Table = toml::from_str(&read(Path::new("systemd").join(name))).unwrap();
        assert!(!settings.is_empty());
        for setting in settings.keys() {
            assert!(known.contains(&format!("--{setting}")), "{name}: {setting}");
        }
    }
}

#[test]
fn the_composed_system_is_whole() {
    let all = yaml(&deploy().join("compose/compose.yaml"));
    let services = all["services"].as_object().unwrap();
    let of_role = |role: &str| services.values().filter(|service| service["command"][0] == role).count();
    assert_eq!((of_role("controller"), of_role("invoker")), (2, 3));
    let declared = |what: &str| keys(&all[what]);
    for (name, service) in services {
        for secret in texts(&service["secrets"]) {
            assert!(declared("secrets").contains(&secret), "{name}: {secret}");
        }
        for volume in texts(&service["volumes"]) {
            let source = volume.split(':').next().unwrap();
            let there = match source.starts_with('.') {
                true => deploy().join("compose").join(source).exists(),
                false => declared("volumes").contains(source),
            };
            assert!(there, "{name}: {volume}");
        }
        let networks = keys(&service["networks"]).into_iter().chain(texts(&service["networks"]));
        networks.for_each(|network| assert!(declared("networks").contains(&network), "{name}: {network}"));
        keys(&service["depends_on"]).iter().for_each(|other| assert!(services.contains_key(other), "{name}: {other}"));
        // What is pulled has a version; what is built has a recipe.
        match service["build"].as_object() {
            Some(build) => {
                let context = deploy().join("compose").join(build["context"].as_str().unwrap());
                assert!(context.join(build["dockerfile"].as_str().unwrap()).exists(), "{name}: no recipe");
                let recipe = read("image/Dockerfile");
                assert!(recipe.contains(&format!(" AS {}\n", build["target"].as_str().unwrap())), "{name}: no stage");
            }
            None => {
                let image = service["image"].as_str().unwrap();
                let tag = image.rsplit_once(':').unwrap_or_else(|| panic!("{image} has no tag")).1;
                assert!(tag.starts_with(|c: char| c.is_ascii_digit()), "{image}");
            }
        }
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            assert!(
                !variable.contains("PASSWORD") || value.as_str().unwrap().starts_with("/run/secrets/"),
                "{variable}"
            );
        }
        let role = service["command"][0].as_str().unwrap_or_default();
        if let "controller" | "invoker" = role {
            check_flags(&line_of(texts(&service["command"]).iter().map(String::as_str)));
            let help = help(role);
            for variable in keys(&service["environment"]) {
                // Passwords have a file.
                assert!(help.contains(&variable), "`whisker {role}` knows no {variable}");
            }
        }
    }
    let entry = services["nginx"]["environment"]["CONTROLLERS"].as_str().unwrap();
    let behind = entry.split(' ').map(|controller| controller.split(':').next().unwrap());
    assert!(behind.clone().all(|controller| services[controller]["command"][0] == "controller"), "{entry}");
    assert_eq!(behind.count(), 2);
}

#[test]
fn the_image_copies_what_is_there_and_no_secrets() {
    let root = deploy().join("..");
    let recipe = read("image/Dockerfile");
    for line in recipe.lines().filter(|line| line.starts_with("COPY deploy/")) {
        let file = root.join(line.split(' ').nth(1).unwrap());
        let script = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{line}: {error}"));
        let shell = if script.starts_with("#!/bin/bash") { "bash" } else { "sh" };
        assert!(Command::new(shell).arg("-n").arg(&file).status().unwrap().success(), "{line}");
    }
    for word in ["PASSWORD", "KEY", "SECRET", "TOKEN"] {
        let given =
            recipe.lines().find(|line| (line.starts_with("ENV") || line.starts_with("ARG")) && line.contains(word));
        assert_eq!(given, None);
    }
    let ignored = fs::read_to_string(root.join(".dockerignore")).unwrap();
    assert!(["/.*", "/target", "/deploy/compose/secrets"].iter().all(|line| ignored.lines().any(|l| l == *line)));
}

#[test]
fn a_ready_server_is_found_ready_by_the_images_check() {
    let server = Server::start();
    let check = |port: u16| {
        let script = deploy().join("image/ready.sh");
        Command::new("bash").arg(script).arg(port.to_string()).output().unwrap().status.success()
    };
    let port = server.address().port();
    assert!(check(port));
    drop(server);
    assert!(!check(port), "nobody listens there by now");
}

#[test]
fn the_dashboard_shows_metrics_that_a_server_has() {
    let server = Server::builder().switch("--user-events").flag("--invocations-per-minute", "1").start();
    let guest = server.guest();
    guest.node("shown", "function main() { return {}; }");
    // One is run, and sooner or later one is refused.
    assert!((0..20).any(|_| guest.invoke("shown", &serde_json::json!({})).status() == 429));
    eventually(Duration::from_secs(60), || {
        let missing = dashboard::missing(dashboard::metrics(false), &server.anyone().get("/metrics").text());
        if missing.is_empty() { Ok(()) } else { Err(format!("not exposed: {missing:?}")) }
    });
}
