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
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, ToSocketAddrs},
};

use crate::settings::{Network, Serve};

/// What containers are kept from, before names are looked up.
pub struct OffLimits {
    networks: Vec<String>,
    hosts: Vec<String>,
}

impl OffLimits {
    /// As the settings have it.
    pub fn of(settings: &Serve) -> Self {
        // Without networks of their own, containers reach all or nothing.
        if !matches!(settings.network, Network::Nat) {
            return Self { networks: Vec::new(), hosts: Vec::new() };
        }
        let mut hosts = hosts(&settings.store.url);
        hosts.extend(settings.needed_hosts.iter().cloned());
        Self { networks: settings.network_deny.clone(), hosts }
    }

    /// As networks, each once. Asks for the addresses of names, and blocks for
    /// as long as the host's resolver does.
    pub fn look_up(self) -> Vec<String> {
        let own = self.hosts.iter().flat_map(|host| addresses(host)).map(|address| address.to_string());
        let all: BTreeSet<String> = self.networks.iter().cloned().chain(own).collect();
        all.into_iter().collect()
    }
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
    named.chain([hosts]).flat_map(listed).collect()
}

/// The hosts in a list such as `db1:5432,db2`, and in one of Kafka's brokers,
/// which may begin with a listener's name: `SSL://k1:9092`.
pub fn listed(hosts: &str) -> Vec<String> {
    let each = hosts.split(',').map(|host| host.rsplit("://").next().unwrap_or(host).trim());
    // In brackets is an address of version 6, which containers do not have; a
    // path is that of a socket's folder.
    let each = each.filter(|host| !host.starts_with(['[', '/', '%'])).filter_map(|host| host.split(':').next());
    each.filter(|host| !host.is_empty()).map(str::to_owned).collect()
}

/// The addresses of a host.
fn addresses(host: &str) -> Vec<Ipv4Addr> {
    match places(host, 0) {
        Ok(places) => places.iter().map(|place| *place.ip()).collect(),
        Err(error) => {
            tracing::warn!(host, %error, "containers are not kept from a host that has no address");
            Vec::new()
        }
    }
}

/// Where a port of a host is for a container, which has IPv4 and a loopback of its
/// own. Blocks for as long as this host's resolver does.
pub fn places(host: &str, port: u16) -> io::Result<Vec<SocketAddrV4>> {
    let found = (host, port).to_socket_addrs()?.filter_map(|place| match place {
        SocketAddr::V4(place) => Some(place),
        SocketAddr::V6(_) => None,
    });
    Ok(found.filter(|place| !place.ip().is_loopback() && !place.ip().is_unspecified()).collect())
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
            ("cosmos://me.documents.azure.com:443/ow?patience=5s", &["me.documents.azure.com"]),
        ] {
            assert_eq!(hosts(url), expected, "{url}");
        }
    }

    #[test]
    fn brokers_are_known_by_their_hosts() {
        assert_eq!(listed("k1.example:9092, 10.0.0.5:9093,k3"), ["k1.example", "10.0.0.5", "k3"]);
        assert_eq!(listed("SSL://k1.example:9092,[fd00::1]:9092,:9092,"), ["k1.example"]);
    }

    #[test]
    fn what_is_on_this_host_needs_no_rule_of_its_own() {
        assert_eq!(addresses("127.0.0.1"), [] as [Ipv4Addr; 0]);
        assert_eq!(addresses("10.9.8.7"), [Ipv4Addr::new(10, 9, 8, 7)]);
    }
}
