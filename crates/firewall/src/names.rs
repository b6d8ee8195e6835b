//! The name servers of this host, as far as containers can ask them.

use std::{fs, net::Ipv4Addr};

/// The text of the host's `resolv.conf`. A name server on a loopback address cannot
/// be reached from another network namespace; systemd keeps the real ones in a
/// second file.
pub fn resolver() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let own = read("/etc/resolv.conf");
    if own.lines().any(|line| line.starts_with("nameserver 127.")) {
        let behind = read("/run/systemd/resolve/resolv.conf");
        if !behind.is_empty() {
            return behind;
        }
    }
    own
}

/// Of such a text, the name servers that a container may ask: not those on
/// loopback addresses, which from inside are the container's own.
pub fn name_servers(resolver: &str) -> Vec<Ipv4Addr> {
    let words = resolver.lines().filter_map(|line| line.strip_prefix("nameserver"));
    let addresses = words.filter_map(|word| word.trim().parse::<Ipv4Addr>().ok());
    addresses.filter(|address| !address.is_loopback()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_on_loopback_cannot_be_asked() {
        let text = "# a comment\nnameserver 127.0.0.53\nnameserver 10.1.2.3\nnameserver fd00::1\nsearch x\n";
        assert_eq!(name_servers(text), [Ipv4Addr::new(10, 1, 2, 3)]);
    }
}
