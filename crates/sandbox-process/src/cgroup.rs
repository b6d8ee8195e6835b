//! Limits on memory, CPU and process count, freezing, and the count of kills
//! for want of memory: by cgroups, in version 1, version 2, or both at once.
//!
//! A host may have each controller in either version ("hybrid": version 1
//! controllers beside a version 2 tree without any). So a container's group is
//! a set of folders, one in each tree that is used, and each [`Control`] knows
//! which of them it is in and how it is spelt there. Freezing and killing are
//! taken from version 2 wherever there is a tree of it: a frozen process of
//! version 1 cannot be killed, and would outlive a server that was.
//!
//! A group is `<mount>/<parent>/<instance>/<number>`. The parent is `whisker`,
//! or what the settings name: a group that was delegated to an ordinary user.

mod hierarchy;
mod v1;
mod v2;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

pub(crate) use hierarchy::{Hierarchies, Hierarchy, Version};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time;

/// Limits of one container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub memory_mb: u32,
    pub processes: u32,
}

/// Everything that is asked of cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Control {
    Memory,
    Cpu,
    Processes,
    Freezer,
}

/// Where each control is on this host, below our own folder.
#[derive(Debug, Clone)]
pub(crate) struct Groups {
    memory: Place,
    cpu: Place,
    processes: Place,
    freezer: Place,
    /// The folders above, each once.
    trees: Vec<Place>,
    /// What is above them and was made for them, the innermost first: another
    /// server may have moved in meanwhile, or nobody needs it after us.
    parents: Vec<PathBuf>,
}

/// The folder of this instance in one tree.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    version: Version,
    folder: PathBuf,
}

/// What this host's cgroups do not offer.
#[derive(Debug, thiserror::Error)]
pub enum Lacking {
    /// No tree has the controller.
    #[error("the kernel offers no cgroup controller for {0}; mount it, or boot with it enabled")]
    Controller(&'static str),
    /// A group can be made, but not limited.
    #[error("cannot set the limits of a cgroup: {0}")]
    Limits(io::Error),
    /// A process of the server may not be moved into one.
    #[error(
        "a container's process may not join its cgroup: {0}; with version 2 the server itself must have \
         been started inside of the delegated group"
    )]
    Joining(io::Error),
    /// The parent group cannot be used.
    #[error("cannot make cgroups in {}: {source}", folder.display())]
    Parent {
        /// The parent group's folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Ways into a group.
#[derive(Debug)]
pub(crate) struct Doors {
    /// Files to write `0` to, of version 1.
    pub tasks: Vec<File>,
    /// The folder to be born in, of version 2: there is one tree of it.
    pub birthplace: Option<File>,
}

/// One container's group. Removing it is explicit, since that takes time.
#[derive(Debug)]
pub(crate) struct Group {
    groups: Groups,
    name: String,
}

impl Groups {
    /// Finds the controls, and makes the instance's folders in their trees.
    pub(crate) fn prepare(hierarchies: &Hierarchies, parent: &str, instance: &str) -> Result<Groups, Lacking> {
        let place = |hierarchy: &Hierarchy| Place {
            version: hierarchy.version,
            folder: hierarchy.mount.join(parent.trim_start_matches('/')).join(instance),
        };
        let find = |name| hierarchies.with(name).map(place).ok_or(Lacking::Controller(name));
        let (memory, cpu, processes) = (find("memory")?, find("cpu")?, find("pids")?);
        let mut candidates: Vec<Place> = hierarchies.unified().map(place).into_iter().collect();
        candidates.extend(hierarchies.with("freezer").map(place));

        let mut trees = Vec::new();
        for tree in [&memory, &cpu, &processes] {
            if !trees.contains(tree) {
                trees.push(tree.clone());
            }
        }
        let mut parents = Vec::new();
        for tree in &trees {
            parents.extend(tree.make()?);
        }
        // Any freezer will do; an ordinary user may have been given only one.
        let mut refused = Lacking::Controller("freezing");
        let mut freezer = None;
        for candidate in candidates {
            match candidate.make() {
                Ok(made) => {
                    parents.extend(made);
                    freezer = Some(candidate);
                    break;
                }
                Err(error) => refused = error,
            }
        }
        let freezer = freezer.ok_or(refused)?;
        if !trees.contains(&freezer) {
            trees.push(freezer.clone());
        }
        Ok(Groups { memory, cpu, processes, freezer, trees, parents })
    }

    fn place(&self, control: Control) -> &Place {
        match control {
            Control::Memory => &self.memory,
            Control::Cpu => &self.cpu,
            Control::Processes => &self.processes,
            Control::Freezer => &self.freezer,
        }
    }

    /// Makes a group and sets its limits. Blocks for a fraction of a millisecond.
    pub(crate) fn create(&self, name: String, limits: Limits) -> io::Result<Group> {
        let group = Group { groups: self.clone(), name };
        let made = group.make(limits);
        if made.is_err() {
            group.remove_folders();
        }
        made.map(|()| group)
    }

    /// Groups of a former life, for a sweep.
    pub(crate) fn leftovers(&self) -> Vec<Group> {
        let mut names: Vec<String> = Vec::new();
        for tree in &self.trees {
            let entries = fs::read_dir(&tree.folder).into_iter().flatten().flatten();
            for entry in entries.filter(|entry| entry.path().is_dir()) {
                let name = entry.file_name().to_string_lossy().into_owned();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names.into_iter().map(|name| Group { groups: self.clone(), name }).collect()
    }

    /// Kills what is left in the groups and removes them all, and their
    /// folders. For the end of the server: blocks, but not for long.
    pub(crate) fn remove(&self) {
        for group in self.leftovers() {
            group.kill();
            group.remove_empty();
        }
        for folder in self.trees.iter().map(|tree| &tree.folder).chain(&self.parents) {
            // Only housekeeping: an empty folder costs next to nothing. One
            // that is not empty stays.
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Place {
    /// Makes the folder. Which of those above it had to be made as well, the
    /// innermost first: an administrator's are not among them.
    fn make(&self) -> Result<Vec<PathBuf>, Lacking> {
        let refused = |source| Lacking::Parent { folder: self.folder.clone(), source };
        let missing = self.folder.ancestors().skip(1).take_while(|folder| !folder.exists());
        let parents = missing.map(Path::to_owned).collect();
        fs::create_dir_all(&self.folder).map_err(refused)?;
        if self.version == Version::V2 {
            v2::delegate(&self.folder).map_err(refused)?;
        }
        // Found out now rather than when the first function is called.
        let trial = self.folder.join("trial");
        fs::create_dir(&trial)
            .or_else(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Ok(()),
                _ => Err(error),
            })
            .map_err(refused)?;
        fs::remove_dir(&trial).map_err(refused)?;
        Ok(parents)
    }
}

impl Group {
    fn folder(&self, control: Control) -> (Version, PathBuf) {
        let place = self.groups.place(control);
        (place.version, place.folder.join(&self.name))
    }

    fn make(&self, limits: Limits) -> io::Result<()> {
        for tree in &self.groups.trees {
            fs::create_dir(tree.folder.join(&self.name))?;
        }
        let (version, folder) = self.folder(Control::Memory);
        match version {
            Version::V1 => v1::limit_memory(&folder, limits.memory_mb)?,
            Version::V2 => v2::limit_memory(&folder, limits.memory_mb)?,
        }
        let (version, folder) = self.folder(Control::Cpu);
        match version {
            Version::V1 => v1::share_cpu(&folder, limits.memory_mb)?,
            Version::V2 => v2::share_cpu(&folder, limits.memory_mb)?,
        }
        let (_, folder) = self.folder(Control::Processes);
        fs::write(folder.join("pids.max"), limits.processes.to_string())
    }

    /// How a process gets into the group.
    ///
    /// Version 1 has two files for it. `tasks` takes the writing thread alone,
    /// which for a process of one thread is the same, and spares the kernel a
    /// lock that costs ten milliseconds to take.
    pub(crate) fn doors(&self) -> io::Result<Doors> {
        let mut doors = Doors { tasks: Vec::new(), birthplace: None };
        for tree in &self.groups.trees {
            let folder = tree.folder.join(&self.name);
            match tree.version {
                Version::V1 => doors.tasks.push(File::options().write(true).open(folder.join("tasks"))?),
                Version::V2 => doors.birthplace = Some(File::open(folder)?),
            }
        }
        Ok(doors)
    }

    /// How many processes were killed because memory ran out.
    pub(crate) fn memory_kills(&self) -> u64 {
        let (version, folder) = self.folder(Control::Memory);
        let file = match version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        counter(&folder.join(file), "oom_kill").unwrap_or(0)
    }

    /// Freezes or thaws, and waits until every process is frozen.
    pub(crate) async fn freeze(&self, frozen: bool) -> io::Result<()> {
        let (version, folder) = self.folder(Control::Freezer);
        match version {
            Version::V1 => v1::freeze(&folder, frozen)?,
            Version::V2 => v2::freeze(&folder, frozen)?,
        }
        if !frozen {
            return Ok(());
        }
        let is_frozen = || match version {
            Version::V1 => v1::is_frozen(&folder),
            Version::V2 => Ok(counter(&folder.join("cgroup.events"), "frozen")? == 1),
        };
        let mut pauses = backoff();
        while !is_frozen()? {
            match pauses.next() {
                Some(pause) => time::sleep(pause).await,
                None => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        Ok(())
    }

    /// Kills every process, a frozen one too.
    pub(crate) fn kill(&self) {
        let (version, folder) = self.folder(Control::Freezer);
        // Without the file (before Linux 5.14), each by its number.
        if version == Version::V1 || fs::write(folder.join("cgroup.kill"), "1").is_err() {
            self.kill_but(0);
        }
    }

    /// Kills every process but one: how many those were.
    pub(crate) fn kill_but(&self, spared: i32) -> usize {
        let (version, folder) = self.folder(Control::Freezer);
        let list = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        let pids = list.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != spared);
        let killed = pids.filter_map(Pid::from_raw).filter(|pid| kill_process(*pid, Signal::KILL).is_ok()).count();
        if version == Version::V1 {
            // The signals are delivered once it has thawed.
            let _ = v1::freeze(&folder, false);
        }
        killed
    }

    /// Removes the group once its last process is gone. Bounded: gives up
    /// after some seconds, and leaves the rest to the next sweep.
    pub(crate) async fn remove(&self) -> bool {
        let mut pauses = backoff();
        while !self.remove_folders() {
            self.kill();
            match pauses.next() {
                Some(pause) => time::sleep(pause).await,
                None => return false,
            }
        }
        true
    }

    /// Removes the group once what was killed in it is gone, which takes a
    /// moment. Blocks for that; what takes longer is left to the next sweep.
    #[expect(clippy::disallowed_methods, reason = "the kernel has no way to wait for an empty cgroup")]
    pub(crate) fn remove_empty(&self) {
        for pause in backoff().take(8) {
            if self.remove_folders() {
                return;
            }
            std::thread::sleep(pause);
        }
    }

    /// Whether no folder is left.
    fn remove_folders(&self) -> bool {
        let mut gone = true;
        for tree in &self.groups.trees {
            match fs::remove_dir(tree.folder.join(&self.name)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => gone = false,
            }
        }
        gone
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// Ever longer pauses, five seconds in all.
fn backoff() -> impl Iterator<Item = Duration> {
    (0..16).map(|n| Duration::from_millis(1 << n.min(9)))
}

/// The number after `key` in a file of `key number` lines.
fn counter(file: &Path, key: &str) -> io::Result<u64> {
    let text = fs::read_to_string(file)?;
    let values = text.lines().filter_map(|line| line.split_once(' '));
    let value = values.filter(|(name, _)| *name == key).find_map(|(_, value)| value.trim().parse().ok());
    value.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests;
