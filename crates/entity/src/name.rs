//! Names of entities and the paths they live at.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a text is no name, in OpenWhisk's words (`ErrorResponse.scala`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Longer than 256 characters (the misspelling is OpenWhisk's).
    #[error("Name segement longer than allowed: {0} > 256.")]
    TooLong(usize),
    /// Empty, or with characters that a name cannot have.
    #[error("The name of the entity contains illegal characters.")]
    Illegal,
}

/// One segment: the name of an action, package, trigger, rule or namespace.
///
/// 1 to 256 characters; the first a word character (`[A-Za-z0-9_]`), the last
/// not a space, those between also `@`, space, `.`, `&` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityName(Arc<str>);

impl EntityName {
    /// Longest name in characters.
    pub const MAX_CHARS: usize = 256;

    /// Checks a text against the rule.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let length = text.chars().count();
        if length > Self::MAX_CHARS {
            return Err(InvalidName::TooLong(length));
        }
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let inner = |b: u8| word(b) || matches!(b, b'@' | b' ' | b'.' | b'&' | b'-');
        let bytes = text.as_bytes();
        let legal = match (bytes.first(), bytes.last()) {
            (Some(&first), Some(&last)) => word(first) && last != b' ' && bytes.iter().all(|&b| inner(b)),
            _ => false,
        };
        if legal { Ok(Self(text.into())) } else { Err(InvalidName::Illegal) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where an entity lives: a namespace, or a package of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityPath {
    /// The namespace.
    pub namespace: EntityName,
    /// The package, for packaged actions.
    pub package: Option<EntityName>,
}

impl EntityPath {
    /// The root of a namespace.
    pub fn root(namespace: EntityName) -> Self {
        Self { namespace, package: None }
    }

    /// `ns` or `ns/pkg`; empty segments are dropped, as OpenWhisk does.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let mut segments = text.split('/').filter(|s| !s.is_empty());
        let namespace = EntityName::new(segments.next().ok_or(InvalidName::Illegal)?)?;
        let package = segments.next().map(EntityName::new).transpose()?;
        if segments.next().is_some() {
            return Err(InvalidName::Illegal);
        }
        Ok(Self { namespace, package })
    }
}

/// A path and a name: what a document is called. Its text, `ns/name` or
/// `ns/pkg/name`, is the document's id in every store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QualifiedName {
    /// Where it lives.
    pub path: EntityPath,
    /// What it is called there.
    pub name: EntityName,
}

impl QualifiedName {
    /// Joins a path and a name.
    pub fn new(path: EntityPath, name: EntityName) -> Self {
        Self { path, name }
    }

    /// The name of the package that this is in, if it is in one.
    pub fn package(&self) -> Option<QualifiedName> {
        let package = self.path.package.clone()?;
        Some(QualifiedName::new(EntityPath::root(self.path.namespace.clone()), package))
    }

    /// `ns/name` or `ns/pkg/name`; a leading slash is allowed.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let (path, name) = text.rsplit_once('/').ok_or(InvalidName::Illegal)?;
        Ok(Self { path: EntityPath::parse(path)?, name: EntityName::new(name)? })
    }
}

macro_rules! text {
    ($type:ident, $parse:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                $parse(&text).map_err(de::Error::custom)
            }
        }
        impl std::str::FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                $parse(text)
            }
        }
    };
}

text!(EntityName, EntityName::new);
text!(EntityPath, EntityPath::parse);
text!(QualifiedName, QualifiedName::parse);

impl fmt::Display for EntityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for EntityPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.package {
            Some(package) => write!(f, "{}/{package}", self.namespace),
            None => self.namespace.fmt(f),
        }
    }
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.path, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_openwhisks_rule() {
        for good in ["a", "_", "hello world", "a@b.c&d-e", "x-", "1", &"n".repeat(256)] {
            assert!(EntityName::new(good).is_ok(), "{good}");
        }
        for bad in ["", " a", "a ", "-a", "@a", "a/b", "a\0", "a\n", "ä", "a+b", ".."] {
            assert_eq!(EntityName::new(bad), Err(InvalidName::Illegal), "{bad:?}");
        }
        assert_eq!(EntityName::new(&"n".repeat(257)), Err(InvalidName::TooLong(257)));
    }

    #[test]
    fn qualified_names_have_two_or_three_parts() {
        for (text, shown) in [("ns/a", "ns/a"), ("/ns/pkg/a", "ns/pkg/a")] {
            assert_eq!(QualifiedName::parse(text).map(|n| n.to_string()), Ok(shown.into()));
        }
        for bad in ["a", "/a", "a/b/c/d", "ns/", ""] {
            assert!(QualifiedName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
