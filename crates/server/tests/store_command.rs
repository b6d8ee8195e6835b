//! `whisker store`: what a server kept in its folder is served from a database,
//! and the other way round. `whisker admin` finds users where they are.

use std::process::{Command, Output};

use serde_json::json;
use whisker_testkit::{Builder, Certificate, Cosmos, CouchDb, GUEST, Postgres, Server, binary_path, eventually};

fn whisker(words: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let mut command = Command::new(binary_path());
    command.args(words).envs(variables.iter().copied());
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    (status.code().expect("it ends by itself"), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

#[test]
fn a_folder_is_copied_to_a_database_and_back() {
    let server = Server::start();
    let guest = server.guest();
    guest.node("work", "function main(p) { return { got: p.n } }");
    guest.put("packages/pkg", &json!({})).expect(200);
    guest.node("pkg/again", "function main(p) { return { got: p.n } }");
    guest.put("triggers/t", &json!({})).expect(200);
    guest.put("rules/r", &json!({"trigger": "/_/t", "action": "/_/work"})).expect(200);
    for n in 0..20 {
        guest.result("work", &json!({"n": n}));
    }
    let count = |server: &Server| server.guest().get("activations?count=true").expect(200)["activations"].as_u64();
    eventually(std::time::Duration::from_secs(30), || match count(&server) {
        Some(20) => Ok(()),
        n => Err(format!("{n:?} records")),
    });
    let lists = |server: &Server| {
        ["actions", "packages", "triggers", "rules", "activations?docs=true"]
            .map(|list| server.guest().get(list).json())
    };
    let before = lists(&server);
    let folder = format!("sqlite:{}", server.data_dir().display());
    let database = Postgres::start();
    let (url, password) = (database.database(), database.password());

    // A folder is one server's at a time.
    let (code, words) = whisker(&["store", "check", &folder], &[]);
    assert!(code == 1 && words.contains("is in use by another server"), "{words}");
    let stopped = server.stop();
    let to = [("WHISKER_TO_PASSWORD", password)];
    let (code, words) = whisker(&["store", "copy", &folder, &url], &to);
    assert_eq!(code, 0, "{words}");
    assert!(words.contains("20 activation records") && words.contains("2 actions"), "{words}");
    let (code, words) = whisker(&["store", "copy", &folder, &url], &to);
    assert!(code == 1 && words.contains("the target is not empty"), "{words}");
    let (code, words) = whisker(&["store", "copy", &folder, &url, "--resume"], &to);
    assert_eq!(code, 0, "{words}");
    let (code, words) = whisker(&["store", "check", &url], &[("WHISKER_STORE_PASSWORD", password)]);
    assert!(code == 0 && !words.contains("not understood"), "{words}");
    let (code, words) = whisker(&["store", "check", "mysql://anna:hunter2@host/db"], &[]);
    assert!(code == 1 && !words.contains("hunter2"), "{words}");

    let server = database.serving(&url).start();
    server.said("store: PostgreSQL at localhost:");
    assert!(!server.output().contains(password), "{}", server.output());
    assert_eq!(lists(&server), before);
    assert_eq!(server.guest().result("pkg/again", &json!({"n": 1})), json!({"got": 1}));

    // Users are where the server's are, whether it runs or not.
    let data = server.data_dir().display().to_string();
    let admin = |words: &[&str]| {
        let all = [&["admin", "--data-dir", &data, "--store", &url], words].concat();
        whisker(&all, &[("WHISKER_STORE_PASSWORD", password)])
    };
    let (code, key) = admin(&["user", "create", "anna-b"]);
    assert_eq!(code, 0, "{key}");
    let anna = whisker_testkit::Client::new(server.address(), Some(key.trim()));
    assert_eq!(anna.get("actions").status(), 200);
    server.stop();
    let (code, words) = admin(&["user", "get", "anna-b"]);
    assert_eq!((code, words.trim()), (0, key.trim()));

    // And back, into a new folder.
    let again = stopped.builder().data_dir().with_file_name("again");
    let from = [("WHISKER_FROM_PASSWORD", password)];
    let (code, words) = whisker(&["store", "copy", &url, &format!("sqlite:{}", again.display())], &from);
    assert_eq!(code, 0, "{words}");
    assert!(words.contains("21 activation records") && words.contains("3 users"), "{words}");
}

/// Over TLS: into OpenWhisk's documents and attachments, and out of them again.
#[test]
fn a_folder_is_copied_to_a_couchdb_and_back() {
    let database = CouchDb::secured();
    let url = database.url();
    let settings = Server::builder().flag("--store", &url);
    is_copied_there_and_back(&url, &[], &settings, "store: CouchDB at https://localhost:");

    // Another certificate's server is nobody's.
    let (_, other) = url.split_once("&ca=").expect("it names one");
    let stranger = Certificate::new(&["localhost"]);
    let strange = url.replace(other.split('&').next().expect("a path"), &stranger.path().display().to_string());
    let (code, words) = whisker(&["store", "check", &strange], &[]);
    assert!(code == 1 && words.contains("certificate"), "{words}");
}

/// Over TLS, too, and with code in pieces.
#[test]
fn a_folder_is_copied_to_a_cosmos_and_back() {
    let account = Cosmos::start();
    let url = account.url();
    let passwords = ["WHISKER_FROM_PASSWORD", "WHISKER_TO_PASSWORD", "WHISKER_STORE_PASSWORD"];
    let passwords = passwords.map(|name| (name, account.key()));
    let settings = account.serving(&url);
    is_copied_there_and_back(&url, &passwords, &settings, "store: Cosmos DB at https://localhost:");
    let (code, words) = whisker(&["store", "check", &url], &[("WHISKER_STORE_PASSWORD", "d3Jvbmc=")]);
    assert!(code == 1 && words.contains("401"), "{words}");
}

/// A folder's server and that of its copy show the same, and so does one of the
/// copy's copy. `settings` are those of a server at `url`, which then says `words`.
#[track_caller]
fn is_copied_there_and_back(url: &str, passwords: &[(&str, &str)], settings: &Builder, said: &str) {
    let server = Server::start();
    let guest = server.guest();
    guest.put("packages/pkg", &json!({"parameters": [{"key": "n", "value": 7}]})).expect(200);
    guest.node("pkg/work", "function main(p) { return { got: p.n } }");
    let long = format!("// {}\nfunction main(p) {{ return {{ got: p.n }} }}", "x".repeat(100_000));
    guest.node("attached", &long);
    guest.put("triggers/t", &json!({})).expect(200);
    guest.put("rules/r", &json!({"trigger": "/_/t", "action": "/_/attached"})).expect(200);
    let ids: Vec<_> = (0..10).map(|n| guest.accept("attached", &json!({"n": n}))).collect();
    ids.iter().for_each(|id| drop(guest.record(id)));
    let shown = |server: &Server| {
        ["actions", "packages", "triggers", "rules", "activations?docs=true", "actions/attached", "actions/pkg/work"]
            .map(|path| server.guest().get(path).expect(200))
    };
    let before = shown(&server);
    let folder = format!("sqlite:{}", server.data_dir().display());
    let stopped = server.stop();

    let copied = |from: &str, to: &str| {
        let (code, words) = whisker(&["store", "copy", from, to], passwords);
        assert_eq!(code, 0, "{words}");
        assert!(words.contains("10 activation records") && words.contains("2 actions"), "{words}");
    };
    copied(&folder, url);
    let (code, words) = whisker(&["store", "copy", &folder, url], passwords);
    assert!(code == 1 && words.contains("the target is not empty"), "{words}");
    let (code, words) = whisker(&["store", "copy", &folder, url, "--resume"], passwords);
    assert_eq!(code, 0, "{words}");
    let (code, words) = whisker(&["store", "check", url], passwords);
    assert!(code == 0 && !words.contains("not understood"), "{words}");

    let again = format!("sqlite:{}", stopped.builder().data_dir().with_file_name("again").display());
    copied(url, &again);
    let folders = stopped.builder().flag("--store", &again);
    for (settings, said) in [(&folders, "/again"), (settings, said)] {
        let server = settings.start();
        server.said(said);
        assert_eq!(shown(&server), before);
        assert_eq!(server.guest().result("pkg/work", &json!({})), json!({"got": 7}));
        assert_eq!(server.guest().result("attached", &json!({"n": 1})), json!({"got": 1}));
    }
}

/// What is sealed is copied by who has the key, and sealed where that is said.
#[test]
fn a_sealed_store_is_copied_with_its_key() {
    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let key = [("WHISKER_AES_256_KEY", KEY), ("WHISKER_PARAMETER_ENCRYPTION", "aes-256")];
    let settings = key.iter().fold(Server::builder(), |settings, (name, value)| settings.variable(name, value));
    let server = settings.start();
    let secret = GUEST.split_once(':').expect("two parts").1;
    let folder = format!("sqlite:{}", server.data_dir().display());
    let stopped = server.stop();
    let database = Postgres::start();
    let copy = |variables: &[(&str, &str)]| {
        let url = database.database();
        let variables = [variables, &[("WHISKER_TO_PASSWORD", database.password())]].concat();
        let (code, words) = whisker(&["store", "copy", &folder, &url], &variables);
        (code, words, String::from_utf8_lossy(&database.dump(&url)).matches(secret).count())
    };
    let (code, words, keys) = copy(&[]);
    assert!(code == 1 && words.contains("left out") && words.contains("guest"), "{words}");
    assert_eq!(keys, 0);
    let (code, words, keys) = copy(&key);
    assert_eq!((code, keys), (0, 0), "{words}");
    let (code, words, keys) = copy(&key[..1]);
    assert_eq!((code, keys), (0, 1), "in clear, since that is the setting: {words}");
    drop(stopped);
}

#[test]
fn two_servers_on_one_database_see_each_others_changes() {
    let database = Postgres::start();
    let url = database.database();
    let (one, other) = (database.serving(&url).start(), database.serving(&url).start());
    one.guest().node("work", "function main() { return { version: 1 } }");
    assert_eq!(other.guest().result("work", &json!({})), json!({"version": 1}));
    one.guest().node("work", "function main() { return { version: 2 } }");
    // What the other one remembered is soon forgotten.
    eventually(std::time::Duration::from_secs(10), || match other.guest().result("work", &json!({})) {
        new if new == json!({"version": 2}) => Ok(()),
        old => Err(old.to_string()),
    });
    one.guest().delete("actions/work").expect(200);
    eventually(std::time::Duration::from_secs(10), || match other.guest().get("actions/work").status() {
        404 => Ok(()),
        status => Err(status.to_string()),
    });
}
