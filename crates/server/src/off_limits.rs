//! Where containers have no business, wherever it is: what the operator names,
//! and the machines that keep what this server must not lose.
//!
//! A database that listens for its servers listens for their containers as
//! well, since address translation makes their packets the host's own. It asks
//! for a password, but user code should not even get to guess one. So the
//! addresses of the store are added to `--network-deny`, all of their ports with
//! them, and so are those of the brokers that an invoker is told. What has its
//! address on this host is out of reach anyway.
//!
//! Names are looked up once, at the start: where addresses change meanwhile, the
//! operator denies their network.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, ToSocketAddrs},
};

use crate::settings::Serve;

/// The networks that containers are kept from.
pub fn networks(settings: &Serve) -> Vec<String> {
    let hosts = hosts(&settings.store.url);
    let own =
        hosts.iter().chain(&settings.needed_hosts).flat_map(|host| addresses(host)).map(|address| address.to_string());
    let all: BTreeSet<String> = settings.network_deny.iter().cloned().chain(own).collect();
    all.into_iter().collect()
}

/// The hosts in a store's URL, of which PostgreSQL's may have several: between
/// the user and the database, and among the parameters.
fn hosts(url: &str) -> Vec<String> {
    let Some((_, rest)) = url.split_once("://") else { return Vec::new() };
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = place.split('/').next().unwrap_or_default();
    let hosts = authority.rsplit('@').next().unwrap_or_default();
    let named = parameters.split('&').filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        matches!(name, "host" | "hostaddr").then_some(value)
    });
    let each = named.chain([hosts]).flat_map(|hosts| hosts.split(','));
    // In brackets is an address of version 6, which containers do not have; a
    // path is that of a socket's folder.
    let each = each.filter(|host| !host.starts_with(['[', '/', '%'])).filter_map(|host| host.split(':').next());
    each.filter(|host| !host.is_empty()).map(str::to_owned).collect()
}

/// The addresses of a host that are not this machine's loopback. Blocks.
fn addresses(host: &str) -> Vec<Ipv4Addr> {
    let found = match (host, 0).to_socket_addrs() {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(host, %error, "containers are not kept from a host that has no address");
            return Vec::new();
        }
    };
    let addresses = found.filter_map(|address| match address.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    addresses.filter(|address| !address.is_loopback() && !address.is_unspecified()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_in_every_url_of_a_store() {
        for (url, expected) in [
            ("sqlite", &[] as &[&str]),
            ("postgres://whisker@db.example/whisker", &["db.example"]),
            ("postgres://whisker:a%40b@10.0.0.7:5433,10.0.0.8/whisker?sslmode=require", &["10.0.0.7", "10.0.0.8"]),
            ("postgres://whisker@/whisker?host=db.example&hostaddr=10.0.0.9", &["db.example", "10.0.0.9"]),
            ("postgres://me@[fd00::1]:5432/whisker", &[]),
            ("postgres://me@%2Frun%2Fpostgresql/whisker", &[]),
            ("couchdb://me@10.1.2.3:5984/?prefix=whisk_local_", &["10.1.2.3"]),
            ("couchdbs://me@couch.example/", &["couch.example"]),
        ] {
            assert_eq!(hosts(url), expected, "{url}");
        }
    }

    #[test]
    fn what_is_on_this_host_needs_no_rule_of_its_own() {
        assert_eq!(addresses("127.0.0.1"), [] as [Ipv4Addr; 0]);
        assert_eq!(addresses("10.9.8.7"), [Ipv4Addr::new(10, 9, 8, 7)]);
    }
}
