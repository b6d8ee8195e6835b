//! Settings of this backend.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use whisker_firewall::Reach;

/// Stands for this host's address on the containers' network.
pub const GATEWAY: &str = "${gateway}";

/// Plain values; `server` reads and checks them.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the daemon listens: `unix:///var/run/docker.sock`, or
    /// `tcp://127.0.0.1:2375` for one behind a proxy of this host.
    pub host: String,
    /// Tells this server's containers and networks from those of others that
    /// use the same daemon: eight hex digits, the same in every life.
    pub instance: String,
    /// OpenWhisk's runtimes manifest: which image a kind runs in, and which
    /// images of users are the platform's own.
    pub manifest: String,
    /// Registry and repository of the manifest's images, in the place of its own.
    pub image_prefix: Option<String>,
    /// Tag of the manifest's images, in the place of its own.
    pub image_tag: Option<String>,
    /// When images of users are pulled.
    pub pull: PullPolicy,
    /// Pulls under way at once; more wait.
    pub pulls: usize,
    /// How long one pull may take.
    pub pull_timeout: Duration,
    /// Docker's `config.json`, with credentials for private registries. Read
    /// again for every pull.
    pub credentials: Option<PathBuf>,
    /// What containers can reach.
    pub network: Network,
    /// Name servers that containers ask, in the place of the daemon's choice.
    pub dns: Vec<IpAddr>,
    /// Calls to the daemon under way at once; more wait.
    pub calls: usize,
    /// Memory for all containers in MB, of which each gets its share of the
    /// processors.
    pub user_memory_mb: u64,
    /// Most processes and threads in one container.
    pub processes: u32,
    /// Most open files and sockets of one process.
    pub open_files: u32,
    /// Most bytes that a container writes to its own disk. Takes a daemon whose storage
    /// has quotas (btrfs, zfs, overlay2 on XFS with `pquota`): another makes no
    /// container. Does not count for images that only write to memory, as ours.
    pub disk_bytes: Option<u64>,
    /// Capabilities that containers keep, of which all others are dropped.
    pub capabilities: Vec<String>,
    /// Most bytes of log that are kept for one activation until they are
    /// asked for, overhead included. At least the highest log limit.
    pub log_cap_bytes: u64,
    /// Folder for compiled code. Made if missing, used by one server at a time.
    pub artifacts: PathBuf,
    /// Most bytes on disk of compiled code that are kept.
    pub artifact_bytes: u64,
    /// How much code is compiled at once. Compilers take memory besides that of
    /// containers.
    pub makers: usize,
    /// Longest that anything is compiled, where the manifest allows longer.
    pub compile_time: Duration,
    /// Environment of every container: `__OW_API_HOST` and the operator's own.
    /// [`GATEWAY`] in a value becomes this host's address on their network.
    pub environment: BTreeMap<String, String>,
}

impl Config {
    /// The defaults, for this instance and manifest, with this folder for
    /// compiled code.
    pub fn new(instance: impl Into<String>, manifest: impl Into<String>, artifacts: impl Into<PathBuf>) -> Config {
        Config {
            host: "unix:///var/run/docker.sock".to_owned(),
            instance: instance.into(),
            manifest: manifest.into(),
            image_prefix: None,
            image_tag: None,
            pull: PullPolicy::Always,
            pulls: 4,
            pull_timeout: Duration::from_secs(600),
            credentials: None,
            network: Network::Guarded(Guarded { outside: true, ..Guarded::default() }),
            dns: Vec::new(),
            calls: 10,
            user_memory_mb: 2048,
            processes: 1024,
            open_files: 1024,
            disk_bytes: None,
            capabilities: Vec::new(),
            log_cap_bytes: 11 << 20,
            artifacts: artifacts.into(),
            artifact_bytes: 4 << 30,
            makers: 2,
            compile_time: Duration::from_secs(600),
            environment: BTreeMap::new(),
        }
    }
}

/// When images of users are pulled. The manifest's own are pulled where they
/// are missing, and users' that have a digest too, since they cannot change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// Where they are missing.
    Missing,
    /// For every container, as OpenWhisk does. An image whose tag is `latest`,
    /// or that has none, has to be had then; another may be an older copy.
    Always,
}

/// What containers can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// A network of this server's own, with packet filter rules that keep
    /// containers from this host, from each other, from link-local addresses and
    /// clouds' metadata. Takes root, and a daemon on this host.
    Guarded(Guarded),
    /// A network of this server's own without such rules: containers reach what
    /// the host reaches, its own services included.
    Open,
    /// A network of the operator's, by name, as it is.
    Named(String),
}

/// Settings of [`Network::Guarded`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guarded {
    /// Whether there is a way out at all.
    pub outside: bool,
    /// Where containers may go.
    pub reach: Reach,
}
