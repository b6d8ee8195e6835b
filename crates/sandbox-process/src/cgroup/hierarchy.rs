//! Which cgroup trees this host has mounted, and which controllers they hold.

use std::{fs, io, path::PathBuf};

/// Version of a cgroup tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// One mounted tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub version: Version,
    pub mount: PathBuf,
    pub controllers: Vec<String>,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hierarchies(Vec<Hierarchy>);

impl Hierarchies {
    /// Looks at this host.
    pub(crate) fn discover() -> io::Result<Hierarchies> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let mut found = Hierarchies::parse(&mounts);
        for hierarchy in found.0.iter_mut().filter(|found| found.version == Version::V2) {
            let controllers = fs::read_to_string(hierarchy.mount.join("cgroup.controllers"))?;
            hierarchy.controllers = controllers.split_whitespace().map(str::to_owned).collect();
        }
        Ok(found)
    }

    /// Reads the kernel's list of mounts. Version 2 controllers are not in it.
    fn parse(mounts: &str) -> Hierarchies {
        let parse_line = |line: &str| {
            let (left, right) = line.split_once(" - ")?;
            let mount = PathBuf::from(left.split(' ').nth(4)?);
            let mut right = right.split(' ');
            let (kind, options) = (right.next()?, right.nth(1)?);
            let version = match kind {
                "cgroup" => Version::V1,
                "cgroup2" => Version::V2,
                _ => return None,
            };
            let controllers = match version {
                Version::V1 => options.split(',').map(str::to_owned).collect(),
                Version::V2 => Vec::new(),
            };
            Some(Hierarchy { version, mount, controllers })
        };
        Hierarchies(mounts.lines().filter_map(parse_line).collect())
    }

    /// The tree that holds a controller. A controller is in one tree only.
    pub(crate) fn with(&self, controller: &str) -> Option<&Hierarchy> {
        self.0.iter().find(|tree| tree.controllers.iter().any(|name| name == controller))
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Hierarchy> {
        self.0.iter()
    }

    /// These without the trees of the other version.
    #[cfg(test)]
    pub(crate) fn only(mut self, version: Version) -> Hierarchies {
        self.0.retain(|tree| tree.version == version);
        self
    }

    /// The version 2 tree, whether or not it holds controllers.
    pub(crate) fn unified(&self) -> Option<&Hierarchy> {
        self.0.iter().find(|tree| tree.version == Version::V2)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_hybrid_host_has_both_versions() {
        let mounts = "\
22 1 0:20 / / rw - ext4 /dev/vda rw
30 22 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
31 22 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
32 22 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
        let found = Hierarchies::parse(mounts);
        let memory = found.with("memory").unwrap();
        assert_eq!(memory.version, Version::V1);
        assert_eq!(memory.mount, PathBuf::from("/sys/fs/cgroup/memory"));
        assert_eq!(found.with("cpu").unwrap().mount, PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(found.unified().unwrap().mount, PathBuf::from("/sys/fs/cgroup/unified"));
        assert!(found.with("pids").is_none());
    }
}
