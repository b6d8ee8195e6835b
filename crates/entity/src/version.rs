//! Semantic versions of entities.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// `major.minor.patch`, never `0.0.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

/// A text that is no version, in OpenWhisk's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("semantic version malformed")]
pub struct InvalidVersion;

impl Version {
    /// What an entity starts with: `0.0.1`.
    pub const FIRST: Version = Version { major: 0, minor: 0, patch: 1 };

    /// The version after an update that names none: the patch number rises.
    pub fn next(self) -> Self {
        Self { patch: self.patch.saturating_add(1), ..self }
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    /// Missing parts are 0; a fourth and later parts are dropped, as OpenWhisk does.
    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let mut parts = text.split('.').take(3).map(|part| part.parse::<u32>().map_err(|_| InvalidVersion));
        let mut part = || parts.next().unwrap_or(Ok(0));
        let version = Version { major: part()?, minor: part()?, patch: part()? };
        if version == (Version { major: 0, minor: 0, patch: 0 }) { Err(InvalidVersion) } else { Ok(version) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_read_as_openwhisk_reads_them() {
        for (text, shown) in [("1.2.3", "1.2.3"), ("1.2.3.4", "1.2.3"), ("2", "2.0.0"), ("1.0", "1.0.0")] {
            assert_eq!(text.parse::<Version>().map(|v| v.to_string()), Ok(shown.into()));
        }
        for bad in ["", "one", "0.0.0", "-1.0.0", "1..2"] {
            assert_eq!(bad.parse::<Version>(), Err(InvalidVersion), "{bad:?}");
        }
        assert_eq!(Version::FIRST.next().to_string(), "0.0.2");
    }
}
