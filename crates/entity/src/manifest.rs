//! The manifest: which runtime kinds there are.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// OpenWhisk's runtimes manifest (`ansible/files/runtimes.json`). Members that
/// only a sandbox understands (launchers, interpreters) pass through unread.
#[derive(Debug, Clone, Default)]
pub struct Manifest {
    families: Vec<(String, Vec<Runtime>)>,
}

/// One kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Runtime {
    /// `nodejs:20`.
    pub kind: String,
    /// The image that runs it in a container engine.
    pub image: Image,
    /// Whether `FAMILY:default` means this kind.
    #[serde(default)]
    pub default: bool,
    /// Whether its actions may still be read and deleted, but no longer run.
    #[serde(default)]
    pub deprecated: bool,
    /// Where code is kept; only whether it is told to clients.
    pub attached: Option<Value>,
    /// Whether an action must name its entry point.
    #[serde(default)]
    pub require_main: bool,
    /// Containers to keep ready.
    #[serde(default)]
    pub stem_cells: Vec<StemCells>,
    /// Whether runs of an action that asks for it may overlap in a container.
    #[serde(default = "yes")]
    pub concurrent: bool,
}

/// OpenWhisk's manifests say nothing: each of its runtimes sees to it itself.
fn yes() -> bool {
    true
}

/// The name of an image.
#[derive(Debug, Clone, Deserialize)]
pub struct Image {
    /// Its repository.
    pub prefix: String,
    /// Its name there.
    pub name: String,
    /// Its version.
    pub tag: String,
}

/// Prewarmed containers of one memory size.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StemCells {
    /// How many are started with the server and refilled.
    #[serde(alias = "count")]
    pub initial_count: u32,
    /// Their memory, as `256 MB`.
    pub memory: String,
}

impl StemCells {
    /// Their memory in MB; `None` if it is not written as `256 MB`.
    pub fn memory_mb(&self) -> Option<u32> {
        self.memory.trim().strip_suffix("MB")?.trim().parse().ok()
    }
}

/// Why a kind cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownKind {
    /// Not in the manifest: the kind asked for, and those there are.
    #[error("The specified runtime '{kind}' is not supported by this platform. Valid values are: {}.", .valid.iter().map(|k| format!("'{k}'")).collect::<Vec<_>>().join(", "))]
    Unsupported {
        /// What was asked for.
        kind: String,
        /// What there is.
        valid: Vec<String>,
    },
}

impl Manifest {
    /// Reads the manifest's JSON.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct File {
            runtimes: Map<String, Value>,
        }
        let file: File = serde_json::from_str(json)?;
        let families = file
            .runtimes
            .into_iter()
            .map(|(family, kinds)| Ok((family, serde_json::from_value(kinds)?)))
            .collect::<Result<_, serde_json::Error>>()?;
        Ok(Self { families })
    }

    /// The families and their kinds, in the manifest's order.
    pub fn families(&self) -> impl Iterator<Item = (&str, &[Runtime])> {
        self.families.iter().map(|(family, kinds)| (family.as_str(), kinds.as_slice()))
    }

    /// Every kind.
    pub fn runtimes(&self) -> impl Iterator<Item = &Runtime> {
        self.families.iter().flat_map(|(_, kinds)| kinds)
    }

    /// The runtime of a kind; `FAMILY:default` means the family's default, or
    /// its only one.
    pub fn resolve(&self, kind: &str) -> Result<&Runtime, UnknownKind> {
        let found = match kind.strip_suffix(":default") {
            Some(family) => self.families.iter().find(|(name, _)| name == family).and_then(|(_, kinds)| {
                kinds.iter().find(|r| r.default).or(if kinds.len() == 1 { kinds.first() } else { None })
            }),
            None => self.runtimes().find(|r| r.kind == kind),
        };
        found.ok_or_else(|| UnknownKind::Unsupported {
            kind: kind.to_owned(),
            valid: self.runtimes().map(|r| r.kind.clone()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_is_resolved_and_an_unknown_kind_lists_the_known() {
        let manifest = Manifest::parse(
            r#"{"runtimes":{"nodejs":[
                {"kind":"nodejs:18","image":{"prefix":"o","name":"n","tag":"t"}},
                {"kind":"nodejs:20","default":true,"image":{"prefix":"o","name":"n","tag":"t"},
                 "stemCells":[{"count":2,"memory":"256 MB"}]}]}}"#,
        )
        .expect("well formed");
        let node = manifest.resolve("nodejs:default").expect("there");
        assert_eq!((node.kind.as_str(), node.stem_cells[0].memory_mb()), ("nodejs:20", Some(256)));
        assert_eq!(
            manifest.resolve("cobol:85").map(|_| ()).map_err(|e| e.to_string()),
            Err("The specified runtime 'cobol:85' is not supported by this platform. Valid values are: 'nodejs:18', 'nodejs:20'.".into())
        );
    }
}
