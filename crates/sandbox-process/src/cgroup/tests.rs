#![allow(clippy::unwrap_used, reason = "tests")]

//! On this host's own cgroups: needs root.

use std::process::{Child, Command};

use super::*;

const LIMITS: Limits = Limits { memory_mb: 64, processes: 10 };

/// A group of its own with a process in it that would sleep for long.
fn occupied(hierarchies: &Hierarchies, name: &str) -> (Groups, Group, Child) {
    let parent = format!("whisker-test-{name}-{}", std::process::id());
    let groups = Groups::prepare(hierarchies, &parent, "instance").unwrap();
    let group = groups.create("1".to_owned(), LIMITS).unwrap();
    let child = Command::new("sleep").arg("1000").spawn().unwrap();
    for tree in &groups.trees {
        fs::write(tree.folder.join("1/cgroup.procs"), child.id().to_string()).unwrap();
    }
    (groups, group, child)
}

fn clear(groups: &Groups) {
    groups.remove();
    for tree in &groups.trees {
        let parent = tree.folder.parent().unwrap();
        assert!(!parent.exists(), "{} was made for this instance alone", parent.display());
    }
}

async fn freezes_and_dies(hierarchies: Hierarchies, name: &str) {
    let (groups, group, mut child) = occupied(&hierarchies, name);
    assert_eq!(group.memory_kills(), 0);
    for _ in 0..3 {
        group.freeze(true).await.unwrap();
        group.freeze(false).await.unwrap();
    }
    // Killed while it is frozen.
    group.freeze(true).await.unwrap();
    group.kill();
    child.wait().unwrap();
    assert!(group.remove().await);
    assert!(group.remove().await, "twice is fine");
    clear(&groups);
}

#[tokio::test]
async fn a_group_is_frozen_and_killed_by_what_the_host_has() {
    freezes_and_dies(Hierarchies::discover().unwrap(), "any").await;
}

#[tokio::test]
async fn a_group_of_version_1_alone_is_frozen_and_killed() {
    let old = Hierarchies::discover().unwrap().only(Version::V1);
    if old.with("freezer").is_some() {
        freezes_and_dies(old, "v1").await;
    }
}

#[tokio::test]
async fn what_a_former_life_left_is_found() {
    let (groups, group, mut child) = occupied(&Hierarchies::discover().unwrap(), "left");
    drop(group);
    let leftovers = groups.leftovers();
    assert_eq!(leftovers.iter().map(Group::name).collect::<Vec<_>>(), ["1"]);
    leftovers[0].kill();
    child.wait().unwrap();
    assert!(leftovers[0].remove().await);
    clear(&groups);
}

#[test]
fn a_missing_controller_is_named() {
    let none = Hierarchies::default();
    let lacking = Groups::prepare(&none, "whisker", "instance").unwrap_err();
    assert!(matches!(lacking, Lacking::Controller("memory")), "{lacking}");
}

#[test]
fn a_parent_stays_if_it_is_an_administrators_or_still_in_use() {
    let hierarchies = Hierarchies::discover().unwrap();
    let parent = format!("whisker-test-parent-{}", std::process::id());
    let first = Groups::prepare(&hierarchies, &parent, "first").unwrap();
    // To the second one it was there already, as an administrator's would be.
    let second = Groups::prepare(&hierarchies, &parent, "second").unwrap();
    first.remove();
    let parents: Vec<&Path> = second.trees.iter().map(|tree| tree.folder.parent().unwrap()).collect();
    assert!(second.trees.iter().all(|tree| tree.folder.exists()));
    second.remove();
    assert!(second.trees.iter().all(|tree| !tree.folder.exists()));
    for parent in parents {
        fs::remove_dir(parent).unwrap();
    }
}
