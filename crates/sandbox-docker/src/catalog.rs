//! Which image a kind runs in.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use whisker_sandbox::image_of;

use crate::{Config, image::Image};

/// The manifest's images.
#[derive(Debug)]
pub(crate) struct Catalog {
    kinds: BTreeMap<String, Kind>,
    /// Black boxes that are the platform's own, by the names that users give
    /// them: they end output with sentinels, and the settings say which they are.
    native: BTreeMap<String, Native>,
}

/// A kind.
#[derive(Debug)]
struct Kind {
    image: Image,
    recipe: Option<Recipe>,
}

/// What compilers of a kind may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recipe {
    pub memory_mb: u32,
    pub time: Duration,
    /// Whether a jar is run as it is.
    pub jars: bool,
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
    /// For kinds whose source is compiled.
    pub recipe: Option<Recipe>,
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
    #[serde(default)]
    jars: bool,
    /// There for kinds that are compiled; which script does it is the image's
    /// own business.
    #[serde(default)]
    compile: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    toolchain: Option<Toolchain>,
}

#[derive(Deserialize)]
struct Toolchain {
    memory_mb: u32,
    seconds: u64,
}

impl Row {
    fn recipe(&self) -> Option<Recipe> {
        self.compile.as_ref()?;
        let Toolchain { memory_mb, seconds } = self.toolchain.as_ref()?;
        Some(Recipe { memory_mb: *memory_mb, time: Duration::from_secs(*seconds), jars: self.jars })
    }
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
        let kind = |row: &Row| Kind { image: row.image.image(prefix, tag), recipe: row.recipe() };
        let kinds = rows.map(|row| (row.kind.clone(), kind(row))).collect();
        let native = manifest.blackboxes.iter().map(|name| {
            let native = Native { name: name.image(prefix, Some("")).to_string(), tag: config.image_tag.clone() };
            (name.image(None, Some("")).to_string(), native)
        });
        let native = native.collect();
        Ok(Catalog { kinds, native })
    }

    /// Every kind of the manifest, by name, with its image.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&str, &Image)> {
        self.kinds.iter().map(|(name, kind)| (name.as_str(), &kind.image))
    }

    /// The image of a kind, or of a black box.
    pub(crate) fn image(&self, kind: &str) -> Option<Made> {
        match image_of(kind) {
            None => {
                let Kind { image, recipe } = self.kinds.get(kind)?;
                Some(Made { image: image.clone(), foreign: false, recipe: recipe.clone() })
            }
            Some(name) => {
                let image = Image::new(name);
                let Some(native) = self.native.get(image.bare()) else {
                    return Some(Made { image, foreign: true, recipe: None });
                };
                let image = match native.tag.as_deref().or(image.tag()) {
                    Some(tag) => Image::new(format!("{}:{tag}", native.name)),
                    None => Image::new(native.name.clone()),
                };
                Some(Made { image, foreign: false, recipe: None })
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
        let mut config = Config::new("0", MANIFEST, "/none");
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
