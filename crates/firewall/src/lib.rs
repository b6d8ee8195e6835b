//! Packet filter rules that keep containers from this host, from each other and
//! from what only this host has business with.
//!
//! They are tables of nftables, set, replaced and removed as a whole; nobody
//! else's are touched, and without the containers' interfaces they mean nothing.
//! What they cannot do is overrule a *drop* elsewhere: on a host whose own rules
//! forward nothing, containers reach nothing.

mod names;
mod rules;

use std::{
    fs,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddrV4},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

pub use names::{name_servers, resolver};

/// Where containers may go, besides the world outside, and where not, besides
/// this host, each other, link-local addresses and clouds' metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Networks that they cannot reach, such as `10.0.0.0/8`.
    pub denied: Vec<String>,
    /// Where the server's own API listens on this host, be it loopback: containers
    /// reach it at their gateway, at the same port.
    pub api: Option<SocketAddrV4>,
    /// Places on this host that they may reach all the same.
    pub allowed: Vec<SocketAddrV4>,
}

/// The containers that the rules are about.
#[derive(Debug, Clone, Copy)]
pub struct Containers<'a> {
    /// The host's ends of their cables, as nftables names interfaces: `wd-1`, `w1-*`.
    pub interfaces: &'a str,
    /// Their addresses, as `172.18.0.0/16`.
    pub addresses: &'a str,
    /// This host's address, as they see it.
    pub gateway: Option<Ipv4Addr>,
    /// What they are connected by.
    pub link: Link,
}

/// How containers are connected with this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// By a cable each, and the rules translate their addresses.
    Cables,
    /// By a bridge, whose owner translates their addresses. Packets that pass from
    /// one of its ports to another get rules as well.
    Bridge,
}

/// Rules that stand until this is dropped.
#[derive(Debug)]
pub struct Firewall {
    nft: PathBuf,
    table: String,
    link: Link,
}

impl Firewall {
    /// Sets the rules by means of the program `nft`, as tables of this name, in
    /// place of any of a former life. Containers may ask the name servers, wherever
    /// they are. Takes root; blocks for some milliseconds.
    ///
    /// # Errors
    ///
    /// What `nft` said.
    pub fn set(
        nft: PathBuf,
        table: String,
        containers: Containers<'_>,
        reach: &Reach,
        name_servers: &[Ipv4Addr],
    ) -> io::Result<Self> {
        order(&nft, &["-f", "-"], &rules::script(&table, containers, reach, name_servers))?;
        Ok(Self { nft, table, link: containers.link })
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        if let Err(error) = order(&self.nft, &["-f", "-"], &rules::removal(&self.table, self.link)) {
            tracing::warn!(%error, "packet filter rules stay until the next start");
        }
    }
}

impl Reach {
    /// Lets packets of an interface that the rules lead to an API on loopback go
    /// there; the rules reject all others that name it.
    ///
    /// # Errors
    ///
    /// The kernel's, such as one for an interface that is not there.
    pub fn open_loopback(&self, interface: &str) -> io::Result<()> {
        if self.api.is_some_and(|api| api.ip().is_loopback()) {
            fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/route_localnet"), "1")?;
        }
        Ok(())
    }
}

/// Runs a program that takes its orders on standard input.
///
/// # Errors
///
/// What it said, if it did not end well.
pub fn order(program: &Path, arguments: &[&str], orders: &str) -> io::Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(orders.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{} says: {}", program.display(), said.trim())))
}
