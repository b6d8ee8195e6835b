//! What an action executes.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::QualifiedName;

/// The SHA-256 of code as it was uploaded: the same code is kept, unpacked and
/// compiled once, whatever the actions that use it are called.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CodeHash([u8; 32]);

impl CodeHash {
    /// The hash of a code text.
    pub fn of(code: &str) -> Self {
        Self(Sha256::digest(code.as_bytes()).into())
    }

    /// The digest's bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Reads 64 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for CodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for CodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Code: at hand, or named by its hash and kept apart by the store, as
/// OpenWhisk keeps it in attachments.
#[derive(Clone, PartialEq, Eq)]
pub enum ExecCode {
    /// The text as uploaded: source, or base64 of an archive or executable.
    Inline(Arc<str>),
    /// In the store's code table.
    Attached {
        /// Names it there.
        hash: CodeHash,
        /// Length of the text in bytes.
        length: u64,
    },
}

impl ExecCode {
    /// The hash that names this code.
    pub fn hash(&self) -> CodeHash {
        match self {
            ExecCode::Inline(text) => CodeHash::of(text),
            ExecCode::Attached { hash, .. } => *hash,
        }
    }

    /// Length of the text in bytes.
    pub fn length(&self) -> u64 {
        match self {
            ExecCode::Inline(text) => text.len() as u64,
            ExecCode::Attached { length, .. } => *length,
        }
    }
}

// Code is its owner's property and may hold secrets.
impl fmt::Debug for ExecCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code of {} bytes", self.length())
    }
}

/// What an action executes. In storage, `code` is an attachment object; inline
/// text is how the REST API shows it.
#[derive(Debug, Clone, PartialEq)]
pub enum Exec {
    /// Code for one of the manifest's runtimes.
    Code {
        /// The runtime kind, resolved: `nodejs:20`, never `nodejs:default`.
        kind: String,
        /// The code.
        code: ExecCode,
        /// Entry point, where the user named one.
        main: Option<String>,
        /// Whether the text is base64.
        binary: bool,
    },
    /// A user's own image, with or without code.
    Blackbox {
        /// The image's name.
        image: String,
        /// Code injected into it.
        code: Option<ExecCode>,
        /// Entry point, where the user named one.
        main: Option<String>,
        /// Whether the text is base64.
        binary: bool,
    },
    /// A chain of actions.
    Sequence {
        /// The actions, in order.
        components: Vec<QualifiedName>,
    },
}

impl Exec {
    /// The kind as the `exec` annotation and records show it.
    pub fn kind(&self) -> &str {
        match self {
            Exec::Code { kind, .. } => kind,
            Exec::Blackbox { .. } => "blackbox",
            Exec::Sequence { .. } => "sequence",
        }
    }

    /// The actions of a sequence.
    pub fn components(&self) -> Option<&[QualifiedName]> {
        match self {
            Exec::Sequence { components } => Some(components),
            Exec::Code { .. } | Exec::Blackbox { .. } => None,
        }
    }

    /// The code, where there is some.
    pub fn code(&self) -> Option<&ExecCode> {
        match self {
            Exec::Code { code, .. } => Some(code),
            Exec::Blackbox { code, .. } => code.as_ref(),
            Exec::Sequence { .. } => None,
        }
    }

    /// The code, to be inlined or attached.
    pub fn code_mut(&mut self) -> Option<&mut ExecCode> {
        match self {
            Exec::Code { code, .. } => Some(code),
            Exec::Blackbox { code, .. } => code.as_mut(),
            Exec::Sequence { .. } => None,
        }
    }

    /// Whether the code is base64.
    pub fn binary(&self) -> bool {
        match self {
            Exec::Code { binary, .. } | Exec::Blackbox { binary, .. } => *binary,
            Exec::Sequence { .. } => false,
        }
    }

    /// The entry point to call.
    pub fn main(&self) -> &str {
        match self {
            Exec::Code { main, .. } | Exec::Blackbox { main, .. } => main.as_deref().unwrap_or("main"),
            Exec::Sequence { .. } => "main",
        }
    }
}

/// Whether OpenWhisk takes a code text for base64: it looks at nothing else,
/// so that `AAAA` is binary whatever its author says.
pub fn is_base64_code(code: &str) -> bool {
    let text = code.trim().as_bytes();
    let padding = text.iter().rev().take(2).take_while(|&&b| b == b'=').count();
    let digits = &text[..text.len() - padding];
    !text.is_empty()
        && text.len().is_multiple_of(4)
        && digits.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

impl Serialize for Exec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = Map::new();
        object.insert("kind".into(), json!(self.kind()));
        let code = |code: &ExecCode, binary: bool| match code {
            ExecCode::Inline(text) => json!(&**text),
            ExecCode::Attached { hash, length } => json!({
                "attachmentName": format!("{ATTACHMENT_SCHEME}{hash}"),
                "attachmentType": if binary { "application/octet-stream" } else { "text/plain; charset=UTF-8" },
                "length": length,
                "digest": format!("sha-256-{hash}"),
            }),
        };
        match self {
            Exec::Code { code: text, main, binary, .. } => {
                object.insert("code".into(), code(text, *binary));
                object.insert("binary".into(), json!(binary));
                main.iter().for_each(|m| drop(object.insert("main".into(), json!(m))));
            }
            Exec::Blackbox { image, code: text, main, binary } => {
                object.insert("image".into(), json!(image));
                text.iter().for_each(|t| drop(object.insert("code".into(), code(t, *binary))));
                object.insert("binary".into(), json!(binary));
                main.iter().for_each(|m| drop(object.insert("main".into(), json!(m))));
            }
            Exec::Sequence { components } => {
                let paths: Vec<_> = components.iter().map(|c| format!("/{c}")).collect();
                object.insert("components".into(), json!(paths));
            }
        }
        object.serialize(serializer)
    }
}

/// Scheme of the attachments that a store keeps in its code table.
const ATTACHMENT_SCHEME: &str = "sha256:";

impl<'de> Deserialize<'de> for Exec {
    /// Reads stored documents, which were checked before they were stored.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Stored {
            kind: String,
            image: Option<String>,
            code: Option<Value>,
            main: Option<String>,
            #[serde(default)]
            binary: bool,
            components: Option<Vec<QualifiedName>>,
        }
        let stored = Stored::deserialize(deserializer)?;
        let code = stored.code.map(|code| match &code {
            Value::String(text) => Ok(ExecCode::Inline(text.as_str().into())),
            attached => attached["attachmentName"]
                .as_str()
                .and_then(|name| CodeHash::parse(name.strip_prefix(ATTACHMENT_SCHEME)?))
                .map(|hash| ExecCode::Attached { hash, length: attached["length"].as_u64().unwrap_or(0) })
                .ok_or_else(|| de::Error::custom("unknown attachment")),
        });
        let code = code.transpose()?;
        match stored.kind.as_str() {
            "sequence" => Ok(Exec::Sequence {
                components: stored.components.ok_or_else(|| de::Error::missing_field("components"))?,
            }),
            "blackbox" => Ok(Exec::Blackbox {
                image: stored.image.ok_or_else(|| de::Error::missing_field("image"))?,
                code,
                main: stored.main,
                binary: stored.binary,
            }),
            _ => Ok(Exec::Code {
                code: code.ok_or_else(|| de::Error::missing_field("code"))?,
                kind: stored.kind,
                main: stored.main,
                binary: stored.binary,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_is_what_looks_like_base64() {
        for (code, binary) in [
            ("AAAA", true),
            (" QUI= \n", true),
            ("QQ==", true),
            ("A===", false),
            ("", false),
            ("abc", false),
            ("ab c", false),
            ("=AAA", false),
        ] {
            assert_eq!(is_base64_code(code), binary, "{code:?}");
        }
    }

    #[test]
    fn a_stored_exec_reads_back() {
        let code = ExecCode::Inline("function main() {}".into());
        let attached = ExecCode::Attached { hash: code.hash(), length: code.length() };
        for exec in [
            Exec::Code { kind: "nodejs:20".into(), code: attached.clone(), main: Some("f".into()), binary: false },
            Exec::Blackbox { image: "me/img:1".into(), code: None, main: None, binary: false },
            Exec::Blackbox { image: "me/img".into(), code: Some(attached), main: None, binary: true },
            Exec::Sequence { components: vec!["guest/pkg/a".parse().expect("a name")] },
        ] {
            let text = serde_json::to_string(&exec).expect("serialisable");
            assert_eq!(serde_json::from_str::<Exec>(&text).expect(&text), exec);
        }
    }

    #[test]
    fn code_does_not_reach_debug_output() {
        assert!(!format!("{:?}", ExecCode::Inline("const key = 's3cret'".into())).contains("s3cret"));
    }
}
