//! How many connections each address has: one that opens too many leaves
//! places to others.
//!
//! Loopback is not counted, nor is a proxy that the operator named, which
//! speaks for many. Of IPv6 a network of 64 bits counts as one address, since
//! it is one customer's.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The addresses that are connected.
#[derive(Debug, Clone)]
pub struct Addresses {
    limit: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection of an address, until dropped.
#[derive(Debug)]
pub struct Seat {
    address: Option<IpAddr>,
    addresses: Addresses,
}

impl Addresses {
    /// With so many connections for each.
    pub fn new(limit: usize) -> Addresses {
        Addresses { limit, counts: Arc::default() }
    }

    /// Counts a connection, unless its address has too many.
    pub fn seat(&self, address: IpAddr) -> Option<Seat> {
        if address.to_canonical().is_loopback() {
            return Some(self.uncounted());
        }
        let address = counted_as(address);
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Seat { address: Some(address), addresses: self.clone() })
    }

    /// A seat that takes nobody's place.
    pub fn uncounted(&self) -> Seat {
        Seat { address: None, addresses: self.clone() }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut counts = self.addresses.counts();
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_so_many_and_gets_them_back() {
        let addresses = Addresses::new(2);
        let seat = |text: &str| addresses.seat(text.parse().expect("an address"));
        let (first, second) = (seat("192.0.2.1"), seat("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some() && seat("192.0.2.1").is_none());
        assert!(seat("192.0.2.2").is_some());
        drop(first);
        assert!(seat("192.0.2.1").is_some());
        let kept = (seat("2001:db8::1"), seat("2001:db8::2"));
        assert!(kept.0.is_some() && kept.1.is_some() && seat("2001:db8::3").is_none(), "one network");
        assert!(seat("2001:db8:0:1::1").is_some());
        let many: Vec<_> = (0..10).map(|_| seat("127.0.0.1")).collect();
        assert!(many.iter().all(Option::is_some), "loopback");
        drop((second, kept));
        assert!(addresses.counts().is_empty(), "nothing is kept of who has gone");
    }
}
