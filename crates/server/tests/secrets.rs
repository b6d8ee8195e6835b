//! Parameters that are encrypted where they are kept.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path};

use serde_json::{Value, json};
use whisker_testkit::Server;

const AES_128: &str = "AAECAwQFBgcICQoLDA0ODw==";
const AES_256: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Encrypted with another key.
const LOST: &str = "AAAADP/+/fz7+vn49/b19I1j7+6Cbamljf1lXY/rlr5sGGi2O0TGsg==";
const SECRETS: [&str; 3] = ["pack-s3cret", "action-s3cret", "init-s3cret"];

const CODE: &str = "function main(p) { return { ...p, env: process.env.TOKEN } }";

fn action() -> Value {
    json!({
        "exec": {"kind": "nodejs:20", "code": CODE},
        "parameters": [
            {"key": "own", "value": {"password": SECRETS[1]}},
            {"key": "TOKEN", "value": SECRETS[2], "init": true},
        ],
    })
}

/// What a parameter is as it is shown.
fn shown<'a>(entity: &'a Value, key: &str) -> &'a Value {
    entity["parameters"].as_array().unwrap().iter().find(|p| p["key"] == key).unwrap()
}

/// Whether some file below a folder holds a text.
fn holds(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()).any(|entry| match entry.file_type().unwrap() {
        kind if kind.is_dir() => entry.file_name() != "sandbox" && holds(&entry.path(), text),
        kind if kind.is_file() => {
            let bytes = fs::read(entry.path()).unwrap();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        }
        _ => false,
    })
}

#[test]
fn parameters_are_ciphertext_everywhere_but_in_user_code() {
    let builder = Server::builder().flag("--parameter-encryption", "aes-256").flag("--log", "trace");
    let server = builder.variable("WHISKER_AES_256_KEY", AES_256).start();
    let guest = server.guest();
    let package = json!({"parameters": [{"key": "pack", "value": SECRETS[0]}]});
    guest.put("packages/p", &package).expect(200);
    guest.put("actions/p/a", &action()).expect(200);
    let read = guest.get("actions/p/a").expect(200);
    for key in ["pack", "own", "TOKEN"] {
        assert_eq!(shown(&read, key)["encryption"], "aes-256");
        assert!(shown(&read, key)["value"].as_str().unwrap().starts_with("AAAAg"), "a nonce of 128 bytes");
    }
    assert_eq!(shown(&read, "TOKEN")["init"], true);

    let invoke = |payload: &Value| {
        let mut result = guest.post("actions/p/a?blocking=true&result=true", payload).expect(200);
        (result["own"].take(), result["pack"].take(), result["env"].take())
    };
    let all = (json!({"password": SECRETS[1]}), json!(SECRETS[0]), json!(SECRETS[2]));
    for _ in 0..2 {
        assert_eq!(invoke(&json!({})), all);
    }
    assert_eq!(invoke(&json!({"pack": "mine"})).1, "mine", "what is overridden is not decrypted");

    // What was read can be put again, and an update leaves the rest as it is.
    let again = json!({"parameters": read["parameters"], "exec": {"kind": "nodejs:20", "code": CODE}});
    guest.put("actions/p/a?overwrite=true", &again).expect(200);
    guest.put("actions/p/a?overwrite=true", &json!({"limits": {"timeout": 5000}})).expect(200);
    assert_eq!(shown(&guest.get("actions/p/a").expect(200), "own"), shown(&read, "own"));
    assert_eq!(invoke(&json!({})), all);

    let stopped = server.stop();
    for secret in SECRETS {
        assert!(!stopped.output.contains(secret), "{secret} was logged");
    }
    // Results are what user code makes of them; here that is the secrets.
    // The folder goes with the last of these.
    let kept = stopped.builder();
    let server = stopped.start();
    server
        .guest()
        .put("actions/quiet", &{
            let mut quiet = action();
            quiet["exec"]["code"] = json!("function main(p) { return { length: p.own.password.length } }");
            quiet["parameters"][0]["value"]["password"] = json!("never-seen-s3cret");
            quiet
        })
        .expect(200);
    let result = server.guest().post("actions/quiet?blocking=true&result=true", &json!({})).expect(200);
    assert_eq!(result, json!({"length": 17}));
    server.stop();
    assert!(holds(&kept.data_dir(), "quiet") && !holds(&kept.data_dir(), "never-seen-s3cret"));
}

#[test]
fn keys_outlive_the_algorithm_and_a_missing_one_stops_the_run() {
    let keys = tempfile::tempdir().unwrap();
    let file = keys.path().join("key");
    fs::write(&file, format!("{AES_128}\n")).unwrap();
    let encrypting = Server::builder()
        .flag("--parameter-encryption", "aes-128")
        .flag("--aes-128-key-file", file.to_str().unwrap())
        .start();
    encrypting.guest().put("actions/a", &action()).expect(200);
    let stopped = encrypting.stop();

    let off = stopped.builder().flag("--parameter-encryption", "off").start();
    let guest = off.guest();
    let result = |guest: &whisker_testkit::Client| guest.post("actions/a?blocking=true", &json!({})).json();
    assert_eq!(result(&guest)["response"]["result"]["own"]["password"], SECRETS[1]);
    guest.put("actions/b", &action()).expect(200);
    assert_eq!(shown(&guest.get("actions/b").expect(200), "own").get("encryption"), None);

    // Of a key that is gone.
    let mut lost = action();
    lost["parameters"][0] = json!({"key": "own", "encryption": "aes-128", "value": LOST});
    guest.put("actions/a?overwrite=true", &lost).expect(200);
    let record = result(&guest);
    let words = "The action was not run, since its parameter 'own' could not be decrypted.";
    assert_eq!(record["response"]["result"]["error"], words, "{record}");
    assert_eq!(record["response"]["status"], "application error");

    // Nobody could ask a server that cannot read its users' keys.
    off.stop();
    fs::write(&file, "AAAAAAAAAAAAAAAAAAAAAA==").unwrap();
    let (status, output) = stopped.builder().refused();
    assert!(!status.success() && output.contains("encrypted with a key that is not there"), "{output}");
}

#[test]
fn a_server_that_cannot_encrypt_does_not_start() {
    let (status, output) = Server::builder().flag("--parameter-encryption", "aes-128").refused();
    assert!(!status.success() && output.contains("there is no key for aes-128"), "{output}");
    let bad = Server::builder().variable("WHISKER_AES_128_KEY", "c2hvcnQ=");
    let (status, output) = bad.refused();
    assert!(!status.success() && output.contains("is no key for aes-128"), "{output}");
    assert!(!output.contains("c2hvcnQ="), "{output}");
}
