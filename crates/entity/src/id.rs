//! Ids of activations and transactions.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Millis;

/// Names one activation: 32 lower-case hex digits, opaque to clients.
///
/// Ours begin with the time (48 bits of milliseconds, then 80 random bits):
/// a store that keeps them in order inserts at its end, which measured five
/// times cheaper than at random places. Ids that OpenWhisk made are as good.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActivationId(u128);

impl ActivationId {
    /// An id from the time and random bits, of which 80 are used.
    pub fn new(now: Millis, random: u128) -> Self {
        Self((u128::from(now) << 80) | (random & ((1 << 80) - 1)))
    }

    /// When it was made, if it is one of ours; any time otherwise.
    pub fn time(self) -> Millis {
        (self.0 >> 80) as Millis
    }

    /// The bytes, in the order in which the digits are written.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The id whose [`to_bytes`](Self::to_bytes) these are.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for ActivationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ActivationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no activation id, in OpenWhisk's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidActivationId {
    /// Not 32 characters long.
    #[error("Activation id length is {0} but must be 32.")]
    Length(usize),
    /// Other characters than lower-case hex digits.
    #[error("The activation id is not valid.")]
    Digits,
}

impl FromStr for ActivationId {
    type Err = InvalidActivationId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let length = text.chars().count();
        if length != 32 {
            return Err(InvalidActivationId::Length(length));
        }
        if !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(InvalidActivationId::Digits);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| InvalidActivationId::Digits)
    }
}

impl Serialize for ActivationId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ActivationId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Follows one request through logs, errors and messages: what the client sent
/// as `X-Request-ID`, or 32 letters and digits of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TransactionId(Arc<str>);

impl TransactionId {
    /// Ids that begin so are the platform's own; clients may not send them.
    pub const SYSTEM_PREFIX: &'static str = "sid_";

    /// What a client sent, unless it begins with the reserved prefix, is
    /// empty, longer than 128 characters or not printable ASCII.
    pub fn from_client(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= 128 && text.bytes().all(|b| b.is_ascii_graphic());
        (fits && !text.starts_with(Self::SYSTEM_PREFIX)).then(|| Self(text.into()))
    }

    /// An id of ours or of another controller's, out of a message.
    pub fn restore(text: &str) -> Self {
        Self(text.into())
    }

    /// An id for what the platform does by itself, such as `sid_invokerHealth`.
    pub fn system(purpose: &str) -> Self {
        Self(format!("{}{purpose}", Self::SYSTEM_PREFIX).into())
    }

    /// 32 letters and digits spelled from random bits.
    pub fn generate(mut random: u128, mut more: u128) -> Self {
        const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut text = String::with_capacity(32);
        for i in 0..32 {
            let source = if i < 16 { &mut random } else { &mut more };
            text.push(LETTERS[(*source % 62) as usize] as char);
            *source /= 62;
        }
        Self(text.into())
    }

    /// The text, as in `X-Request-ID` and an error's `code`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_activation_id_begins_with_its_time_and_reads_back() {
        let id = ActivationId::new(0x0193_4a5b_6c7d, u128::MAX);
        assert_eq!(id.to_string(), "01934a5b6c7dffffffffffffffffffff");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.time(), 0x0193_4a5b_6c7d);
        assert_eq!(ActivationId::from_bytes(id.to_bytes()), id);
    }

    #[test]
    fn other_texts_are_refused_in_openwhisks_words() {
        for (text, message) in [
            ("abc", "Activation id length is 3 but must be 32."),
            ("ABCDEFABCDEFABCDEFABCDEFABCDEFAB", "The activation id is not valid."),
            ("+123456789012345678901234567890a", "The activation id is not valid."),
        ] {
            assert_eq!(text.parse::<ActivationId>().map_err(|e| e.to_string()), Err(message.into()));
        }
    }

    #[test]
    fn clients_cannot_send_the_platforms_transaction_ids() {
        assert!(TransactionId::from_client("sid_x").is_none());
        assert!(TransactionId::from_client("").is_none());
        assert_eq!(TransactionId::from_client("mine").map(|t| t.to_string()), Some("mine".into()));
        assert_eq!(TransactionId::generate(7, 9).as_str().len(), 32);
    }
}
