//! What actions want of a server to be run: a kind that it has, and keys.

use std::{collections::BTreeMap, fmt};

use serde_json::value::to_raw_value;
use whisker_entity::{Exec, Manifest, QualifiedName};
use whisker_secrets::Secrets;
use whisker_store::Document;

/// Kinds and reasons that are told each for itself; of more only that there are more.
const TOLD: usize = 100;

/// The image of programs that have none of their own (`wsk action create --native`).
const NATIVE: &str = "openwhisk/dockerskeleton";

fn is_native(image: &str) -> bool {
    image.strip_prefix(NATIVE).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '@']))
}

/// What was seen so far, of which something is missing here.
pub struct Wants<'a> {
    manifest: &'a Manifest,
    secrets: &'a Secrets,
    /// By what is missing: how many, and the first of them.
    missing: BTreeMap<String, (u64, QualifiedName)>,
    more: bool,
}

impl<'a> Wants<'a> {
    /// Of a server with these kinds and keys.
    pub fn new(manifest: &'a Manifest, secrets: &'a Secrets) -> Self {
        Self { manifest, secrets, missing: BTreeMap::new(), more: false }
    }

    /// Looks at an entity.
    pub fn see(&mut self, document: &Document) {
        let parameters = match document {
            Document::Action(action) => &action.parameters,
            Document::Package(package) => &package.parameters,
            Document::Trigger(_) | Document::Rule(_) => return,
        };
        match document.exec() {
            Some(Exec::Code { kind, .. }) if self.manifest.resolve(kind).is_err() => {
                self.miss(format!("is of kind {kind}, which is not known"), document);
            }
            Some(Exec::Blackbox { image, .. }) if !is_native(image) => {
                self.miss("is an image, and runs with --containers docker only".to_owned(), document);
            }
            Some(Exec::Code { .. } | Exec::Blackbox { .. } | Exec::Sequence { .. }) | None => {}
        }
        let locked = parameters.iter().find_map(|parameter| {
            let value = to_raw_value(&parameter.value).ok()?;
            self.secrets.unlock(parameter.encryption.as_deref()?, &value).err()
        });
        if let Some(error) = locked {
            self.miss(format!("has parameters that cannot be decrypted: {error}"), document);
        }
    }

    fn miss(&mut self, what: String, document: &Document) {
        if self.missing.len() >= TOLD && !self.missing.contains_key(&what) {
            self.more = true;
            return;
        }
        self.missing.entry(what).or_insert_with(|| (0, document.qualified_name())).0 += 1;
    }
}

/// A line for each thing that is missing.
impl fmt::Display for Wants<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, (count, first)) in &self.missing {
            match count {
                1 => writeln!(f, "will not run as it is: {first} {what}")?,
                _ => writeln!(f, "will not run as it is: {first} {what}; and {} more", count - 1)?,
            }
        }
        if self.more { writeln!(f, "will not run as it is: others, for other reasons") } else { Ok(()) }
    }
}
