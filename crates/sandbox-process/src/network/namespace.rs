//! Making one network namespace, with its cable, address and routes.
//!
//! Each end of the cable has one address and no network: the container is told
//! that the gateway is on its cable and everything else behind the gateway, the
//! host that the container's address is on this cable. So there is no bridge,
//! no neighbour, and nothing that a container could claim to be.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process, thread,
};

use whisker_firewall::order;

use super::Wiring;
use crate::{numbers::Number, spawn};

/// Tries, when another server on this host has taken an address before us.
const TRIES: u32 = 50;

/// A network namespace that is ready for use.
#[derive(Debug)]
pub(super) struct Namespace {
    handle: OwnedFd,
    /// Its address is nobody else's for as long as it lives.
    _number: Number,
}

impl Namespace {
    /// Makes one. Blocks for some ten milliseconds.
    pub(super) fn make(wiring: &Wiring) -> io::Result<Namespace> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for _ in 0..TRIES {
            let Some(number) = wiring.numbers.take() else { break };
            match connect(wiring, number.value()) {
                Ok(handle) => return Ok(Namespace { handle, _number: number }),
                Err(error) if error.to_string().contains("File exists") => {
                    number.keep();
                    last = error;
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    pub(super) fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

fn connect(wiring: &Wiring, number: u32) -> io::Result<OwnedFd> {
    let address = wiring.address(number);
    let (gateway, mtu, host) = (wiring.gateway, wiring.mtu, process::id());
    let cable = wiring.cable(number);
    let inside = format!(
        "link set lo up
link add eth0 mtu {mtu} type veth peer name {cable} mtu {mtu} netns {host}
addr add {address}/32 dev eth0
link set eth0 up
route add {gateway} dev eth0 scope link
route add default via {gateway} dev eth0
"
    );
    // A thread of its own, since it stays in the namespace, and so do the
    // processes that it makes.
    let handle = thread::scope(|scope| {
        let enter = || {
            let handle = spawn::new_network_namespace()?;
            no_ipv6("all")?;
            no_ipv6("default")?;
            order(&wiring.ip, &["-batch", "-"], &inside)?;
            Ok(handle)
        };
        let gone = |_| Err(io::Error::other("a thread panicked"));
        thread::Builder::new().name("network".to_owned()).spawn_scoped(scope, enter)?.join().unwrap_or_else(gone)
    })?;
    no_ipv6(&cable)?;
    wiring.reach.open_loopback(&cable)?;
    let outside = format!(
        "link set {cable} up
addr add {gateway}/32 dev {cable}
route add {address}/32 dev {cable}
"
    );
    order(&wiring.ip, &["-batch", "-"], &outside)?;
    Ok(handle)
}

/// IPv6 is not translated, so it is off rather than half there.
fn no_ipv6(interface: &str) -> io::Result<()> {
    match fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "1") {
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        written => written,
    }
}

/// Packets of containers should fit where they leave the host.
pub(super) fn uplink_mtu() -> u32 {
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let default = routes.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace();
        let interface = words.next()?;
        (words.next()? == "00000000").then(|| interface.to_owned())
    });
    let read = |interface: String| fs::read_to_string(format!("/sys/class/net/{interface}/mtu")).ok();
    default.and_then(read).and_then(|text| text.trim().parse().ok()).unwrap_or(1500)
}
