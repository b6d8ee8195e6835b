//! Containers that were made before anybody asked.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{fs, path::PathBuf, time::Instant};

use common::{Own, PATIENCE, instances, loaded, once, processes, sandbox_with};
use serde_json::{Value, json};
use whisker_sandbox::{RunEnd, Sandbox, testing::contract};

/// What a function sees of where it runs.
const LOOK: &str = "import os, sys\n\
    def main(args):\n    \
        shown = {name: value for name, value in os.environ.items() if not name.startswith('__OW_')}\n    \
        return {'environment': shown, 'folder': os.getcwd(), 'command': sys.orig_argv, 'user': os.getuid(),\n        \
            'prepared': sorted(os.listdir('/prepared')), 'descriptors': sorted(os.listdir('/proc/self/fd'))}\n";

fn folders(own: &Own) -> Vec<PathBuf> {
    let containers = own.folder.path().join("sandbox/containers");
    let mut found: Vec<PathBuf> = fs::read_dir(containers).unwrap().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// Waits until a look has something to show.
async fn eventually<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let patience = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < patience, "not so after {PATIENCE:?}: {what}");
        tokio::task::yield_now().await;
    }
}

/// Waits until as many containers are there, and gives their folders.
async fn until(own: &Own, count: usize) -> Vec<PathBuf> {
    eventually("so many containers", || Some(folders(own)).filter(|found| found.len() == count)).await
}

fn sandbox(spares: usize) -> Own {
    sandbox_with(|config| {
        config.spares = spares;
        config.environment = [("BY_OPERATOR".to_owned(), "it's $HOME".to_owned())].into();
    })
}

async fn look(own: &Own) -> Value {
    let (end, logs) = once(&own.sandbox, "python:3.11", LOOK, json!({})).await;
    match end {
        RunEnd::Answered(raw) => serde_json::from_str(raw.get()).unwrap(),
        other => panic!("{other:?} {logs:?}"),
    }
}

#[tokio::test]
async fn a_function_cannot_tell_a_spare_container_from_another() {
    let without = sandbox(0);
    without.sweep().await.unwrap();
    let made = look(&without).await;
    assert_eq!(made["environment"]["BY_OPERATOR"], "it's $HOME");

    let with = sandbox(2);
    with.sweep().await.unwrap();
    let before = until(&with, 2).await;
    let container = loaded(&with.sandbox, "python:3.11", 256, LOOK).await;
    let answer = contract::answer(container.run(contract::run(2, &json!({})), PATIENCE).await);
    assert_eq!(answer, made);
    // It is one of those, and another is made in its place.
    let after = until(&with, 3).await;
    assert!(before.iter().all(|folder| after.contains(folder)), "{before:?} {after:?}");
    container.destroy().await;
    let left = until(&with, 2).await;
    assert!(!before.iter().all(|folder| left.contains(folder)), "{before:?} {left:?}");
}

#[tokio::test]
async fn every_kind_starts_from_one() {
    let own = sandbox(2);
    own.sweep().await.unwrap();
    let codes = [
        ("nodejs:20", "function main(args) { return { n: args.n }; }"),
        ("python:3.11", "def main(args):\n    return {'n': args['n']}\n"),
        ("ruby:2.5", "def main(args)\n  { 'n' => args['n'] }\nend\n"),
        ("php:8.1", "<?php\nfunction main(array $args): array { return ['n' => $args['n']]; }\n"),
        ("blackbox:openwhisk/dockerskeleton", "#!/bin/sh\necho \"$1\"\n"),
    ];
    for (kind, code) in codes {
        let before = until(&own, 2).await;
        let (end, logs) = once(&own.sandbox, kind, code, json!({ "n": 7 })).await;
        let RunEnd::Answered(raw) = end else { panic!("{kind}: {end:?} {logs:?}") };
        assert_eq!(serde_json::from_str::<Value>(raw.get()).unwrap(), json!({ "n": 7 }), "{kind}");
        let after = until(&own, 2).await;
        assert_eq!(before.iter().filter(|folder| after.contains(folder)).count(), 1, "{kind} took one");
    }
}

#[tokio::test]
async fn one_that_died_is_not_given_out() {
    let parent = format!("whisker-spares-{}", std::process::id());
    let own = sandbox_with(|config| {
        config.spares = 1;
        config.cgroup_parent = parent.clone();
    });
    own.sweep().await.unwrap();
    let spare = until(&own, 1).await;
    let name = spare[0].file_name().unwrap();
    let pids = eventually("a process in the spare container", || {
        Some(processes(&instances(&parent), |found| found == name)).filter(|pids| !pids.is_empty())
    })
    .await;
    // Some of them may end with the first.
    let _ = std::process::Command::new("kill").arg("-9").args(pids).output().unwrap();
    let answer = look(&own).await;
    assert_eq!(answer["folder"], "/tmp");
}

#[tokio::test]
async fn one_of_another_size_is_not_given_out_and_gives_way() {
    let own = sandbox(1);
    own.sweep().await.unwrap();
    let first = until(&own, 1).await;
    let container = loaded(&own.sandbox, "python:3.11", 128, LOOK).await;
    container.destroy().await;
    eventually("the first gives way to one of the size that was asked for", || {
        let left = folders(&own);
        (left.len() == 1 && left != first).then_some(())
    })
    .await;
}

#[tokio::test]
async fn nothing_of_them_is_left() {
    let own = sandbox(2);
    own.sweep().await.unwrap();
    until(&own, 2).await;
    let Own { sandbox, folder } = own;
    let containers = folder.path().join("sandbox/containers");
    drop(sandbox);
    eventually("no folder of a spare container", || (fs::read_dir(&containers).unwrap().count() == 0).then_some(()))
        .await;
}
