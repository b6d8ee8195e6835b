//! `whisker admin`, beside a server that serves and without one.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;
use whisker_testkit::{Client, GUEST, Server, binary_path};

/// Exit code, standard output and standard error.
fn admin(data_dir: &Path, line: &str) -> (i32, String, String) {
    let mut command = Command::new(binary_path());
    command.arg("admin").arg("--data-dir").arg(data_dir).args(line.split_whitespace());
    let output = command.stdin(Stdio::null()).env_remove("WHISKER_SETTINGS").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// What a command that succeeds prints.
#[track_caller]
fn done(data_dir: &Path, line: &str) -> String {
    let (code, out, err) = admin(data_dir, line);
    assert_eq!((code, err.as_str()), (0, ""), "{line}: {out}");
    out.trim_end().to_owned()
}

#[test]
fn changes_count_at_once_while_a_server_serves() {
    let server = Server::start();
    let folder = server.data_dir();
    let key = done(&folder, "user create alice");
    let alice = Client::new(server.address(), Some(&key));
    assert_eq!(alice.get("/api/v1/namespaces").expect(200), json!(["alice"]));

    assert_eq!(done(&folder, "user block alice"), "\"alice\" blocked successfully");
    alice.get("limits").refusal(401);
    assert_eq!(done(&folder, "user unblock alice"), "\"alice\" unblocked successfully");
    alice.get("limits").expect(200);

    let new = done(&folder, "user create alice --revoke");
    alice.get("limits").refusal(401);
    let alice = Client::new(server.address(), Some(&new));
    alice.get("limits").expect(200);
    assert_eq!(done(&folder, &format!("user whois {new}")), "subject: alice\nnamespace: alice");

    let team = done(&folder, "user create alice -ns team");
    assert_eq!(Client::new(server.address(), Some(&team)).get("/api/v1/namespaces").expect(200), json!(["team"]));
    assert_eq!(done(&folder, "user get alice -a"), format!("alice\t{new}\nteam\t{team}"));

    done(&folder, "limits set alice --maxActionMemory 256 --firesPerMinute 0 --maxPayloadSize 10B");
    let limits = alice.get("limits").expect(200);
    assert_eq!((&limits["maxActionMemory"], &limits["maxPayloadSize"]), (&json!(256), &json!("10 B")));
    alice.put("triggers/t", &json!({})).expect(200);
    alice.post("triggers/t", &json!({})).refusal(429);
    assert_eq!(done(&folder, "limits delete alice"), "Limits deleted");
    assert_eq!(alice.post("triggers/t", &json!({})).status(), 204);

    assert_eq!(done(&folder, "user delete alice"), "Subject deleted");
    alice.get("limits").refusal(401);
    server.guest().get("limits").expect(200);
    let output = server.stop().output;
    assert!(!output.contains(new.split(':').nth(1).unwrap()), "keys are not logged: {output}");
}

#[test]
fn without_a_server_the_folder_is_changed() {
    let server = Server::start();
    let folder = server.data_dir();
    let stopped = server.stop();
    let key = done(&folder, "user create alice");
    assert_eq!(done(&folder, "user get guest"), GUEST);
    let (code, out, err) = admin(&folder, "user create alice");
    assert_eq!((code, out.as_str(), err.as_str()), (1, "", "Namespace already exists\n"));
    assert_eq!(admin(&folder, "user block alice nobody").0, 1, "as many as failed");
    done(&folder, "user unblock alice");
    let server = stopped.start();
    Client::new(server.address(), Some(&key)).get("limits").expect(200);

    // A killed server leaves its socket behind.
    let killed = server.kill();
    done(&folder, "user block alice");
    let server = killed.start();
    Client::new(server.address(), Some(&key)).get("limits").refusal(401);
}

#[test]
fn a_folder_that_is_none_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let (code, out, err) = admin(&missing, "user create alice");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("holds no server's data"), "{err}");
    assert!(!missing.exists());
    let (code, _, err) = admin(&missing, "user create");
    assert_eq!(code, 2, "{err}");
}
