//! Which image a kind runs in.

use std::collections::BTreeMap;

use serde::Deserialize;
use whisker_sandbox::image_of;

use crate::{Config, image::Image};

/// The manifest's images.
#[derive(Debug)]
pub(crate) struct Catalog {
    kinds: BTreeMap<String, Image>,
    /// Black boxes that are the platform's own, by the names that users give
    /// them: they end output with sentinels, and the settings say which they are.
    native: BTreeMap<String, Native>,
}

/// A black box of the platform's.
#[derive(Debug)]
struct Native {
    /// Without tag.
    name: String,
    /// In the place of the user's.
    tag: Option<String>,
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
        let native = manifest.blackboxes.iter().map(|name| {
            let native = Native { name: name.image(prefix, Some("")).to_string(), tag: config.image_tag.clone() };
            (name.image(None, Some("")).to_string(), native)
        });
        let native = native.collect();
        Ok(Catalog { kinds, native })
    }

    /// The image of a kind, or of a black box.
    pub(crate) fn image(&self, kind: &str) -> Option<Made> {
        match image_of(kind) {
            None => Some(Made { image: self.kinds.get(kind)?.clone(), foreign: false }),
            Some(name) => {
                let image = Image::new(name);
                let Some(native) = self.native.get(image.bare()) else { return Some(Made { image, foreign: true }) };
                let image = match native.tag.as_deref().or(image.tag()) {
                    Some(tag) => Image::new(format!("{}:{tag}", native.name)),
                    None => Image::new(native.name.clone()),
                };
                Some(Made { image, foreign: false })
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
        let ours = |config: &mut Config| {
            config.image_prefix = Some("mine".into());
            config.image_tag = Some("1".into());
        };
        let native = made(ours, &black_box("openwhisk/dockerskeleton"));
        assert_eq!(native, Some(("mine/dockerskeleton:1".to_owned(), false)));
        assert_eq!(made(ours, &black_box("me/image")), Some(("me/image".to_owned(), true)));
    }
}
