//! Where Consul is, and how long things take.

use std::{fmt, str::FromStr, time::Duration};

use http::{HeaderValue, Uri, uri::Scheme};

/// Settings.
#[derive(Clone)]
pub struct Config {
    /// The agent.
    pub address: Address,
    /// What it wants to see, if anything.
    pub token: Option<HeaderValue>,
    /// A check that was not renewed for so long is critical. Renewed three
    /// times as often.
    pub ttl: Duration,
    /// A service that was critical for so long is removed. Consul takes no less
    /// than a minute.
    pub forgotten_after: Duration,
    /// How long a query waits for something new.
    pub wait: Duration,
    /// Pause after a failure.
    pub retry: Duration,
    /// What was read is told for so long after Consul ceased to answer.
    pub stale: Duration,
}

impl Config {
    /// Of the agent at this address.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            token: None,
            ttl: Duration::from_secs(10),
            forgotten_after: Duration::from_secs(60),
            wait: Duration::from_secs(55),
            retry: Duration::from_secs(1),
            stale: Duration::from_secs(30),
        }
    }
}

/// A token is a secret.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("address", &self.address).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

/// An agent, as `http://HOST:PORT`: the one beside the process, so without TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

/// A text is no address of an agent.
#[derive(Debug, thiserror::Error)]
#[error("Consul's agent is http://HOST:PORT")]
pub struct InvalidAddress;

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|_| InvalidAddress)?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else { return Err(InvalidAddress) };
        let plain = *scheme == Scheme::HTTP && matches!(uri.path(), "" | "/") && uri.query().is_none();
        if !plain || authority.as_str().contains('@') {
            return Err(InvalidAddress);
        }
        Ok(Self(format!("http://{authority}")))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_agent_and_nothing_more() {
        assert_eq!("http://127.0.0.1:8500/".parse::<Address>().expect("good").to_string(), "http://127.0.0.1:8500");
        for text in ["", "127.0.0.1:8500", "https://a", "http://a/v1", "http://a/?dc=1", "http://u:p@a"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
