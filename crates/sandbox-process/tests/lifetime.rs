//! What becomes of containers when their server ends, however it ends; and an
//! ordinary user as the server. Needs root, to become one.
//!
//! The servers are this very test program, run again with a variable set.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use common::{PATIENCE, instances, loaded, processes, sandbox_with, start};
use serde_json::json;
use whisker_sandbox::{Sandbox, testing::contract};
use whisker_sandbox_process::{Config, Network, ProcessSandbox};

const FOLDER: &str = "WHISKER_TEST_FOLDER";
const PARENT: &str = "WHISKER_TEST_PARENT";

/// Waits until `fact` holds.
fn eventually(what: &str, fact: impl Fn() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !fact() {
        assert!(Instant::now() < patience, "not so after {PATIENCE:?}: {what}");
        std::thread::yield_now();
    }
}

/// A server in another process: three containers, one of them paused.
#[tokio::test]
async fn server_for_the_tests_below() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let mut config = Config::new(folder);
    config.network = Network::None;
    config.first_user = 2_400_000;
    if let Ok(parent) = std::env::var(PARENT) {
        config.cgroup_parent = parent;
    }
    let sandbox = ProcessSandbox::new(config).unwrap_or_else(|error| panic!("{error}"));
    let echo = "def main(args):\n    return args\n";
    let mut containers = Vec::new();
    for _ in 0..3 {
        let container = loaded(&sandbox, "python:3.11", 128, echo).await;
        container.pause().await.unwrap();
        container.resume().await.unwrap();
        let answer = contract::answer(container.run(contract::run(2, &json!({ "n": 7 })), PATIENCE).await);
        assert_eq!(answer, json!({ "n": 7 }));
        containers.push(container);
    }
    containers[2].pause().await.unwrap();
    eprintln!("ready");
    std::future::pending::<()>().await;
}

fn server(program: &Path, wrapper: &[&str], folder: &Path, parent: Option<&str>) -> Child {
    let mut words: Vec<&str> = wrapper.to_vec();
    let program = program.to_str().unwrap();
    words.extend([program, "--exact", "server_for_the_tests_below", "--nocapture"]);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env(FOLDER, folder).stdout(Stdio::null()).stderr(Stdio::piped());
    if let Some(parent) = parent {
        command.env(PARENT, parent);
    }
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    if line.trim() != "ready" {
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        panic!("{line}{rest}");
    }
    child
}

#[tokio::test]
async fn nothing_outlives_a_server_that_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let parent = format!("whisker-test-{}", std::process::id());
    let sandbox = folder.path().join("sandbox");
    let mut child = server(&std::env::current_exe().unwrap(), &[], &sandbox, Some(&parent));
    let trees = instances(&parent);
    assert!(!trees.is_empty());
    assert!(processes(&trees, |_| true).len() >= 3 * 3, "{:?}", processes(&trees, |_| true));
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the containers are gone", || processes(&trees, |_| true).is_empty());
    assert!(fs::read_dir(sandbox.join("containers")).unwrap().count() >= 3);

    // The next life sweeps.
    let mut config = Config::new(&sandbox);
    config.network = Network::None;
    config.cgroup_parent = parent.clone();
    let next = ProcessSandbox::new(config).unwrap();
    next.sweep().await.unwrap();
    assert_eq!(fs::read_dir(sandbox.join("containers")).unwrap().count(), 0);
    for tree in &trees {
        assert_eq!(fs::read_dir(tree).unwrap().flatten().filter(|entry| entry.path().is_dir()).count(), 0);
    }
    drop(next);
    for tree in trees {
        assert!(!tree.exists(), "{}", tree.display());
        fs::remove_dir(tree.parent().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn two_servers_cannot_share_a_folder() {
    let own = sandbox_with(|_| {});
    let again = ProcessSandbox::new(Config::new(own.folder.path().join("sandbox")));
    let error = again.err().unwrap();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("another server"), "{error}");
}

/// Cgroups as an administrator would hand them to an ordinary user.
struct Delegated {
    name: String,
    folders: Vec<PathBuf>,
}

impl Delegated {
    fn to_nobody() -> Delegated {
        let name = format!("whisker-nobody-{}", std::process::id());
        let mounts =
            ["memory", "cpu", "pids", "freezer", "unified", ""].map(|tree| Path::new("/sys/fs/cgroup").join(tree));
        let mut folders = Vec::new();
        for mount in mounts.iter().filter(|mount| mount.join("cgroup.procs").exists()) {
            let folder = mount.join(&name);
            fs::create_dir(&folder).unwrap();
            let _ = fs::write(mount.join("cgroup.subtree_control"), "+memory +cpu +pids");
            // Version 2 lets nobody carry a process over from elsewhere: the
            // server has to be born in there.
            let server = folder.join("server");
            if folder.join("cgroup.subtree_control").exists() {
                fs::create_dir(&server).unwrap();
                chown(&server, Some(65534), Some(65534)).unwrap();
                chown(server.join("cgroup.procs"), Some(65534), Some(65534)).unwrap();
            }
            chown(&folder, Some(65534), Some(65534)).unwrap();
            for file in ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "tasks"] {
                let _ = chown(folder.join(file), Some(65534), Some(65534));
            }
            folders.push(folder);
        }
        Delegated { name, folders }
    }

    /// The group in which the server is born, if there is version 2.
    fn birthplace(&self) -> Option<PathBuf> {
        self.folders.iter().map(|folder| folder.join("server")).find(|folder| folder.exists())
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        fn remove(folder: &Path) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
                remove(&entry.path());
            }
            let _ = fs::remove_dir(folder);
        }
        for folder in &self.folders {
            remove(folder);
        }
    }
}

#[tokio::test]
async fn an_ordinary_user_can_be_the_server() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    chown(folder.path(), Some(65534), Some(65534)).unwrap();
    let program = folder.path().join("server");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();

    let delegated = Delegated::to_nobody();
    let enter = match delegated.birthplace() {
        Some(group) => format!("echo $$ > {}/cgroup.procs && exec \"$@\"", group.display()),
        None => "exec \"$@\"".to_owned(),
    };
    let wrapper =
        ["sh", "-c", &enter, "sh", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"];
    let mut child = server(&program, &wrapper, &folder.path().join("sandbox"), Some(&delegated.name));
    let trees = instances(&delegated.name);
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the containers are gone", || processes(&trees, |_| true).is_empty());
}

#[test]
fn an_ordinary_user_hears_what_is_missing() {
    let Ok(folder) = std::env::var("WHISKER_TEST_REFUSED") else {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        chown(folder.path(), Some(65534), Some(65534)).unwrap();
        let program = folder.path().join("server");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let status = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(["--exact", "an_ordinary_user_hears_what_is_missing"])
            .env("WHISKER_TEST_REFUSED", folder.path().join("sandbox"))
            .status();
        assert!(status.unwrap().success());
        return;
    };
    let said = |change: fn(&mut Config)| {
        let mut config = Config::new(&folder);
        change(&mut config);
        ProcessSandbox::new(config).err().unwrap().to_string()
    };
    let cgroups = said(|config| config.network = Network::None);
    assert!(cgroups.contains("/whisker/") && cgroups.contains("--cgroup-parent"), "{cgroups}");
}

#[tokio::test]
async fn without_isolation_only_when_told_so() {
    let own = sandbox_with(|config| config.insecure_no_sandbox = true);
    let container =
        loaded(&own, "python:3.11", 128, "import os\ndef main(args):\n    return {'uid': os.getuid()}\n").await;
    container.pause().await.unwrap();
    container.resume().await.unwrap();
    let answer = contract::answer(container.run(contract::run(2, &json!({})), PATIENCE).await);
    assert_eq!(answer, json!({ "uid": 0 }));
    container.destroy().await;
    let error = own.start(start("none:1", 1)).await.err().unwrap();
    assert!(error.to_string().contains("the manifest has no such kind"));
}
