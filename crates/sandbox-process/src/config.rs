//! Settings of this backend.

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf, time::Duration};

use whisker_firewall::Reach;

use whisker_artifacts::archive;

/// Plain values; `server` reads and checks them.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder for the sandbox's own files: launchers, containers' code. Made
    /// if missing, swept, used by one server at a time. A folder
    /// `modules` in it, which the operator may fill, is every container's
    /// `/modules`.
    pub folder: PathBuf,
    /// What containers can reach.
    pub network: Network,
    /// Cgroup below which containers are put, in every tree: `whisker`, or one
    /// that was delegated to the user whom the server runs as.
    pub cgroup_parent: String,
    /// Most processes and threads in one container.
    pub processes: u32,
    /// Most bytes of log that are kept for one activation until they are
    /// asked for, overhead included. At least the highest log limit.
    pub log_cap_bytes: u64,
    /// Limits on unpacking archives, and on what a compiler makes.
    pub archive: archive::Limits,
    /// Most bytes on disk of unpacked and compiled code that are kept.
    pub artifact_bytes: u64,
    /// How much code is unpacked or compiled at once. Compilers take memory
    /// besides that of containers.
    pub makers: usize,
    /// Longest that anything is compiled, where the manifest allows longer.
    pub compile_time: Duration,
    /// Kinds whose launchers and compilers are made ready once a former life was
    /// swept, one after the other, rather than for the first container that needs
    /// them.
    pub prepare: Vec<String>,
    /// Containers that are made before anybody asks, without a runtime in them,
    /// from the sweep on; 0 for none.
    pub spares: usize,
    /// With a server that runs as root, containers get the users from this
    /// number on, one each, for as long as they live.
    pub first_user: u32,
    /// Environment of every container: `__OW_API_HOST` and the operator's own.
    pub environment: BTreeMap<String, String>,
    /// More host folders that containers can read at the same place, besides
    /// `/usr`: where interpreters are kept elsewhere.
    pub read_only: Vec<PathBuf>,
    /// Run user code as plain processes, without any isolation. For hosts
    /// that cannot isolate, and code that is trusted.
    pub insecure_no_sandbox: bool,
}

impl Config {
    /// The defaults, with this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Config {
        Config {
            folder: folder.into(),
            network: Network::default(),
            cgroup_parent: "whisker".to_owned(),
            processes: 1024,
            log_cap_bytes: 11 << 20,
            archive: archive::Limits::default(),
            artifact_bytes: 4 << 30,
            makers: 2,
            compile_time: Duration::from_secs(600),
            prepare: Vec::new(),
            spares: 2,
            first_user: 2_000_000,
            environment: BTreeMap::new(),
            read_only: Vec::new(),
            insecure_no_sandbox: false,
        }
    }
}

/// What containers can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// The outside, by address translation; nothing of this host, no
    /// link-local address, no other container. Takes root.
    Nat(Nat),
    /// Nothing.
    None,
    /// All that the host reaches, its own services included.
    Host,
}

impl Default for Network {
    fn default() -> Network {
        Network::Nat(Nat::default())
    }
}

/// Settings of [`Network::Nat`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nat {
    /// A private /16 for containers: its first two bytes are what counts.
    pub range: Ipv4Addr,
    /// Where containers may go; the API, at the [gateway](Nat::gateway).
    pub reach: Reach,
    /// Network namespaces kept ready for containers to come.
    pub spare: usize,
}

impl Nat {
    /// This host's address, as containers see it.
    pub fn gateway(&self) -> Ipv4Addr {
        let [a, b, _, _] = self.range.octets();
        Ipv4Addr::new(a, b, 0, 1)
    }
}

impl Default for Nat {
    fn default() -> Nat {
        Nat { range: Ipv4Addr::new(10, 213, 0, 0), reach: Reach::default(), spare: 4 }
    }
}
