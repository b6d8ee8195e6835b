//! Who asks, when a proxy stands in between.
//!
//! Whoever guesses keys is counted by address, and behind a proxy everyone has
//! the proxy's. Its word for the client's own (`X-Forwarded-For`) is taken if
//! the operator named it, and from nobody else: anyone can write a header.

use std::{net::IpAddr, str::FromStr};

use hyper::HeaderMap;

/// The header that proxies append their clients to.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Some leading bits of an address, as `10.0.0.0/8`; or one whole address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    base: IpAddr,
    bits: u8,
}

/// A text that is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address, or a network such as 10.0.0.0/8")]
pub struct InvalidCidr;

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        let (base, bits) = text.split_once('/').map_or((text, None), |(base, bits)| (base, Some(bits)));
        let base: IpAddr = base.parse().map_err(|_| InvalidCidr)?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| InvalidCidr)?;
        if bits <= most { Ok(Self { base, bits }) } else { Err(InvalidCidr) }
    }
}

impl Cidr {
    /// Whether an address is in it.
    pub fn contains(self, address: IpAddr) -> bool {
        // Shifted by all its bits, a number would be said to overflow.
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                (base.to_bits() ^ address.to_bits()).checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                (base.to_bits() ^ address.to_bits()).checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// The proxies whose word is taken.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Vec<Cidr>);

impl Proxies {
    /// These.
    pub fn new(trusted: Vec<Cidr>) -> Self {
        Self(trusted)
    }

    /// Whether this is one of them.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|cidr| cidr.contains(address.to_canonical()))
    }

    /// Who asks, when this address is connected and sends these headers.
    ///
    /// Each proxy appends whom it was asked by, so that the list is read from
    /// its end for as long as trusted proxies vouch for it: what a client wrote
    /// into it stands further in front. What is no address ends the reading.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        let mut client = peer;
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let mut hops = lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(','));
        while self.trusts(client) {
            let Some(hop) = hops.next().and_then(address) else { break };
            // This host's own users are not counted, which is nothing that
            // another host can say of somebody.
            if hop.is_loopback() && !peer.is_loopback() {
                break;
            }
            client = hop;
        }
        client
    }
}

/// An address as proxies write it: alone, or with a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(text, |(inside, _)| inside);
    let parsed = bare.parse::<IpAddr>().or_else(|_| bare.parse::<std::net::SocketAddr>().map(|address| address.ip()));
    parsed.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn networks_hold_the_addresses_below_them() {
        for (cidr, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("fd00::/8", "fdab::1", true),
            ("::/0", "2001:db8::1", true),
            ("::1", "::1", true),
        ] {
            let cidr: Cidr = cidr.parse().unwrap();
            assert_eq!(cidr.contains(address.parse().unwrap()), inside, "{cidr:?} {address}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "::/129", "a/8", "10.0.0.0/-1"] {
            assert_eq!(text.parse::<Cidr>(), Err(InvalidCidr), "{text}");
        }
    }

    #[test]
    fn a_client_is_whom_trusted_proxies_name_and_nobody_else() {
        let proxies = Proxies::new(vec!["127.0.0.1".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]);
        for (peer, lines, client) in [
            ("127.0.0.1", &[][..], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("127.0.0.1", &["203.0.113.9:5000"], "203.0.113.9"),
            ("127.0.0.1", &["[2001:db8::1]:5000"], "2001:db8::1"),
            ("127.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
            ("::ffff:127.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            // What the client claims stands in front of what the proxy saw.
            ("127.0.0.1", &["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
            ("127.0.0.1", &["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
            ("127.0.0.1", &["203.0.113.9, 10.1.1.1"], "203.0.113.9"),
            ("10.1.1.1", &["127.0.0.1"], "10.1.1.1"),
            ("10.1.1.1", &["127.0.0.1, 10.1.1.2"], "10.1.1.2"),
            ("127.0.0.1", &["nonsense"], "127.0.0.1"),
            ("10.1.1.1", &["203.0.113.9, nonsense, 10.1.1.2"], "10.1.1.2"),
            ("10.1.1.1", &["203.0.113.9, "], "10.1.1.1"),
            // Not a proxy of ours, whatever it says.
            ("192.0.2.1", &["127.0.0.1"], "192.0.2.1"),
            ("192.0.2.1", &["10.1.1.1"], "192.0.2.1"),
        ] {
            let headers = lines.iter().map(|line| ("x-forwarded-for".parse().unwrap(), HeaderValue::from_static(line)));
            let headers: HeaderMap = headers.fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append::<hyper::header::HeaderName>(name, value);
                headers
            });
            let client: IpAddr = client.parse().unwrap();
            assert_eq!(proxies.client(peer.parse().unwrap(), &headers), client, "{peer} {lines:?}");
        }
        let mut odd = HeaderMap::new();
        odd.insert("x-forwarded-for", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(proxies.client("10.1.1.1".parse().unwrap(), &odd).to_string(), "10.1.1.1");
    }
}
