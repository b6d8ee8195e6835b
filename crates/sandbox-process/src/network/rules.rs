//! The packet filter rules of `nat`, as one table of nftables.
//!
//! One table is set, replaced and removed as a whole, and it never touches
//! another's. What it cannot do is overrule a *drop* elsewhere: on a host
//! whose firewall forwards nothing, containers reach nothing.

use std::{
    fs,
    io::{self, Write},
    net::Ipv4Addr,
    path::Path,
    process::{Command, Stdio},
};

use super::Wiring;
use crate::Nat;

/// Where no container has any business, whatever the host can reach: link-local
/// addresses, with most clouds' metadata; that of Azure and of Alibaba Cloud,
/// which is elsewhere; loopback, for hosts that route it.
const UNREACHABLE: [&str; 4] = ["169.254.0.0/16", "168.63.129.16", "100.100.100.200", "127.0.0.0/8"];

const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Sets the rules, in place of any of a former life.
pub(super) fn set(wiring: &Wiring, name_servers: &[Ipv4Addr], nat: &Nat) -> io::Result<()> {
    run(&wiring.nft, &["-f", "-"], &script(wiring, name_servers, nat))
}

/// Removes the rules.
pub(super) fn remove(wiring: &Wiring) -> io::Result<()> {
    run(&wiring.nft, &["-f", "-"], &format!("delete table inet {}\n", table(wiring)))
}

/// Lets this host forward packets at all. Left on at the end: others may have
/// come to rely on it.
pub(super) fn forward_packets() -> io::Result<()> {
    if fs::read_to_string(FORWARD)?.trim() == "0" {
        tracing::info!("switching on net.ipv4.ip_forward, without which containers reach nothing");
        fs::write(FORWARD, "1")?;
    }
    Ok(())
}

fn table(wiring: &Wiring) -> String {
    format!("whisker_{}", wiring.instance)
}

fn script(wiring: &Wiring, name_servers: &[Ipv4Addr], nat: &Nat) -> String {
    let (table, network) = (table(wiring), wiring.network());
    let cables = format!("\"{}*\"", wiring.prefix());
    let unreachable: Vec<&str> =
        UNREACHABLE.into_iter().chain([network.as_str()]).chain(nat.denied.iter().map(String::as_str)).collect();
    let unreachable = unreachable.join(", ");
    let ask_names = if name_servers.is_empty() {
        String::new()
    } else {
        let servers: Vec<String> = name_servers.iter().map(Ipv4Addr::to_string).collect();
        format!("ip daddr {{ {} }} meta l4proto {{ tcp, udp }} th dport 53 accept", servers.join(", "))
    };
    // What was led to the API by `prerouting` has been asked for at the gateway.
    let (lead_to_api, let_in) = match wiring.api {
        Some(api) => {
            let (gateway, ip, port) = (wiring.gateway, api.ip(), api.port());
            (
                format!("iifname {cables} ip daddr {gateway} tcp dport {port} dnat ip to {ip}:{port}"),
                format!("ct status dnat ip daddr {ip} tcp dport {port} accept"),
            )
        }
        None => Default::default(),
    };
    let allowed: Vec<String> =
        nat.allowed.iter().map(|place| format!("ip daddr {} tcp dport {} accept", place.ip(), place.port())).collect();
    let allowed = allowed.join("\n        ");
    // `add` before `delete`, so that deleting works where there was none.
    format!(
        "add table inet {table}
delete table inet {table}
table inet {table} {{
    set unreachable {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {unreachable} }}; }}
    chain input {{
        type filter hook input priority -10; policy accept;
        iifname {cables} jump to_host
    }}
    chain to_host {{
        {ask_names}
        {let_in}
        {allowed}
        reject with icmpx type admin-prohibited
    }}
    chain forward {{
        type filter hook forward priority -10; policy accept;
        iifname {cables} jump from_container
        oifname {cables} jump to_container
    }}
    chain from_container {{
        meta nfproto ipv6 drop
        ip saddr != {network} drop
        ct state established,related accept
        {ask_names}
        ip daddr @unreachable reject with icmpx type admin-prohibited
        accept
    }}
    chain to_container {{
        ct state established,related accept
        drop
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        {lead_to_api}
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {network} oifname != {cables} masquerade
    }}
}}
"
    )
}

/// Runs a program that takes its orders on standard input.
pub(super) fn run(program: &Path, arguments: &[&str], orders: &str) -> io::Result<()> {
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
