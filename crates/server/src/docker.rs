//! Docker as the backend: its settings, and its own `Config` made of them.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};
use whisker_firewall::Reach;
use whisker_sandbox_docker::{Config, GATEWAY, Guarded, Network, PullPolicy};

use crate::{
    callback::Callback,
    settings::{self, Serve},
    units::{Size, duration},
};

/// Settings that count with `--containers docker` only.
#[derive(Debug, Args)]
#[command(next_help_heading = "Containers of a Docker daemon")]
pub struct Docker {
    /// Where the daemon listens
    #[arg(long, env = "WHISKER_DOCKER_HOST", default_value = "unix:///var/run/docker.sock")]
    pub docker_host: String,
    /// Registry and repository of the runtimes' images, such as ghcr.io/me [default: the manifest's]
    #[arg(long, env = "WHISKER_DOCKER_IMAGE_PREFIX")]
    pub docker_image_prefix: Option<String>,
    /// Tag of the runtimes' images [default: the manifest's]
    #[arg(long, env = "WHISKER_DOCKER_IMAGE_TAG")]
    pub docker_image_tag: Option<String>,
    /// When users' images are pulled: where they are missing, or always, as OpenWhisk does
    #[arg(long, env = "WHISKER_DOCKER_PULL", default_value = "always")]
    pub docker_pull: Pull,
    /// How long a pull may take
    #[arg(long, env = "WHISKER_DOCKER_PULL_TIMEOUT", default_value = "10m", value_parser = duration)]
    pub docker_pull_timeout: Duration,
    /// Pulls at once; more wait
    #[arg(long, env = "WHISKER_DOCKER_PULLS", default_value = "4")]
    pub docker_pulls: usize,
    /// Docker's config.json with credentials for private registries
    #[arg(long, env = "WHISKER_DOCKER_CREDENTIALS")]
    pub docker_credentials: Option<PathBuf>,
    /// Network of yours that containers are put in, in the place of what --network says
    #[arg(long, env = "WHISKER_DOCKER_NETWORK")]
    pub docker_network: Option<String>,
    /// Name servers of containers; may be given several times [default: the daemon's choice]
    #[arg(long, env = "WHISKER_DOCKER_DNS", value_delimiter = ',')]
    pub docker_dns: Vec<IpAddr>,
    /// Most that a container of a foreign image writes to its disk, such as 1GB; takes a
    /// daemon whose storage has quotas: btrfs, zfs, or overlay2 on XFS with pquota
    #[arg(long, env = "WHISKER_DOCKER_DISK")]
    pub docker_disk: Option<Size>,
    /// Capabilities that containers keep, such as CHOWN; all others are dropped
    #[arg(long, env = "WHISKER_DOCKER_CAPABILITIES", value_delimiter = ',')]
    pub docker_capabilities: Vec<String>,
    /// Calls to the daemon at once; more wait
    #[arg(long, env = "WHISKER_DOCKER_CALLS", default_value = "10")]
    pub docker_calls: usize,
}

/// When users' images are pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pull {
    /// Where they are missing.
    Missing,
    /// For every container.
    Always,
}

/// Starts at once. Those that wait for a pull, or for their turn with the
/// daemon, must not hold up the others: the daemon's calls are bounded anyway.
const STARTS: usize = 64;

/// How long a start may take once its image is there.
const START: Duration = Duration::from_secs(60);

/// Of the backend, whose functions call back like this.
pub fn config(settings: &Serve, data_dir: &Path, callback: &Callback, reach: Reach, user_memory_mb: u64) -> Config {
    let docker = &settings.docker;
    let network = match (&docker.docker_network, settings.network) {
        (Some(name), _) => Network::Named(name.clone()),
        (None, settings::Network::Nat) => Network::Guarded(Guarded { outside: true, reach }),
        (None, settings::Network::None) => Network::Guarded(Guarded::default()),
        (None, settings::Network::Host) => Network::Open,
    };
    let preparing = &settings.preparing;
    Config {
        artifact_bytes: preparing.code_cache.0,
        makers: preparing.compilers.get(),
        compile_time: preparing.compile_time_max,
        host: docker.docker_host.clone(),
        image_prefix: docker.docker_image_prefix.clone(),
        image_tag: docker.docker_image_tag.clone(),
        pull: match docker.docker_pull {
            Pull::Missing => PullPolicy::Missing,
            Pull::Always => PullPolicy::Always,
        },
        pulls: docker.docker_pulls,
        pull_timeout: docker.docker_pull_timeout,
        credentials: docker.docker_credentials.clone(),
        network,
        dns: docker.docker_dns.clone(),
        calls: docker.docker_calls,
        user_memory_mb,
        disk_bytes: docker.docker_disk.map(|size| size.0),
        capabilities: docker.docker_capabilities.clone(),
        log_cap_bytes: settings.action_logs_max.0 + (1 << 20),
        environment: [("__OW_API_HOST".to_owned(), callback.url(GATEWAY))].into(),
        ..Config::new(instance(data_dir), whisker_sandbox_process::MANIFEST, data_dir.join("docker").join("artifacts"))
    }
}

/// What is otherwise for the invoker.
pub fn invoker(settings: &Serve, config: whisker_invoker::Config) -> whisker_invoker::Config {
    let start_timeout = settings.docker.docker_pull_timeout + START;
    whisker_invoker::Config { max_starts: STARTS, start_timeout, ..config }
}

/// Tells this server's containers from those of others on the same daemon: its
/// data folder, as a number. FNV-1a, which stays what it is.
fn instance(data_dir: &Path) -> String {
    let folder = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let bytes = folder.as_os_str().as_encoded_bytes();
    let hash = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    format!("{hash:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_told_apart_by_their_folders() {
        assert_eq!(instance(Path::new("/a")), instance(Path::new("/a")));
        assert_ne!(instance(Path::new("/a")), instance(Path::new("/b")));
        assert_eq!(instance(Path::new("/a")).len(), 8);
    }
}
