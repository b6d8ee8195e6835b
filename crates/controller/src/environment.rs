//! The world's time and chance, read in this one place.

use std::time::{SystemTime, UNIX_EPOCH};

use whisker_entity::{ActivationId, Millis, TransactionId};

/// The wall clock.
pub fn now() -> Millis {
    #[expect(clippy::disallowed_methods, reason = "dates are recorded with this")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A new activation id.
pub fn activation_id(now: Millis) -> ActivationId {
    ActivationId::new(now, random()[0])
}

/// A new transaction id.
pub fn transaction_id() -> TransactionId {
    let [a, b] = random();
    TransactionId::generate(a, b)
}

fn random() -> [u128; 2] {
    let mut bytes = [0; 32];
    // The kernel's generator fails only where there is none at all.
    if getrandom::fill(&mut bytes).is_err() {
        std::process::abort();
    }
    let (a, b) = bytes.split_at(16);
    [a, b].map(|half| u128::from_ne_bytes(half.try_into().unwrap_or_default()))
}
