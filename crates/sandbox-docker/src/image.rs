//! Names of images.

use std::fmt;

/// The registry that is meant where a name has none.
pub(crate) const DOCKER_HUB: &str = "docker.io";

/// `[REGISTRY/]NAME[:TAG][@DIGEST]`, as a user wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Image(String);

impl Image {
    pub(crate) fn new(name: impl Into<String>) -> Image {
        Image(name.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Host, and perhaps port, of its registry.
    pub(crate) fn registry(&self) -> &str {
        match self.0.split_once('/') {
            Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
            _ => DOCKER_HUB,
        }
    }

    /// Without tag and digest.
    pub(crate) fn bare(&self) -> &str {
        let name = self.0.split_once('@').map_or(self.0.as_str(), |(name, _)| name);
        match self.tag() {
            Some(tag) => &name[..name.len() - tag.len() - 1],
            None => name,
        }
    }

    /// The tag, where it has one.
    pub(crate) fn tag(&self) -> Option<&str> {
        let name = self.0.split_once('@').map_or(self.0.as_str(), |(name, _)| name);
        let last = name.rsplit_once('/').map_or(name, |(_, last)| last);
        last.split_once(':').map(|(_, tag)| tag)
    }

    /// Whether its content is part of its name.
    pub(crate) fn has_digest(&self) -> bool {
        self.0.contains('@')
    }

    /// Whether it means whatever is newest.
    pub(crate) fn is_latest(&self) -> bool {
        !self.has_digest() && self.tag().is_none_or(|tag| tag == "latest")
    }

    /// With the tag that is meant where there is none: without one, a daemon
    /// would pull them all.
    pub(crate) fn to_pull(&self) -> String {
        if self.has_digest() || self.tag().is_some() { self.0.clone() } else { format!("{}:latest", self.0) }
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        for (name, registry, tag, latest) in [
            ("me/image", DOCKER_HUB, None, true),
            ("me/image:latest", DOCKER_HUB, Some("latest"), true),
            ("me/image:1", DOCKER_HUB, Some("1"), false),
            ("localhost/image", "localhost", None, true),
            ("host:5000/image", "host:5000", None, true),
            ("host:5000/a/image:2", "host:5000", Some("2"), false),
            ("ghcr.io/a/image@sha256:00", "ghcr.io", None, false),
            ("image", DOCKER_HUB, None, true),
        ] {
            let image = Image::new(name);
            assert_eq!((image.registry(), image.tag(), image.is_latest()), (registry, tag, latest), "{name}");
        }
        assert_eq!(Image::new("host:5000/image").to_pull(), "host:5000/image:latest");
        assert_eq!(Image::new("a@sha256:00").to_pull(), "a@sha256:00");
        assert_eq!(Image::new("host:5000/image:1@sha256:00").bare(), "host:5000/image");
        assert_eq!(Image::new("host:5000/image").bare(), "host:5000/image");
    }
}
