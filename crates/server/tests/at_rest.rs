//! What a thief of the disk, of a dump or of the logs finds of users' secrets:
//! row 43 of the table of faults. `--nocapture` prints the figures.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs, io,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use serde_json::{Value, json};
use whisker_testkit::{Builder, Client, CouchDb, Postgres, Server, Stopped, base64, binary_path};

const AES_256: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW_AES_256: &str = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

const UUID: &str = "0b5e1d5c-4c8e-4f0e-9c3e-6d1f6a6f0001";
const KEY: &str = "annaskeyannaskeyannaskeyannaskeyannaskeyannaskeyannaskeyannaskey";
/// Of a package, of an action, one that becomes an environment, and an argument
/// of an activation that was accepted.
const PARAMETERS: [&str; 4] = ["pack-s3cret", "action-s3cret", "init-s3cret", "argument-s3cret"];

/// Takes the time that it is told to, and shows how much it knows.
const CODE: &str = "function main(p) {
    const known = [p.pack, p.own.password, process.env.TOKEN, p.argument].join().length;
    return new Promise(done => setTimeout(() => done({ known }), p.ms));
}";

fn secrets() -> Vec<String> {
    let key = [KEY.to_owned(), base64(format!("{UUID}:{KEY}").as_bytes())];
    key.into_iter().chain(PARAMETERS.map(str::to_owned)).collect()
}

fn admin(data_dir: &Path, variables: &[(&str, &str)], words: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(binary_path());
    command.args(["admin", "--data-dir"]).arg(data_dir).envs(variables.iter().copied());
    let Output { status, stdout, stderr } = command.args(words).output().unwrap();
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

fn anna(server: &Server) -> Client {
    Client::new(server.address(), Some(&format!("{UUID}:{KEY}")))
}

/// What the function should know of.
fn known() -> Value {
    json!({"known": PARAMETERS.join(",").len()})
}

fn arguments(ms: u64) -> Value {
    json!({"argument": PARAMETERS[3], "ms": ms})
}

/// A user with a package and an action, which runs, and which was accepted once
/// more when the server was killed: that activation's id.
fn plant(settings: &Builder, store: Option<&str>) -> (Stopped, String) {
    let server = settings.start();
    let create = ["user", "create", "anna-b", "-u", &format!("{UUID}:{KEY}"), "-s"];
    let store: Vec<_> = store.map(|store| ("WHISKER_STORE", store)).into_iter().collect();
    let (code, words) = admin(&server.data_dir(), &store, &create);
    assert_eq!(code, Some(0), "{words}");
    let anna = anna(&server);
    anna.put("packages/p", &json!({"parameters": [{"key": "pack", "value": PARAMETERS[0]}]})).expect(200);
    let action = json!({
        "exec": {"kind": "nodejs:20", "code": CODE},
        "parameters": [
            {"key": "own", "value": {"password": PARAMETERS[1]}},
            {"key": "TOKEN", "value": PARAMETERS[2], "init": true},
        ],
    });
    anna.put("actions/p/a", &action).expect(200);
    assert_eq!(anna.result("p/a", &arguments(0)), known());
    let id = anna.accept("p/a", &arguments(1_000));
    (server.kill(), id)
}

/// What was searched.
#[derive(Default)]
struct Search {
    files: u64,
    bytes: usize,
    hits: Vec<String>,
}

impl Search {
    fn text(&mut self, place: &str, bytes: &[u8], secrets: &[String]) {
        self.files += 1;
        self.bytes += bytes.len();
        let text = String::from_utf8_lossy(bytes);
        for secret in secrets {
            let hits = text.matches(secret.as_str()).count();
            self.hits.extend(vec![format!("{secret} in {place}"); hits]);
        }
    }

    /// Every file below a folder.
    fn folder(&mut self, folder: &Path, secrets: &[String]) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                self.folder(&path, secrets);
            } else if kind.is_file() {
                match fs::read(&path) {
                    Ok(bytes) => self.text(&path.display().to_string(), &bytes, secrets),
                    // Of containers that are being cleared away.
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound, "{}", path.display()),
                }
            }
        }
    }

    /// The data folder and the logs.
    fn of(stopped: &Stopped) -> Search {
        let (mut search, secrets) = (Search::default(), secrets());
        search.folder(&stopped.builder().data_dir(), &secrets);
        search.text("the logs", stopped.output.as_bytes(), &secrets);
        search
    }

    /// The databases of a CouchDB, of which subjects should not have these.
    #[track_caller]
    fn couchdb(&mut self, database: &CouchDb, in_subjects: &[String]) {
        for name in ["ow_whisks", "ow_activations", "ow_subjects"] {
            let all =
                database.client().get(&format!("/{name}/_all_docs?include_docs=true&attachments=true")).expect(200);
            assert!(all["rows"].as_array().is_some_and(|rows| !rows.is_empty()), "{name}: {all}");
            let all = all.to_string();
            if name == "ow_subjects" {
                assert!(all.contains(UUID), "uuids stay: {all}");
                self.text(name, all.as_bytes(), in_subjects);
            } else {
                self.text(name, all.as_bytes(), &secrets());
            }
        }
    }

    #[track_caller]
    fn found_nothing(self, what: &str) {
        let Search { files, bytes, hits } = self;
        eprintln!("{what}: {} hits in {files} files and texts of {bytes} bytes", hits.len());
        assert!(hits.is_empty(), "{what}: {hits:?}");
    }
}

fn sealing(settings: Builder) -> Builder {
    let settings = settings.flag("--log", "trace").flag("--parameter-encryption", "aes-256");
    settings.variable("WHISKER_AES_256_KEY", AES_256)
}

/// The server is there again and has all that it needs, the activation that was
/// accepted included.
fn goes_on(server: &Server, id: &str) {
    let anna = anna(server);
    anna.record_within(Duration::from_secs(60), id);
    assert_eq!(anna.result("p/a", &arguments(0)), known());
}

#[test]
fn without_a_key_all_of_it_is_found() {
    let (stopped, _) = plant(&Server::builder(), None);
    let hits = Search::of(&stopped).hits;
    for secret in secrets().iter().filter(|secret| !secret.starts_with(&base64(UUID.as_bytes())[..8])) {
        assert!(hits.iter().any(|hit| hit.starts_with(secret)), "the search would find {secret}: {hits:?}");
    }
}

#[test]
fn with_a_key_none_of_it_is_and_another_key_takes_its_place() {
    let settings = sealing(Server::builder());
    let (stopped, id) = plant(&settings, None);
    Search::of(&stopped).found_nothing("SQLite, journals and logs");

    let server = stopped.start();
    goes_on(&server, &id);
    let stopped = server.stop();
    Search::of(&stopped).found_nothing("the same later");
    let (status, output) = stopped.builder().variable("WHISKER_AES_256_KEY", NEW_AES_256).refused();
    assert!(!status.success() && output.contains("encrypted with a key that is not there"), "{output}");

    let both = format!("{NEW_AES_256}\n{AES_256}");
    let server = stopped.builder().variable("WHISKER_AES_256_KEY", &both).start();
    assert_eq!(anna(&server).result("p/a", &arguments(0)), known());
    let (code, words) = admin(&server.data_dir(), &[], &["secrets", "renew"]);
    assert_eq!((code, words.trim()), (Some(0), "written: 3 users, 2 actions and packages"));
    assert_eq!(anna(&server).result("p/a", &arguments(0)), known());
    anna(&server).put("packages/p?overwrite=true", &json!({"publish": true})).expect(200);
    let stopped = server.stop();
    let keys = [("WHISKER_AES_256_KEY", NEW_AES_256)];
    let (code, words) = admin(&stopped.builder().data_dir(), &keys, &["user", "get", "anna-b"]);
    assert_eq!((code, words.trim()), (Some(0), format!("{UUID}:{KEY}").as_str()));
    let (code, words) = admin(&stopped.builder().data_dir(), &[], &["user", "get", "anna-b"]);
    assert!(code == Some(1) && words.contains("encrypted with a key that is not there"), "{words}");
    let server = stopped.builder().variable("WHISKER_AES_256_KEY", NEW_AES_256).start();
    assert_eq!(anna(&server).result("p/a", &arguments(0)), known());
    Search::of(&server.stop()).found_nothing("SQLite, journals and logs with the next key");
}

#[test]
fn a_store_in_clear_is_sealed_when_asked() {
    let (stopped, _) = plant(&Server::builder(), None);
    let refused = stopped.builder().data_dir().join("refused-records.jsonl");
    let line = json!({"refused": "too large", "value": {"logs": [PARAMETERS[3]]}}).to_string();
    fs::write(&refused, format!("{line}\n")).unwrap();
    let server = sealing(stopped.builder()).start();
    let (code, words) = admin(&server.data_dir(), &[], &["secrets", "renew"]);
    assert_eq!((code, words.trim()), (Some(0), "written: 3 users, 2 actions and packages"));
    assert_eq!(anna(&server).result("p/a", &arguments(0)), known());
    let stopped = server.stop();
    let mut search = Search::of(&stopped);
    let parameters = |hit: &String| PARAMETERS[..3].iter().any(|secret| hit.starts_with(secret));
    search.hits.retain(|hit| !(parameters(hit) && hit.contains("store.db")));
    search.found_nothing("a store that was in clear, but for what SQLite leaves of documents");
    let show = |key: &str| {
        let mut command = Command::new(binary_path());
        let Output { status, stdout, stderr } =
            command.args(["store", "refused"]).arg(&refused).env("WHISKER_AES_256_KEY", key).output().unwrap();
        (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
    };
    assert_eq!(show(AES_256), (Some(0), format!("{line}\n")));
    let (code, words) = show(NEW_AES_256);
    assert!(code == Some(1) && words == "line 1: it is encrypted with a key that is not there\n", "{words}");
}

#[test]
fn neither_is_it_in_a_dump_of_postgres() {
    let database = Postgres::start();
    let url = database.database();
    let (stopped, id) = plant(&sealing(database.serving(&url)), Some(&url));
    let mut search = Search::of(&stopped);
    search.text("a dump", &database.dump(&url), &secrets());
    search.text("the logs of PostgreSQL", database.log().as_bytes(), &secrets());
    search.found_nothing("PostgreSQL, journals and logs");
    goes_on(&stopped.start(), &id);
}

#[test]
fn neither_is_it_in_a_couchdb_but_for_keys_which_are_openwhisks_own() {
    let database = CouchDb::start(None);
    let url = database.url_of("ow_");
    let (stopped, id) = plant(&sealing(Server::builder().flag("--store", &url)), Some(&url));
    let mut search = Search::of(&stopped);
    search.couchdb(&database, &secrets()[1..]);
    search.found_nothing("CouchDB, journals and logs, but for keys in subjects");
    goes_on(&stopped.start(), &id);
}

#[test]
fn nor_are_keys_where_users_are_sealed() {
    let database = CouchDb::start(None);
    let (clear, sealed) = (database.url_of("ow_"), database.url_of("ow_") + "&users=sealed");
    let (stopped, id) = plant(&sealing(Server::builder().flag("--store", &sealed)), Some(&sealed));
    let mut search = Search::of(&stopped);
    search.couchdb(&database, &secrets());
    search.found_nothing("CouchDB with sealed users, journals and logs");
    let server = stopped.start();
    goes_on(&server, &id);
    let stopped = server.stop();
    let subjects = || database.document("ow_subjects", "anna-b").to_string();
    assert!(!subjects().contains(KEY));

    let (status, output) = Server::builder().flag("--store", &sealed).refused();
    assert!(!status.success() && output.contains("users=sealed needs a key to encrypt with"), "{output}");
    let data_dir = stopped.builder().data_dir();
    let keys = [("WHISKER_AES_256_KEY", AES_256), ("WHISKER_PARAMETER_ENCRYPTION", "aes-256")];
    let on = |store| [keys[0], keys[1], ("WHISKER_STORE", store)];
    let (code, words) = admin(&data_dir, &[("WHISKER_STORE", &clear)], &["user", "get", "anna-b"]);
    assert!(code == Some(1) && words.contains("anna-b") && words.contains("a key that is not there"), "{words}");

    // A copy has them in clear or not, as its own settings say.
    let (from, to) = (clear.as_str(), database.url_of("copy_"));
    let mut copy = Command::new(binary_path());
    let Output { status, stderr, .. } = copy.args(["store", "copy", from, &to]).envs(keys).output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    assert!(database.document("copy_subjects", "anna-b").to_string().contains(KEY));

    // And back to what OpenWhisk reads.
    let renew = |store, written: &str| {
        let (code, words) = admin(&data_dir, &on(store), &["secrets", "renew"]);
        assert_eq!(
            (code, words.trim()),
            (Some(0), format!("written: {written} users, 0 actions and packages").as_str())
        );
    };
    renew(&sealed, "0");
    renew(&clear, "3");
    assert!(subjects().contains(KEY));
    renew(&sealed, "3");
    assert!(!subjects().contains(KEY));
}
