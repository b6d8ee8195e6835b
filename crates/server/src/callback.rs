//! How functions call this API back: what `__OW_API_HOST` says, and which door
//! their containers find open.
//!
//! Containers with a network of their own do not reach this host. Its API they
//! should: where it listens on loopback, or everywhere, they find it at the
//! gateway of their network, which only the backend knows; where the operator
//! says by which URL, and that is this host's, at that address and port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use hyper::Uri;
use whisker_firewall::Reach;

use crate::{
    configure::{scheme, url},
    off_limits,
    settings::{Network, Serve},
};

/// Where and by what name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// `__OW_API_HOST`, if it does not depend on the backend.
    url: Option<String>,
    scheme: &'static str,
    /// Where the API listens, to be reached at the gateway.
    api: Option<SocketAddrV4>,
    /// Places of this host to let containers reach.
    allowed: Vec<SocketAddrV4>,
}

impl Callback {
    /// To an API that listens at this address of this host.
    pub fn here(settings: &Serve, address: SocketAddr) -> Self {
        let nothing = Self { url: None, scheme: scheme(settings), api: None, allowed: Vec::new() };
        if let Some(url) = &settings.api_host {
            return Self { url: Some(url.clone()), ..nothing };
        }
        match (settings.network, within(address)) {
            (Network::Nat, Some(api)) => Self { api: Some(api), ..nothing },
            _ => Self { url: Some(url(settings, address)), ..nothing },
        }
    }

    /// To one that listens elsewhere: where the settings say, or where an API of
    /// this host usually is.
    pub fn elsewhere(settings: &Serve) -> Self {
        let usual = format!("http://{}", SocketAddrV4::new(Ipv4Addr::LOCALHOST, 3233));
        let url = Some(settings.api_host.clone().unwrap_or(usual));
        Self { url, scheme: "http", api: None, allowed: Vec::new() }
    }

    /// Finds the places behind the URL. Blocks for as long as the host's resolver
    /// does.
    pub fn look_up(self) -> Self {
        let allowed = self.url.as_deref().map(places).unwrap_or_default();
        Self { allowed, ..self }
    }

    /// Where containers may go that are denied these networks.
    pub fn reach(&self, denied: Vec<String>) -> Reach {
        Reach { denied, api: self.api, allowed: self.allowed.clone() }
    }

    /// What functions are told, this being their gateway's address or a word
    /// that stands for it.
    pub fn url(&self, gateway: impl std::fmt::Display) -> String {
        match (&self.url, self.api) {
            (Some(url), _) => url.clone(),
            (None, Some(api)) => format!("{}://{gateway}:{}", self.scheme, api.port()),
            (None, None) => String::new(),
        }
    }
}

/// Where a connection from this host finds what listens at an address, by IPv4.
fn within(address: SocketAddr) -> Option<SocketAddrV4> {
    let ip = match address.ip() {
        ip if ip.is_unspecified() => Ipv4Addr::LOCALHOST,
        IpAddr::V4(ip) => ip,
        IpAddr::V6(_) => return None,
    };
    Some(SocketAddrV4::new(ip, address.port()))
}

/// Where a URL leads to. Blocks.
fn places(url: &str) -> Vec<SocketAddrV4> {
    let Ok(uri) = url.parse::<Uri>() else { return Vec::new() };
    let Some(host) = uri.host() else { return Vec::new() };
    // OpenWhisk's clients take a host without a scheme for one of HTTPS.
    let usual = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    off_limits::places(host, uri.port_u16().unwrap_or(usual)).unwrap_or_else(|error| {
        tracing::warn!(host, %error, "functions may not reach --api-host, which has no address");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        serve: Serve,
    }

    fn here(flags: &[&str], address: &str) -> Callback {
        let serve = Only::parse_from([&["whisker"], flags].concat()).serve;
        Callback::here(&serve, address.parse().unwrap())
    }

    #[test]
    fn an_api_of_this_host_is_found_at_the_gateway() {
        for (address, ip) in
            [("127.0.0.1:3233", "127.0.0.1"), ("0.0.0.0:3233", "127.0.0.1"), ("192.0.2.7:3233", "192.0.2.7")]
        {
            let callback = here(&[], address);
            assert_eq!(callback.url("10.213.0.1"), "http://10.213.0.1:3233");
            assert_eq!(callback.api.unwrap().to_string(), format!("{ip}:3233"));
        }
        let callback = here(&["--network", "host"], "127.0.0.1:3233");
        assert_eq!((callback.url("none").as_str(), callback.api), ("http://127.0.0.1:3233", None));
    }

    #[test]
    fn what_the_operator_names_is_let_through_and_told() {
        for (url, place) in [
            ("http://192.0.2.7", "192.0.2.7:80"),
            ("https://192.0.2.7/", "192.0.2.7:443"),
            ("http://192.0.2.7:3401", "192.0.2.7:3401"),
            ("192.0.2.7", "192.0.2.7:443"),
        ] {
            let callback = here(&["--api-host", url], "0.0.0.0:3233").look_up();
            assert_eq!(callback.url("none"), url);
            assert_eq!(callback.api, None);
            assert_eq!(callback.allowed, [place.parse().unwrap()], "{url}");
        }
        assert!(here(&["--api-host", "https://127.0.0.1"], "0.0.0.0:3233").look_up().allowed.is_empty());
    }
}
