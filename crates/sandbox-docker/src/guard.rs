//! What keeps containers from this host and from each other.
//!
//! A daemon's networks let a container reach every service of the host, at the
//! bridge's own address, and whatever the host can reach: metadata of the cloud
//! among it. Packet filter rules of ours say otherwise.

use std::{net::Ipv4Addr, path::PathBuf};

use whisker_firewall::{Containers, Firewall, Link, name_servers, resolver};

use crate::{Guarded, Unavailable};

/// Where Debian and others put it.
const NFT: [&str; 4] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft"];

/// Sets the rules for the containers of a bridge, this being its name as an
/// interface and theirs the subnet. Blocks for some milliseconds.
pub(crate) fn set(
    instance: &str,
    bridge: &str,
    subnet: &str,
    gateway: Option<Ipv4Addr>,
    guarded: &Guarded,
) -> Result<Firewall, Unavailable> {
    if !rustix::process::geteuid().is_root() {
        return Err(Unavailable::GuardNeedsRoot);
    }
    let nft = NFT.iter().map(PathBuf::from).find(|path| path.exists()).ok_or(Unavailable::GuardNeedsNft)?;
    let containers = Containers { interfaces: bridge, addresses: subnet, gateway, link: Link::Bridge };
    let table = format!("whisker_docker_{instance}");
    let set = guarded
        .reach
        .open_loopback(bridge)
        .and_then(|()| Firewall::set(nft, table, containers, &guarded.reach, &name_servers(&resolver())));
    set.map_err(|error| Unavailable::Guard { said: error.to_string() })
}
