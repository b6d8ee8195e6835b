//! The text of the tables.

use std::net::Ipv4Addr;

use crate::{Containers, Link, Reach};

/// Where no container has any business, whatever the host can reach: link-local
/// addresses, with most clouds' metadata; that of Azure and of Alibaba Cloud,
/// which is elsewhere; loopback, for hosts that route it.
const UNREACHABLE: [&str; 4] = ["169.254.0.0/16", "168.63.129.16", "100.100.100.200", "127.0.0.0/8"];

/// Takes the tables away.
pub(crate) fn removal(table: &str, link: Link) -> String {
    let bridge = if link == Link::Bridge { format!("delete table bridge {table}\n") } else { String::new() };
    format!("delete table inet {table}\n{bridge}")
}

/// Sets them in place of those that may be there.
pub(crate) fn script(table: &str, containers: Containers<'_>, reach: &Reach, name_servers: &[Ipv4Addr]) -> String {
    let Containers { interfaces, addresses, gateway, link } = containers;
    let denied = reach.denied.iter().map(String::as_str);
    let unreachable: Vec<&str> = UNREACHABLE.into_iter().chain([addresses]).chain(denied).collect();
    let unreachable = unreachable.join(", ");
    let ask_names = if name_servers.is_empty() {
        String::new()
    } else {
        let servers: Vec<String> = name_servers.iter().map(Ipv4Addr::to_string).collect();
        format!("ip daddr {{ {} }} meta l4proto {{ tcp, udp }} th dport 53 accept", servers.join(", "))
    };
    // What was led to the API by `prerouting` has been asked for at the gateway.
    let (lead_to_api, let_in) = match gateway.zip(reach.api) {
        Some((gateway, api)) => {
            let (ip, port) = (api.ip(), api.port());
            (
                format!("iifname \"{interfaces}\" ip daddr {gateway} tcp dport {port} dnat ip to {ip}:{port}"),
                format!("ct status dnat ip daddr {ip} tcp dport {port} accept"),
            )
        }
        None => Default::default(),
    };
    let allowed: Vec<String> = reach
        .allowed
        .iter()
        .map(|place| format!("ip daddr {} tcp dport {} accept", place.ip(), place.port()))
        .collect();
    let allowed = allowed.join("\n        ");
    let (add_bridge, translation, bridge) = match link {
        Link::Cables => (String::new(), translation(containers), String::new()),
        Link::Bridge => (format!("add table bridge {table}\n"), String::new(), between_ports(table, addresses)),
    };
    let removal = removal(table, link);
    // `add` before `delete`, so that deleting works where there was none.
    format!(
        "add table inet {table}
{add_bridge}{removal}table inet {table} {{
    set unreachable {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {unreachable} }}; }}
    chain input {{
        type filter hook input priority -10; policy accept;
        iifname \"{interfaces}\" jump to_host
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
        iifname \"{interfaces}\" jump from_container
        oifname \"{interfaces}\" jump to_container
    }}
    chain from_container {{
        meta nfproto ipv6 drop
        ip saddr != {addresses} drop
        ct state established,related accept
        {ask_names}
        ip daddr @unreachable reject with icmpx type admin-prohibited
    }}
    chain to_container {{
        ct state established,related accept
        drop
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        {lead_to_api}
    }}
{translation}}}
{bridge}"
    )
}

/// For containers whose packets nobody else translates.
fn translation(containers: Containers<'_>) -> String {
    let Containers { interfaces, addresses, .. } = containers;
    format!(
        "    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {addresses} oifname != \"{interfaces}\" masquerade
    }}
"
    )
}

/// A bridge does not route what passes between its ports.
fn between_ports(table: &str, addresses: &str) -> String {
    format!(
        "table bridge {table} {{
    chain forward {{
        type filter hook forward priority -10; policy accept;
        ip saddr {addresses} ip daddr {addresses} drop
    }}
}}
"
    )
}
