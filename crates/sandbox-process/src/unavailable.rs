//! What this host lacks, and how to get it.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::cgroup;

/// Why containers cannot be isolated here. Each text names the part and a way
/// out, since it is shown to whoever just tried to start a server.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// No bubblewrap.
    #[error(
        "bubblewrap is not installed: there is no `bwrap` in /usr/bin or /usr/local/bin \
         (Debian and Ubuntu: apt install bubblewrap; Fedora: dnf install bubblewrap)"
    )]
    Bubblewrap,
    /// It is there, but cannot do its work.
    #[error(
        "bubblewrap cannot make a sandbox here: {said}. If user namespaces are forbidden, \
         allow them: sysctl kernel.unprivileged_userns_clone=1, \
         kernel.apparmor_restrict_unprivileged_userns=0, and user.max_user_namespaces above zero"
    )]
    Trial {
        /// Its own words.
        said: String,
    },
    /// No usable cgroups.
    #[error("{lacking}{}", cgroup_hint(*root))]
    Cgroups {
        /// What is missing.
        #[source]
        lacking: cgroup::Lacking,
        /// Whether this is root, who needs no delegation.
        root: bool,
    },
    /// The `nat` network takes root.
    #[error(
        "only root can give containers a network of their own with access to the outside. \
         Run as root, or choose --network none (containers reach nothing) or \
         --network host (containers reach all that this host does, its own services included)"
    )]
    NatNeedsRoot,
    /// The `nat` network takes two programs.
    #[error(
        "the network `nat` needs `{0}` (Debian and Ubuntu: apt install iproute2 nftables). \
         Without it, choose --network none or --network host"
    )]
    NatNeeds(&'static str),
    /// They are there, but do not succeed.
    #[error("the network `nat` cannot be set up: {said}. Without it, choose --network none or --network host")]
    Nat {
        /// What was said.
        said: String,
    },
    /// The sandbox's own folder.
    #[error("the sandbox's folder {} cannot be used", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something that every Linux has.
    #[error("cannot {what}")]
    Host {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

fn cgroup_hint(root: bool) -> &'static str {
    if root {
        return "";
    }
    ". An ordinary user needs a delegated cgroup: run under \
     `systemd-run --user --scope -p Delegate=yes`, or have root make one and hand it over \
     (chown), and name it with --cgroup-parent"
}

/// Where a program is, if it is where programs are.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/bin", "/sbin"];
    folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}
