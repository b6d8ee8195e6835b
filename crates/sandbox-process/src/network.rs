//! What a container can reach.
//!
//! | policy | how |
//! | --- | --- |
//! | `none` | bubblewrap makes an empty namespace |
//! | `host` | the host's own namespace |
//! | `nat` | a namespace with one cable to the host, made ahead of time |
//!
//! A `nat` namespace has no name: this process holds its only handle, and its
//! cable (a veth pair) is part of it. So when the server ends, in whatever
//! way, and the container with it, the kernel takes namespace, cable, address
//! and route apart by itself. The one thing that stays is a table of packet
//! filter rules, which mean nothing without cables, and which the next start
//! replaces.
//!
//! Making one takes some ten milliseconds, so spare ones are kept, and one
//! whose container is gone is used again: its user could change nothing in it,
//! having no capability there.

mod namespace;

use std::{
    fs, io,
    net::Ipv4Addr,
    os::fd::BorrowedFd,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use namespace::Namespace;
use whisker_firewall::{Containers, Firewall, Link, Reach, name_servers, resolver};

use crate::{Network, Unavailable, numbers::Numbers, thread::Maker, unavailable::find_program};

/// Used namespaces that are kept for containers to come, at most.
const MOST_SPARE: usize = 64;

/// Whether this host forwards packets.
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Addresses for containers, which share one private /16.
const ADDRESSES: u32 = 60_000;

/// The networks of this sandbox's containers.
pub(crate) enum Networks {
    /// Nothing to prepare: `none` and `host`.
    Plain,
    /// Namespaces with address translation.
    Nat(Pool),
}

/// A container's network namespace, until dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    namespace: Option<Namespace>,
    spare: Arc<Mutex<Vec<Namespace>>>,
}

/// Prepared namespaces.
pub(crate) struct Pool {
    spare: Arc<Mutex<Vec<Namespace>>>,
    wanted: usize,
    wiring: Arc<Wiring>,
    maker: Maker,
    /// Stands as long as this value.
    _firewall: Firewall,
}

/// What all namespaces of a sandbox have in common.
#[derive(Debug)]
struct Wiring {
    ip: PathBuf,
    instance: String,
    range: Ipv4Addr,
    /// Where this server's addresses begin.
    first: u32,
    numbers: Numbers,
    mtu: u32,
    gateway: Ipv4Addr,
    reach: Reach,
}

impl Wiring {
    /// All addresses of containers.
    fn network(&self) -> String {
        format!("{}/16", self.range)
    }

    /// What a container's address and the name of its cable are made of.
    fn index(&self, number: u32) -> u32 {
        (self.first + number) % ADDRESSES
    }

    fn address(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::from(self.range) + 256 + self.index(number))
    }

    fn cable(&self, number: u32) -> String {
        format!("{}{}", self.prefix(), self.index(number))
    }

    /// Beginning of the names of the cables' host ends.
    fn prefix(&self) -> String {
        format!("w{}-", self.instance)
    }

    /// Sets the packet filter rules.
    fn guard(&self, nft: PathBuf) -> io::Result<Firewall> {
        let name_servers = name_servers(&resolver());
        if name_servers.is_empty() {
            tracing::warn!("no name server but on loopback: functions will not resolve names");
        }
        let containers = Containers {
            interfaces: &format!("{}*", self.prefix()),
            addresses: &self.network(),
            gateway: Some(self.gateway),
            link: Link::Cables,
        };
        Firewall::set(nft, format!("whisker_{}", self.instance), containers, &self.reach, &name_servers)
    }
}

impl Networks {
    /// Prepares what the policy takes, and makes a first namespace, so that
    /// trouble shows now.
    pub(crate) fn prepare(network: &Network, instance: &str, root: bool) -> Result<Networks, Unavailable> {
        let Network::Nat(nat) = network else { return Ok(Networks::Plain) };
        if !root {
            return Err(Unavailable::NatNeedsRoot);
        }
        let nft = find_program("nft").ok_or(Unavailable::NatNeeds("nft"))?;
        let [a, b, _, _] = nat.range.octets();
        let wiring = Arc::new(Wiring {
            ip: find_program("ip").ok_or(Unavailable::NatNeeds("ip"))?,
            instance: instance.to_owned(),
            range: Ipv4Addr::new(a, b, 0, 0),
            first: first_index(instance, std::process::id()),
            numbers: Numbers::below(ADDRESSES),
            mtu: namespace::uplink_mtu(),
            gateway: nat.gateway(),
            reach: nat.reach.clone(),
        });
        let refused = |error: io::Error| Unavailable::Nat { said: error.to_string() };
        let firewall = wiring.guard(nft).map_err(refused)?;
        forward_packets().map_err(refused)?;
        let maker = Maker::start("networks").map_err(refused)?;
        let pool = Pool { spare: Arc::default(), wanted: nat.spare, wiring, maker, _firewall: firewall };
        let first = Namespace::make(&pool.wiring).map_err(refused)?;
        pool.spare().push(first);
        Ok(Networks::Nat(pool))
    }

    /// A namespace for a container; `None` where the policy has none.
    pub(crate) async fn take(&self) -> io::Result<Option<Lease>> {
        match self {
            Networks::Plain => Ok(None),
            Networks::Nat(pool) => pool.take().await.map(Some),
        }
    }
}

impl Pool {
    fn spare(&self) -> MutexGuard<'_, Vec<Namespace>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(&self) -> io::Result<Lease> {
        let ready = self.spare().pop();
        self.refill();
        let namespace = match ready {
            Some(namespace) => namespace,
            None => {
                let wiring = self.wiring.clone();
                self.maker.run(move || Namespace::make(&wiring)).await??
            }
        };
        Ok(Lease { namespace: Some(namespace), spare: self.spare.clone() })
    }

    /// Lets the thread make one more, if there are too few.
    fn refill(&self) {
        if self.spare().len() >= self.wanted {
            return;
        }
        let (wiring, spare, wanted) = (self.wiring.clone(), self.spare.clone(), self.wanted);
        self.maker.post(move || {
            let few = || spare.lock().unwrap_or_else(PoisonError::into_inner).len() < wanted;
            while few() {
                match Namespace::make(&wiring) {
                    Ok(namespace) => spare.lock().unwrap_or_else(PoisonError::into_inner).push(namespace),
                    Err(error) => {
                        // The next start tries again and reports it.
                        tracing::warn!(%error, "a spare network could not be made");
                        return;
                    }
                }
            }
        });
    }
}

impl Lease {
    pub(crate) fn handle(&self) -> Option<BorrowedFd<'_>> {
        self.namespace.as_ref().map(Namespace::handle)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(namespace) = self.namespace.take() {
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            if spare.len() < MOST_SPARE {
                spare.push(namespace);
            }
        }
    }
}

/// Where a server's addresses begin. It depends on the instance, so that servers
/// side by side rarely try for the same, and on the process: the kernel takes
/// its time over the cables of a server that was killed, and the next one should
/// not meet them one by one.
fn first_index(instance: &str, process: u32) -> u32 {
    let instance = u32::from_str_radix(instance, 16).unwrap_or(0);
    // A step that leaves room between neighbours and misses no place.
    (instance % ADDRESSES + (process % ADDRESSES) * 7919 % ADDRESSES) % ADDRESSES
}

/// Lets this host forward packets at all. Left on at the end: others may have
/// come to rely on it.
fn forward_packets() -> io::Result<()> {
    if fs::read_to_string(FORWARD)?.trim() == "0" {
        tracing::info!("switching on net.ipv4.ip_forward, without which containers reach nothing");
        fs::write(FORWARD, "1")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_life_of_a_server_begins_elsewhere() {
        let mut firsts: Vec<u32> = (70_000..70_007).map(|process| first_index("ffffffff", process)).collect();
        firsts.sort_unstable();
        assert!(firsts.windows(2).all(|pair| pair[1] - pair[0] > 256), "{firsts:?}");
        assert!(firsts.iter().all(|first| *first < ADDRESSES));
    }
}
