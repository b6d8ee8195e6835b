//! The original `wskdeploy` against the real binary. No package registry has
//! that client, so this is no part of `make test`: `make test-clients
//! WSKDEPLOY=path` runs it.

mod folder;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use whisker_testkit::{Client, GUEST, Server};

/// What the project in `compat/clients/deploy` is made of.
const ENTITIES: [&str; 11] = [
    "packages/clients-weather",
    "packages/clients-bare",
    "actions/clients-weather/read",
    "actions/clients-weather/mean",
    "actions/clients-weather/tell",
    "actions/clients-weather/page",
    "actions/clients-weather/forecast",
    "actions/clients-bare/echo",
    "triggers/clients-morning",
    "rules/clients-daily",
    "rules/clients-echo",
];

/// A server, and a copy of the project where `wskdeploy` finds its key.
struct Project {
    server: Server,
    folder: PathBuf,
}

impl Project {
    fn new() -> Project {
        let server = Server::start();
        let folder = server.data_dir().with_file_name("project");
        folder::copy(&whisker_compat::folder().join("clients/deploy"), &folder);
        let properties = format!("APIHOST=http://{}\nAUTH={GUEST}\nNAMESPACE=_\n", server.address());
        std::fs::write(folder.join(".wskprops"), properties).expect("a new file");
        Project { server, folder }
    }

    /// Runs `wskdeploy` in the project.
    #[track_caller]
    fn run(&self, arguments: &[&str]) {
        let wskdeploy = std::env::var_os("WSKDEPLOY").expect("WSKDEPLOY=path says which wskdeploy");
        let output = Command::new(Path::new(&wskdeploy))
            .args(arguments)
            .current_dir(&self.folder)
            .env("HOME", &self.folder)
            .env("LC_ALL", "en_US.UTF-8")
            .stdin(Stdio::null())
            .output()
            .expect("wskdeploy runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "wskdeploy {}: {}\n{said}", arguments.join(" "), output.status);
    }

    /// The statuses of all entities, without those that are as they should be.
    fn other_than(&self, status: u16) -> Vec<(&'static str, u16)> {
        let guest = self.server.guest();
        let statuses = ENTITIES.map(|entity| (entity, guest.get(entity).status()));
        statuses.into_iter().filter(|(_, other)| *other != status).collect()
    }
}

/// Names in a list, sorted.
fn names(guest: &Client, list: &str) -> Vec<String> {
    let items = guest.get(list).expect(200);
    let names = items.as_array().expect("a list").iter().map(|item| item["name"].as_str().expect("a name").to_owned());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

fn value<'a>(list: &'a Value, key: &str) -> &'a Value {
    let entry = list.as_array().and_then(|list| list.iter().find(|entry| entry["key"] == key));
    entry.map_or(&Value::Null, |entry| &entry["value"])
}

#[test]
fn a_project_is_deployed_runs_and_is_undeployed() {
    let project = Project::new();
    let guest = project.server.guest();
    project.run(&["-m", "manifest.yaml", "-d", "deployment.yaml"]);
    assert_eq!(project.other_than(200), []);

    let read = guest.get("actions/clients-weather/read").expect(200);
    assert_eq!(read["limits"], json!({"timeout": 10000, "memory": 128, "logs": 1, "concurrency": 1}));
    assert_eq!(value(&read["parameters"], "city"), "Bern", "the deployment's value wins");
    assert_eq!(value(&read["parameters"], "unit"), "C", "a package's parameter reaches its actions");
    assert_eq!(value(&read["annotations"], "owner"), "weather");
    let forecast = guest.get("actions/clients-weather/forecast").expect(200);
    let components = ["read", "mean", "tell"].map(|name| format!("/guest/clients-weather/{name}"));
    assert_eq!(forecast["exec"]["components"], json!(components));

    // Of code in two languages, in a folder and in the manifest.
    assert_eq!(guest.result("clients-weather/forecast", &json!({})), json!({"forecast": "Bern: 5 C"}));
    assert_eq!(guest.result("clients-bare/echo", &json!({"a": 1})), json!({"echo": {"a": 1}}));
    let page = project.server.anyone().get("/api/v1/web/guest/clients-weather/page?name=Ann");
    assert_eq!((page.status(), page.text().as_str()), (200, "<p>Good morning, Ann</p>"));

    let fired = guest.post("triggers/clients-morning", &json!({"days": 1})).expect(202);
    let trigger = guest.record(fired["activationId"].as_str().expect("an id"));
    let mut results: Vec<_> =
        trigger["logs"].as_array().expect("logs").iter().map(|line| rule_result(&guest, line)).collect();
    results.sort();
    assert_eq!(
        results,
        [
            r#"guest/clients-daily: {"forecast":"Oslo: 4 C"}"#,
            r#"guest/clients-echo: {"echo":{"city":"Oslo","days":1}}"#
        ]
    );

    // Again: the same entities, one version on.
    project.run(&["-m", "manifest.yaml", "-d", "deployment.yaml"]);
    assert_eq!(guest.get("actions/clients-weather/read").expect(200)["version"], "0.0.2");
    assert_eq!(names(&guest, "actions"), ["echo", "forecast", "mean", "page", "read", "tell"]);
    assert_eq!(guest.result("clients-weather/forecast", &json!({})), json!({"forecast": "Bern: 5 C"}));

    project.run(&["undeploy", "-m", "manifest.yaml", "-d", "deployment.yaml"]);
    assert_eq!(project.other_than(404), []);
    for list in ["packages", "actions", "triggers", "rules"] {
        assert_eq!(names(&guest, list), [""; 0], "{list}");
    }
}

/// What the rule did that a line of a trigger's log tells of.
fn rule_result(guest: &Client, line: &Value) -> String {
    let line: Value = serde_json::from_str(line.as_str().expect("a text")).expect("a trigger logs JSON");
    let record = guest.record(line["activationId"].as_str().expect("an id"));
    format!("{}: {}", line["rule"].as_str().expect("a name"), record["response"]["result"])
}

#[test]
fn a_managed_project_follows_its_manifest() {
    let project = Project::new();
    let guest = project.server.guest();
    project.run(&["sync", "-m", "manifest.yaml", "-d", "deployment.yaml"]);
    assert_eq!(project.other_than(200), []);
    let package = guest.get("packages/clients-bare").expect(200);
    assert_eq!(value(&package["annotations"], "whisk-managed")["projectName"], "whisker-clients");

    // What the server has makes a manifest that can be deployed.
    project.run(&["export", "--projectname", "whisker-clients", "-m", "exported/manifest.yaml"]);
    let exported = std::fs::read_to_string(project.folder.join("exported/manifest.yaml")).expect("it was written");
    for name in ["clients-weather", "clients-bare", "forecast", "clients-morning", "clients-daily"] {
        assert!(exported.contains(name), "{name} is not in\n{exported}");
    }

    // What is no longer in the manifest goes away.
    let manifest = std::fs::read_to_string(project.folder.join("manifest.yaml")).expect("it is there");
    let (smaller, _) = manifest.split_once("    clients-bare:").expect("it is in the manifest");
    std::fs::write(project.folder.join("manifest.yaml"), smaller).expect("it can be written");
    project.run(&["sync", "-m", "manifest.yaml", "-d", "deployment.yaml"]);
    assert_eq!(names(&guest, "packages"), ["clients-weather"]);
    assert_eq!(names(&guest, "rules"), ["clients-daily"]);
    assert_eq!(guest.result("clients-weather/forecast", &json!({})), json!({"forecast": "Bern: 5 C"}));

    project.run(&["undeploy", "--projectname", "whisker-clients"]);
    assert_eq!(project.other_than(404), []);
}
