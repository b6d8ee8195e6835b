//! A database that OpenWhisk has left is served as it is, and what is written
//! to it is what OpenWhisk would have written.

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Output},
    time::Duration,
};

use serde_json::{Value, json};
use whisker_testkit::{Archive, Client, CouchDb, Server, base64, binary_path, eventually};

const AES_128: &str = "AAECAwQFBgcICQoLDA0ODw==";
const TEAM: &str =
    "0a0b0c0d-71f6-4ed5-8c54-816aa4f8c502:456zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
const MALLORY: &str =
    "66666666-71f6-4ed5-8c54-816aa4f8c502:666zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

/// Longest wait for what comes by itself.
const SOON: Duration = Duration::from_secs(30);

/// Documents of OpenWhisk's, with what stands for attachments put in.
fn documents(file: &str) -> Vec<Value> {
    let path = format!("{}/../../compat/couchdb/{file}", env!("CARGO_MANIFEST_DIR"));
    let large = format!("function main() {{ return {{ large: true }} }}\n//{}\n", "x".repeat(20_000));
    let archive = Archive::default()
        .file("package.json", r#"{"main": "index.js"}"#)
        .file("index.js", "exports.main = () => ({ archive: require('./other') })")
        .file("other.js", "module.exports = 'unpacked'");
    let text = fs::read_to_string(path).expect("the file is there");
    let text = text.replace("@large", &base64(large)).replace("@archive", &archive.base64());
    serde_json::from_str(&text).expect("it is JSON")
}

fn load(database: &CouchDb, prefix: &str) {
    for (name, file) in [
        ("whisks", "whisks.json"),
        ("whisks", "whisks-old.json"),
        ("activations", "activations.json"),
        ("subjects", "subjects.json"),
    ] {
        database.load(&format!("{prefix}{name}"), &documents(file));
    }
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|entity| entity["name"].as_str().expect("a name")).collect()
}

/// Names of a document's members, down to those of `exec` and its code.
fn members(document: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (name, value) in document.as_object().expect("an object") {
        all.insert(name.clone());
        if matches!(name.as_str(), "exec" | "code" | "limits" | "response" | "trigger" | "action") && value.is_object()
        {
            all.extend(members(value).into_iter().map(|inner| format!("{name}.{inner}")));
        }
    }
    all
}

#[test]
fn an_existing_database_is_served() {
    let database = CouchDb::start(None);
    load(&database, "ow_");
    let builder = Server::builder().flag("--store", &database.url_of("ow_")).flag("--log", "debug");
    let server = builder.variable("WHISKER_AES_128_KEY", AES_128).start();
    server.said("store: CouchDB at http://127.0.0.1:");
    let guest = server.guest();

    // What there is.
    assert_eq!(names(&guest.get("packages").expect(200)), ["tools"]);
    assert_eq!(names(&guest.get("triggers").expect(200)), ["lonely", "tick", "undated"]);
    assert_eq!(names(&guest.get("rules").expect(200)), ["asleep", "on-tick", "plainly"]);
    assert_eq!(
        names(&guest.get("actions?limit=3").expect(200)),
        ["parts", "heard", "locked"],
        "dates that are texts come first, as in OpenWhisk"
    );
    assert_eq!(guest.get("actions?count=true").expect(200), json!({"actions": 12}));
    let large = guest.get("actions/large").expect(200);
    assert!(large["exec"]["code"].as_str().is_some_and(|code| code.len() > 20_000));
    assert_eq!(guest.get("actions/parts").expect(200)["exec"]["components"].as_array().map(Vec::len), Some(2));
    assert_eq!(guest.get("rules/on-tick").expect(200)["status"], "active");
    assert_eq!(guest.get("rules/asleep").expect(200)["status"], "inactive");

    // It runs: from documents, from attachments, from an archive.
    assert_eq!(guest.result("hello", &json!({"name": "Ann"})), json!({"hello": "Ann"}));
    assert_eq!(guest.result("tools/shout", &json!({"name": "ann"})), json!({"shout": "ANN"}));
    assert_eq!(guest.result("large", &json!({})), json!({"large": true}));
    assert_eq!(guest.result("archive", &json!({})), json!({"archive": "unpacked"}));
    assert_eq!(guest.result("bare", &json!({})), json!({"bare": true}));
    assert_eq!(guest.result("chain", &json!({"name": "ann"})), json!({"shout": "ANN"}));
    assert_eq!(guest.result("locked", &json!({})), json!({"locked": "s3cret", "plain": "hi"}));
    guest.post("triggers/tick", &json!({"now": 1})).expect(202);
    eventually(SOON, || match guest.get("activations?name=heard&docs=true").expect(200) {
        found if found[0]["response"]["result"]["heard"]["from"] == "tick" => Ok(()),
        other => Err(other.to_string()),
    });

    // Records of former days.
    let old = guest.get("activations/44794bd6aab74415b4e42a308d880e5b").expect(200);
    assert_eq!((&old["response"]["result"], &old["duration"]), (&json!({"hello": "world"}), &json!(12)));
    let logs = guest.get("activations/44794bd6aab74415b4e42a308d880e5b/logs").expect(200);
    assert_eq!(logs["logs"].as_array().map(Vec::len), Some(2));
    let before = guest.get("activations?upto=1700000250000").expect(200);
    assert_eq!(names(&before), ["chain", "shout", "hello"]);

    // Another namespace of the same subject, with limits; and one who may not.
    let team = Client::new(server.address(), Some(TEAM));
    assert_eq!(team.result("bound/shout", &json!({})), json!({"shout": "NOBODY"}), "what an action says wins");
    assert_eq!(team.get("/api/v1/namespaces/team/limits").expect(200)["firesPerMinute"], 7);
    assert_eq!(Client::new(server.address(), Some(MALLORY)).get("actions").status(), 401);
    assert!(!server.output().contains("secret@") && !server.output().contains("s3cret"), "{}", server.output());

    // What is written now has the members of what was written then.
    let fixtures = documents("whisks.json");
    let fixture = |id: &str| fixtures.iter().find(|document| document["_id"] == id).expect("it is there");
    let action = json!({"exec": {"kind": "nodejs:20", "code": "function main() { return {} }"}});
    guest.put("actions/hello2", &action).expect(200);
    let update = json!({"annotations": [{"key": "description", "value": "changed"}]});
    guest.put("actions/large?overwrite=true", &update).expect(200);
    guest.put("triggers/tock", &json!({})).expect(200);
    guest.put("rules/on-tock", &json!({"trigger": "/_/tock", "action": "/_/hello2"})).expect(200);
    guest.put("packages/more", &json!({})).expect(200);
    for (written, like) in
        [("hello2", "hello"), ("large", "large"), ("tock", "tick"), ("on-tock", "on-tick"), ("more", "tools")]
    {
        let mut written = members(&database.document("ow_whisks", &format!("guest/{written}")));
        written.remove("_rev");
        assert_eq!(written, members(fixture(&format!("guest/{like}"))), "{like}");
    }
    assert_eq!(guest.result("large", &json!({})), json!({"large": true}), "its attachment stayed");

    let run = guest.invoke("hello", &json!({})).expect(200);
    let id = run["activationId"].as_str().expect("an id");
    guest.record(id);
    let mut written = members(&database.document("ow_activations", &format!("guest/{id}")));
    written.remove("_rev");
    assert_eq!(written, members(&documents("activations.json")[0]));
}

#[test]
fn two_servers_on_one_database_hear_each_other() {
    let database = CouchDb::start(None);
    let url = database.url();
    let (one, other) =
        (Server::builder().flag("--store", &url).start(), Server::builder().flag("--store", &url).start());
    one.guest().node("work", "function main() { return { version: 1 } }");
    assert_eq!(other.guest().result("work", &json!({})), json!({"version": 1}));
    one.guest().node("work", "function main() { return { version: 2 } }");
    eventually(SOON, || match other.guest().result("work", &json!({})) {
        new if new == json!({"version": 2}) => Ok(()),
        old => Err(old.to_string()),
    });
    one.guest().delete("actions/work").expect(200);
    eventually(SOON, || match other.guest().get("actions/work").status() {
        404 => Ok(()),
        status => Err(status.to_string()),
    });
}

#[test]
fn what_is_not_understood_is_named() {
    let database = CouchDb::start(None);
    load(&database, "ow_");
    let check_of = |prefix: &str| {
        let mut command = Command::new(binary_path());
        let Output { status, stdout, stderr } =
            command.args(["store", "check", &database.url_of(prefix)]).output().expect("the binary runs");
        (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
    };
    let check = || check_of("ow_");
    let mut old = documents("whisks.json").swap_remove(0);
    (old["_id"], old["name"], old["exec"]["kind"]) = (json!("guest/old"), json!("old"), json!("nodejs:6"));
    database.load("ow_whisks", &[old]);
    let (code, words) = check();
    assert_eq!(code, Some(0), "{words}");
    for told in [
        "guest/old is of kind nodejs:6, which is not known",
        "guest/image-with-code is an image, and runs with --containers docker only",
        "guest/locked has parameters that cannot be decrypted: there is no key for aes-128",
    ] {
        assert!(words.contains(&format!("will not run as it is: {told}\n")), "{told}: {words}");
    }
    let (code, words) = check_of("oh_");
    assert!(code == Some(1) && words.contains("there is no database oh_subjects"), "{words}");
    let odd = documents("unreadable.json");
    for entry in &odd {
        let name = entry["database"].as_str().expect("a name");
        database.load(&format!("ow_{name}"), &[entry["document"].clone()]);
    }
    let (code, words) = check();
    assert_eq!(code, Some(1), "{words}");
    for entry in &odd {
        let (id, why) = (entry["document"]["_id"].as_str().expect("an id"), entry["why"].as_str().expect("words"));
        assert!(words.lines().any(|line| line.contains(id) && line.contains(why)), "{id}, {why}: {words}");
    }
}
