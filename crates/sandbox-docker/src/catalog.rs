//! Which image a kind runs in.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use whisker_sandbox::image_of;

use crate::{Config, image::Image};

/// The manifest's images.
#[derive(Debug)]
pub(crate) struct Catalog {
    kinds: BTreeMap<String, Image>,
    /// Black boxes that are the platform's own: they end output with sentinels
    /// and are there.
    native: BTreeSet<String>,
}

/// What a container is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    pub image: Image,
    /// Whether it is a user's.
    pub foreign: bool,
}

#[derive(Deserialize)]
struct Manifest {
    runtimes: BTreeMap<String, Vec<Row>>,
    #[serde(default)]
    blackboxes: Vec<Name>,
}

#[derive(Deserialize)]
struct Row {
    kind: String,
    image: Name,
}

#[derive(Deserialize)]
struct Name {
    #[serde(default)]
    prefix: String,
    name: String,
    #[serde(default)]
    tag: String,
}

impl Name {
    fn image(&self, prefix: Option<&str>, tag: Option<&str>) -> Image {
        let prefix = prefix.unwrap_or(&self.prefix);
        let tag = tag.unwrap_or(&self.tag);
        let mut name = if prefix.is_empty() { self.name.clone() } else { format!("{prefix}/{}", self.name) };
        if !tag.is_empty() {
            name = format!("{name}:{tag}");
        }
        Image::new(name)
    }
}

impl Catalog {
    pub(crate) fn read(config: &Config) -> serde_json::Result<Catalog> {
        let manifest: Manifest = serde_json::from_str(&config.manifest)?;
        let (prefix, tag) = (config.image_prefix.as_deref(), config.image_tag.as_deref());
        let rows = manifest.runtimes.values().flatten();
        let kinds = rows.map(|row| (row.kind.clone(), row.image.image(prefix, tag))).collect();
        // As users name them: with the manifest's tag, or with another.
        let native = manifest.blackboxes.iter().map(|name| name.image(None, Some("")).as_str().to_owned()).collect();
        Ok(Catalog { kinds, native })
    }

    /// The image of a kind, or of a black box.
    pub(crate) fn image(&self, kind: &str) -> Option<Made> {
        match image_of(kind) {
            None => Some(Made { image: self.kinds.get(kind)?.clone(), foreign: false }),
            Some(name) => {
                let bare = name.split_once('@').map_or(name, |(bare, _)| bare);
                let image = Image::new(name);
                let bare = image.tag().map_or(bare, |tag| bare.strip_suffix(&format!(":{tag}")).unwrap_or(bare));
                let foreign = !self.native.contains(bare);
                Some(Made { image, foreign })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use whisker_sandbox::black_box;

    use super::*;

    const MANIFEST: &str = r#"{ "runtimes": { "nodejs": [
        { "kind": "nodejs:20", "image": { "prefix": "openwhisk", "name": "node", "tag": "nightly" } } ] },
        "blackboxes": [ { "prefix": "openwhisk", "name": "dockerskeleton", "tag": "nightly" } ] }"#;

    fn made(change: impl FnOnce(&mut Config), kind: &str) -> Option<(String, bool)> {
        let mut config = Config::new("0", MANIFEST);
        change(&mut config);
        Catalog::read(&config).unwrap().image(kind).map(|made| (made.image.to_string(), made.foreign))
    }

    #[test]
    fn a_kind_has_the_manifests_image_unless_the_settings_say_otherwise() {
        assert_eq!(made(|_| {}, "nodejs:20").unwrap().0, "openwhisk/node:nightly");
        let here = |config: &mut Config| {
            config.image_prefix = Some("host:5000/mine".into());
            config.image_tag = Some("1".into());
        };
        assert_eq!(made(here, "nodejs:20").unwrap().0, "host:5000/mine/node:1");
        assert_eq!(made(|_| {}, "cobol:85"), None);
    }

    #[test]
    fn black_boxes_are_foreign_but_for_the_platforms_own() {
        for (name, foreign) in [
            ("me/image", true),
            ("openwhisk/dockerskeleton", false),
            ("openwhisk/dockerskeleton:1.3", false),
            ("openwhisk/other", true),
        ] {
            assert_eq!(made(|_| {}, &black_box(name)), Some((name.to_owned(), foreign)));
        }
    }
}
