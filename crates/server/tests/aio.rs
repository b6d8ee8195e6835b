//! The Adobe I/O CLI with its runtime plugin, against the real binary. It is
//! slow to install and to start, so this is no part of `make test`: `make
//! test-clients AIO=path` runs it.

mod folder;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use whisker_testkit::{GUEST, Server};

struct Aio {
    server: Server,
    home: PathBuf,
}

impl Aio {
    fn new() -> Aio {
        let server = Server::start();
        let home = server.data_dir().with_file_name("home");
        folder::copy(&whisker_compat::folder().join("clients"), &home);
        let properties = format!("APIHOST=http://{}\nAUTH={GUEST}\nNAMESPACE=_\n", server.address());
        std::fs::write(home.join(".wskprops"), properties).expect("a new file");
        Aio { server, home }
    }

    /// Runs `aio runtime`; its exit code and what it said.
    fn try_run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let aio = std::env::var_os("AIO").expect("AIO=path says which aio");
        let output = Command::new(Path::new(&aio))
            .arg("runtime")
            .args(arguments)
            .current_dir(self.home.join("aio"))
            .env("HOME", &self.home)
            // It would ask a browser for credentials.
            .env("USE_RUNTIME_AUTH", "true")
            // And report to its makers: a test speaks to this server alone.
            .env("AIO_TELEMETRY_DISABLED", "true")
            .env("AIO_SKIP_NEW_VERSION_CHECK", "true")
            .env("CI", "true")
            .stdin(Stdio::null())
            .output()
            .expect("aio runs");
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let (exit, said) = self.try_run(arguments);
        assert_eq!(exit, Some(0), "aio runtime {}\n{said}", arguments.join(" "));
        said
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let said = self.run(arguments);
        let start = said.find(['{', '[']).unwrap_or(0);
        serde_json::from_str(&said[start..]).unwrap_or_else(|error| panic!("{error}: {said}"))
    }
}

#[test]
fn entities_are_made_used_and_deleted() {
    let aio = Aio::new();
    aio.run(&["action", "create", "hello", "../deploy/src/page.js", "--kind", "nodejs:20", "-p", "name", "Ann"]);
    assert_eq!(aio.json(&["action", "get", "hello"])["exec"]["kind"], "nodejs:20");
    let answer = json!({"body": "<p>Good morning, Ann</p>"});
    assert_eq!(aio.json(&["action", "invoke", "hello", "--result"]), answer);
    assert_eq!(aio.json(&["activation", "get", "--last"])["response"]["result"], answer);
    assert!(aio.run(&["activation", "list"]).contains("hello"));
    aio.run(&["action", "update", "hello", "../deploy/src/page.js", "--web", "true"]);
    assert_eq!(aio.json(&["action", "list", "--json"])[0]["version"], "0.0.2");

    aio.run(&["package", "create", "box", "-p", "a", "1"]);
    aio.run(&["trigger", "create", "bell", "-p", "b", "2"]);
    aio.run(&["rule", "create", "rings", "bell", "hello"]);
    let fired = aio.json(&["trigger", "fire", "bell", "-p", "c", "3"]);
    let record = aio.server.guest().record(fired["activationId"].as_str().expect("an id"));
    assert_eq!(record["response"]["result"], json!({"c": "3"}));
    aio.run(&["rule", "disable", "rings"]);
    assert_eq!(aio.server.guest().get("rules/rings").expect(200)["status"], "inactive");
    aio.run(&["rule", "enable", "rings"]);
    assert!(aio.run(&["rule", "list"]).contains("active"));
    let all = aio.run(&["namespace", "get"]);
    assert!(["box", "hello", "bell", "rings"].iter().all(|name| all.contains(&format!("/guest/{name}"))), "{all}");

    for entity in [["rule", "rings"], ["trigger", "bell"], ["package", "box"], ["action", "hello"]] {
        aio.run(&[entity[0], "delete", entity[1]]);
        let (exit, said) = aio.try_run(&[entity[0], "get", entity[1]]);
        assert!(exit != Some(0) && said.contains("404"), "{entity:?}: {exit:?} {said}");
    }
}

#[test]
fn a_manifest_is_deployed_runs_and_is_undeployed() {
    let aio = Aio::new();
    let guest = aio.server.guest();
    aio.run(&["deploy", "-m", "manifest.yaml"]);
    let read = json!({"city": "Bern", "unit": "C", "readings": [4, 5, 6]});
    assert_eq!(aio.json(&["action", "invoke", "clients-aio/twice", "--result"])["readings"], read["readings"]);
    assert_eq!(guest.result("clients-aio/read", &json!({})), read);
    let page = aio.server.anyone().get("/api/v1/web/guest/clients-aio/page?name=Ann");
    assert_eq!((page.status(), page.text().as_str()), (200, "<p>Good morning, Ann</p>"));
    let fired = guest.post("triggers/clients-evening", &json!({})).expect(202);
    let logs = guest.record(fired["activationId"].as_str().expect("an id"))["logs"].clone();
    assert!(logs[0].as_str().is_some_and(|line| line.contains("guest/clients-nightly")), "{logs}");

    aio.run(&["deploy", "undeploy", "-m", "manifest.yaml"]);
    for list in ["packages", "actions", "triggers", "rules"] {
        assert_eq!(guest.get(list).expect(200), json!([]), "{list}");
    }
}
