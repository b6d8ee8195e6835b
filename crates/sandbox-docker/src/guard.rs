//! Packet filter rules that keep containers from this host and from each other.
//!
//! A daemon's networks let a container reach every service of the host, at the
//! bridge's own address, and whatever the host can reach: metadata of the cloud
//! among it. Two tables of nftables say otherwise, one for packets that are
//! routed and one for those that pass from one port of the bridge to another.
//! They are set, replaced and removed as a whole, touch nobody else's, and mean
//! nothing once the bridge is gone.

use std::{
    fs,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddrV4},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Guarded, Unavailable};

/// Where no container has any business, whatever the host can reach: link-local
/// addresses, with most clouds' metadata; that of Azure and of Alibaba Cloud,
/// which is elsewhere; loopback, for hosts that route it.
const UNREACHABLE: [&str; 4] = ["169.254.0.0/16", "168.63.129.16", "100.100.100.200", "127.0.0.0/8"];

/// Where Debian and others put it.
const NFT: [&str; 4] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft"];

/// The rules, as long as they stand.
#[derive(Debug)]
pub(crate) struct Guard {
    nft: PathBuf,
    table: String,
}

/// What they are about.
pub(crate) struct Bounds<'a> {
    pub instance: &'a str,
    /// The bridge's name as an interface.
    pub bridge: &'a str,
    /// Addresses of the containers, as `172.18.0.0/16`.
    pub subnet: &'a str,
    /// This host's address there.
    pub gateway: Option<Ipv4Addr>,
    pub guarded: &'a Guarded,
}

impl Bounds<'_> {
    /// The gateway, and where the API listens that is found there.
    fn api(&self) -> Option<(Ipv4Addr, SocketAddrV4)> {
        self.gateway.zip(self.guarded.api)
    }
}

impl Guard {
    /// Sets the rules, in place of any of a former life. Blocks for some
    /// milliseconds.
    pub(crate) fn set(bounds: &Bounds<'_>) -> Result<Guard, Unavailable> {
        if !rustix::process::geteuid().is_root() {
            return Err(Unavailable::GuardNeedsRoot);
        }
        let nft = NFT.iter().map(PathBuf::from).find(|path| path.exists()).ok_or(Unavailable::GuardNeedsNft)?;
        if bounds.api().is_some_and(|(_, api)| api.ip().is_loopback()) {
            // Packets that the rules lead to loopback may go there; all others that
            // name it are rejected by them.
            let file = format!("/proc/sys/net/ipv4/conf/{}/route_localnet", bounds.bridge);
            fs::write(file, "1").map_err(|error| Unavailable::Guard { said: error.to_string() })?;
        }
        let guard = Guard { nft, table: format!("whisker_docker_{}", bounds.instance) };
        let resolver = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let script = script(&guard.table, bounds, &name_servers(&resolver));
        run(&guard.nft, &script).map_err(|error| Unavailable::Guard { said: error.to_string() })?;
        Ok(guard)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let table = &self.table;
        if let Err(error) = run(&self.nft, &format!("delete table inet {table}\ndelete table bridge {table}\n")) {
            tracing::warn!(%error, "packet filter rules stay until the next start");
        }
    }
}

fn script(table: &str, bounds: &Bounds<'_>, name_servers: &[Ipv4Addr]) -> String {
    let Bounds { bridge, subnet, guarded: Guarded { denied, allowed, .. }, .. } = bounds;
    let unreachable: Vec<&str> = UNREACHABLE.into_iter().chain(denied.iter().map(String::as_str)).collect();
    let unreachable = unreachable.join(", ");
    let ask_names = if name_servers.is_empty() {
        String::new()
    } else {
        let servers: Vec<String> = name_servers.iter().map(Ipv4Addr::to_string).collect();
        format!("ip daddr {{ {} }} meta l4proto {{ tcp, udp }} th dport 53 accept", servers.join(", "))
    };
    // What was led to the API by `prerouting` has been asked for at the gateway.
    let (lead_to_api, let_in) = match bounds.api() {
        Some((gateway, api)) => {
            let (ip, port) = (api.ip(), api.port());
            (
                format!("iifname \"{bridge}\" ip daddr {gateway} tcp dport {port} dnat ip to {ip}:{port}"),
                format!("ct status dnat ip daddr {ip} tcp dport {port} accept"),
            )
        }
        None => Default::default(),
    };
    let allowed: Vec<String> =
        allowed.iter().map(|place| format!("ip daddr {} tcp dport {} accept", place.ip(), place.port())).collect();
    let allowed = allowed.join("\n        ");
    // `add` before `delete`, so that deleting works where there was none.
    format!(
        "add table inet {table}
delete table inet {table}
add table bridge {table}
delete table bridge {table}
table inet {table} {{
    set unreachable {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {unreachable} }}; }}
    chain input {{
        type filter hook input priority -10; policy accept;
        iifname \"{bridge}\" jump to_host
    }}
    chain to_host {{
        ct state established,related accept
        {ask_names}
        {let_in}
        {allowed}
        reject with icmpx type admin-prohibited
    }}
    chain forward {{
        type filter hook forward priority -10; policy accept;
        iifname \"{bridge}\" jump from_container
        oifname \"{bridge}\" jump to_container
    }}
    chain from_container {{
        meta nfproto ipv6 drop
        ip saddr != {subnet} drop
        ct state established,related accept
        {ask_names}
        ip daddr @unreachable reject with icmpx type admin-prohibited
        ip daddr {subnet} drop
    }}
    chain to_container {{
        ct state established,related accept
        drop
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        {lead_to_api}
    }}
}}
table bridge {table} {{
    chain forward {{
        type filter hook forward priority -10; policy accept;
        ip saddr {subnet} ip daddr {subnet} drop
    }}
}}
"
    )
}

/// Name servers that a container may ask, wherever they are: not those on
/// loopback addresses, which from inside are the container's own.
fn name_servers(resolver: &str) -> Vec<Ipv4Addr> {
    let words = resolver.lines().filter_map(|line| line.strip_prefix("nameserver"));
    let addresses = words.filter_map(|word| word.trim().parse::<Ipv4Addr>().ok());
    addresses.filter(|address| !address.is_loopback()).collect()
}

/// Runs `nft` with orders on its standard input.
fn run(nft: &Path, orders: &str) -> io::Result<()> {
    let mut child = Command::new(nft)
        .args(["-f", "-"])
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
    Err(io::Error::other(format!("nft says: {}", String::from_utf8_lossy(&output.stderr).trim())))
}
