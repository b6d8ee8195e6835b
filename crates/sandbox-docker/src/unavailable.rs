//! Why there can be no containers of this backend here, and what would help.

use std::path::PathBuf;

/// What is missing.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The daemon does not answer.
    #[error(
        "no Docker daemon answers at {host}: {said}. It is started with `systemctl start docker` (Debian's package \
         docker.io), and its socket belongs to the group docker; --docker-host names another"
    )]
    Daemon {
        /// Where it was looked for.
        host: String,
        /// What happened.
        said: String,
    },
    /// The daemon runs containers of another system.
    #[error("the Docker daemon runs {0} containers, where Linux is needed")]
    System(String),
    /// The manifest cannot be read.
    #[error("the runtimes manifest cannot be read: {0}")]
    Manifest(serde_json::Error),
    /// The credentials cannot be read.
    #[error("the registries' credentials in {file} cannot be used: {said}")]
    Credentials {
        /// The file.
        file: PathBuf,
        /// Why not.
        said: String,
    },
    /// The rules that keep containers from the host take root.
    #[error(
        "keeping containers from this host's services takes root: run as root, or choose --network host (containers \
         reach this host) or --docker-network NAME (a network of yours, with your rules)"
    )]
    GuardNeedsRoot,
    /// The rules take a program.
    #[error("keeping containers from this host's services takes nft, which is missing: apt-get install nftables")]
    GuardNeedsNft,
    /// The rules were refused.
    #[error("the packet filter rules that keep containers from this host were refused: {said}")]
    Guard {
        /// What was said.
        said: String,
    },
    /// There is no folder for compiled code.
    #[error("compiled code cannot be kept in {folder}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The network cannot be had.
    #[error("the network {name} of the Docker daemon cannot be used: {said}")]
    Network {
        /// Its name.
        name: String,
        /// Why not.
        said: String,
    },
}
