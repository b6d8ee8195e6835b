//! Sizes as OpenWhisk's documents write them: `1 MB`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes that remembers how it was written, since clients are
/// shown the text. Units count in steps of 1024.
#[derive(Debug, Clone, Copy)]
pub struct ByteSize {
    number: u64,
    unit: Unit,
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    B,
    KB,
    MB,
    GB,
}

impl Unit {
    fn shift(self) -> u32 {
        match self {
            Self::B => 0,
            Self::KB => 10,
            Self::MB => 20,
            Self::GB => 30,
        }
    }
}

/// A text that is no size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSize {
    /// Not a whole number and a unit.
    #[error("Size Unit not supported. Only \"B\", \"K[B]\", \"M[B]\" and \"G[B]\" are supported.")]
    Form,
    /// More bytes than can be counted.
    #[error("too large a size")]
    TooLarge,
}

impl ByteSize {
    /// So many bytes, written as bytes.
    pub const fn bytes(number: u64) -> Self {
        Self { number, unit: Unit::B }
    }

    /// How many bytes it is.
    pub fn to_bytes(self) -> u64 {
        // Read with a check that this does not overflow.
        self.number << self.unit.shift()
    }
}

/// However they are written.
impl PartialEq for ByteSize {
    fn eq(&self, other: &Self) -> bool {
        self.to_bytes() == other.to_bytes()
    }
}

impl Eq for ByteSize {}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.number, self.unit)
    }
}

impl FromStr for ByteSize {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        let text = text.trim();
        let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or(InvalidSize::Form)?;
        let (number, unit) = text.split_at(unit_at);
        let unit = match unit.trim_start().to_ascii_uppercase().as_str() {
            "B" => Unit::B,
            "K" | "KB" => Unit::KB,
            "M" | "MB" => Unit::MB,
            "G" | "GB" => Unit::GB,
            _ => return Err(InvalidSize::Form),
        };
        if number.is_empty() {
            return Err(InvalidSize::Form);
        }
        let number: u64 = number.parse().map_err(|_| InvalidSize::TooLarge)?;
        if number > u64::MAX >> unit.shift() {
            return Err(InvalidSize::TooLarge);
        }
        Ok(Self { number, unit })
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_shown_as_it_was_written_and_compared_by_its_bytes() {
        for (text, shown, bytes) in
            [("1 MB", "1 MB", 1 << 20), ("512k", "512 KB", 512 << 10), (" 0 b ", "0 B", 0), ("2GB", "2 GB", 2 << 30)]
        {
            let size: ByteSize = text.parse().expect("a size");
            assert_eq!((size.to_string().as_str(), size.to_bytes()), (shown, bytes), "{text}");
            assert_eq!(size, ByteSize::bytes(bytes));
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "1", "MB", "-1 MB", "1.5 MB", "1 TB", "1 MB 2", "ü"] {
            assert_eq!(text.parse::<ByteSize>(), Err(InvalidSize::Form), "{text}");
        }
        for text in ["17179869184 GB", "99999999999999999999 B"] {
            assert_eq!(text.parse::<ByteSize>(), Err(InvalidSize::TooLarge), "{text}");
        }
        assert_eq!("17179869183 GB".parse::<ByteSize>().map(ByteSize::to_bytes), Ok(17_179_869_183 << 30));
    }
}
