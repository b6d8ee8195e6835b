#![allow(clippy::unwrap_used, reason = "tests")]

//! On this host's own cgroups: needs root.

use std::{ffi::CString, fs::File, os::fd::AsFd, path::Path};

use super::*;
use crate::cgroup::{Groups, Hierarchies, Limits};

/// A place for containers, and the first of them with this program in it.
struct Place {
    groups: Groups,
    parent: String,
    folder: tempfile::TempDir,
}

impl Place {
    fn new(name: &str) -> Place {
        let parent = format!("whisker-test-{name}-{}", std::process::id());
        let groups = Groups::prepare(&Hierarchies::discover().unwrap(), &parent, "instance").unwrap();
        Place { groups, parent, folder: tempfile::tempdir().unwrap() }
    }

    fn spawn(&self, words: &[&str]) -> (spawn::Child, Group, Belongings) {
        let group = self.groups.create("1".to_owned(), Limits { memory_mb: 64, processes: 10 }).unwrap();
        let doors = group.doors().unwrap();
        let words: Vec<CString> = words.iter().map(|word| CString::new(*word).unwrap()).collect();
        let nothing = File::open("/dev/null").unwrap();
        let plan = spawn::Plan {
            program: words[0].clone(),
            arguments: words,
            environment: Vec::new(),
            descriptors: vec![(nothing.as_fd(), 0)],
            groups: doors.tasks.iter().map(AsFd::as_fd).collect(),
            birthplace: doors.birthplace.as_ref().map(AsFd::as_fd),
            network: None,
            stage: None,
            user: None,
            limits: Vec::new(),
            new_session: false,
            die_with_parent: false,
        };
        let child = spawn::spawn(&plan).unwrap();
        let folder = self.folder.path().join("1");
        fs::create_dir(&folder).unwrap();
        (child, group, Belongings { folder, user: None, network: None })
    }

    /// The container's groups, in whatever trees there are.
    fn groups(&self) -> Vec<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        let trees = fs::read_dir(root).unwrap().flatten().map(|entry| entry.path()).chain([root.to_owned()]);
        trees.map(|tree| tree.join(&self.parent).join("instance/1")).filter(|group| group.exists()).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.groups.remove();
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_counts_as_there_until_its_last_process_is_gone() {
    let place = Place::new("unkillable");
    let (child, group, belongings) = place.spawn(&["/usr/bin/sleep", "1000"]);
    let folder = belongings.folder.clone();
    // What cannot be killed holds its group; a group inside of it does so too.
    let held: Vec<PathBuf> = place.groups().into_iter().map(|group| group.join("held")).collect();
    held.iter().for_each(|group| fs::create_dir(group).unwrap());

    let body = Body::adopt(child, Some(group), belongings).await.unwrap();
    body.bury();
    body.until(Life::Dead).await;
    let waited = time::timeout(Duration::from_secs(600), body.until(Life::Buried)).await;
    assert!(waited.is_err() && folder.exists(), "what it had is not given back");

    held.iter().for_each(|group| fs::remove_dir(group).unwrap());
    body.until(Life::Buried).await;
    assert!(!folder.exists() && place.groups().is_empty());
}

#[tokio::test]
async fn a_child_that_cannot_be_watched_is_ended_and_collected() {
    let place = Place::new("stillborn");
    let (child, group, belongings) = place.spawn(&["/usr/bin/sleep", "1000"]);
    let (pid, folder) = (child.pid, belongings.folder.clone());
    // No event can be had of an ordinary file.
    let child = spawn::Child { pid, handle: tempfile::tempfile().unwrap().into() };
    assert!(Body::adopt(child, Some(group), belongings).await.is_err());
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "it is not even a zombie");
    assert!(!folder.exists() && place.groups().is_empty());
}
