//! Code, where OpenWhisk keeps it.
//!
//! OpenWhisk attaches code to each action: inside the document as
//! `mem:<base64url>` where it is small, else as an attachment of CouchDB's
//! that the document names as `couch:<uuid>`. Binary code is kept decoded. The
//! seam names code by the hash of its text, which such a document does not
//! have: it is computed where the code is in the document, and read from
//! `digest` where this crate attached it. Code that OpenWhisk attached is named
//! by a hash over what names the attachment, so that a list need not fetch all
//! attachments to know what they are called.

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{
        DecodePaddingMode,
        general_purpose::{self, GeneralPurpose, GeneralPurposeConfig},
    },
};
use moka::sync::Cache;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use whisker_entity::CodeHash;

/// Code of so many bytes and more is attached, as by OpenWhisk.
const INLINE_MAX: usize = 16 * 1024;

const MEM: &str = "mem:";
const COUCH: &str = "couch:";
/// How the digest of attached binary code begins: that of its base64.
const OF_BASE64: &str = "base64-sha256-";
/// How OpenWhisk's digests begin.
const OF_BYTES: &str = "sha256-";

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const DECODE: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const DECODE_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// Code of a stored action.
#[derive(Debug, Clone, PartialEq)]
pub struct Code {
    /// What the seam names it by.
    pub hash: CodeHash,
    /// Bytes of its text.
    pub length: u64,
    /// Whether its text is base64.
    pub binary: bool,
    /// Whether the hash is that of the text, and not of what names it.
    pub of_text: bool,
    /// Where it is.
    pub place: Place,
}

/// Where it is.
#[derive(Clone, PartialEq)]
pub enum Place {
    /// In the document.
    Here(Arc<str>),
    /// In the attachment of this name.
    Attached {
        /// The attachment's name.
        name: String,
        /// Whether the document has it.
        there: bool,
    },
}

// Code may hold secrets.
impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Here(text) => write!(f, "{} bytes in the document", text.len()),
            Place::Attached { name, .. } => write!(f, "the attachment {name}"),
        }
    }
}

/// Why code cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Neither a text nor an attachment.
    #[error("its code is neither a text nor an attachment")]
    Shape,
    /// In a store of attachments that is not read.
    #[error("its code is kept in a store of attachments ({0}), which is not read")]
    Scheme(String),
    /// Bytes that are not what the document says.
    #[error("its code is not what it is marked as: {0}")]
    Bytes(&'static str),
    /// The attachment is missing.
    #[error("the attachment {0} with its code is not there")]
    Gone(String),
}

impl Code {
    /// Reads the `code` of the document `id`.
    pub fn read(id: &str, code: &Value, binary: bool, attachments: &Value) -> Result<Self, Unreadable> {
        if let Value::String(text) = code {
            return Ok(Self::here(text.as_str().into(), binary));
        }
        let name = code["attachmentName"].as_str().ok_or(Unreadable::Shape)?;
        if let Some(content) = name.strip_prefix(MEM) {
            let bytes = DECODE_URL.decode(content).map_err(|_| Unreadable::Bytes("no base64"))?;
            return Ok(Self::here(text_of(bytes, binary)?.into(), binary));
        }
        let name = match name.strip_prefix(COUCH) {
            Some(name) => name,
            // As OpenWhisk named attachments before they had schemes.
            None if !name.contains(':') => name,
            None => return Err(Unreadable::Scheme(name.split(':').next().unwrap_or_default().to_owned())),
        };
        let stub = &attachments[name];
        let digest = code["digest"]
            .as_str()
            .and_then(|digest| CodeHash::parse(digest.strip_prefix(if binary { OF_BASE64 } else { OF_BYTES })?));
        let of_text = digest.is_some();
        let hash = digest.unwrap_or_else(|| {
            let named = json!([id, name, stub["digest"], stub["length"]]).to_string();
            CodeHash::of(&named)
        });
        let bytes = stub["length"].as_u64().or_else(|| code["length"].as_u64()).unwrap_or(0);
        let length = if binary { bytes.div_ceil(3) * 4 } else { bytes };
        let place = Place::Attached { name: name.to_owned(), there: stub.is_object() };
        Ok(Self { hash, length, binary, of_text, place })
    }

    fn here(text: Arc<str>, binary: bool) -> Self {
        Self { hash: CodeHash::of(&text), length: text.len() as u64, binary, of_text: true, place: Place::Here(text) }
    }

    /// As the entity names it.
    pub fn named(&self) -> Value {
        json!({"attachmentName": format!("sha256:{}", self.hash), "length": self.length})
    }
}

/// Code made ready to be stored.
pub struct Packed {
    /// What the seam names it by.
    pub hash: CodeHash,
    /// The document's `code`.
    pub code: Value,
    /// Its `_attachments`.
    pub attachments: Map<String, Value>,
}

/// Packs a code text. Binary code comes back in base64's own spelling, without
/// the line breaks that it may have been uploaded with, as from OpenWhisk.
pub fn pack(text: &str, binary: bool) -> Result<Packed, Unreadable> {
    let (bytes, hash) = if binary {
        let bytes = DECODE.decode(text.trim()).map_err(|_| Unreadable::Bytes("no base64"))?;
        let hash = CodeHash::of(&general_purpose::STANDARD.encode(&bytes));
        (std::borrow::Cow::Owned(bytes), hash)
    } else {
        (text.as_bytes().into(), CodeHash::of(text))
    };
    let content_type = if binary { "application/octet-stream" } else { "text/plain; charset=UTF-8" };
    let mut attachments = Map::new();
    let (name, digest) = if bytes.len() < INLINE_MAX {
        let digest = Sha256::digest(&bytes);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        (format!("{MEM}{}", general_purpose::URL_SAFE.encode(&bytes)), format!("{OF_BYTES}{digest}"))
    } else {
        let name = uuid(hash);
        let data = general_purpose::STANDARD.encode(&bytes);
        attachments.insert(name.clone(), json!({"content_type": content_type, "data": data}));
        let prefix = if binary { OF_BASE64 } else { OF_BYTES };
        (format!("{COUCH}{name}"), format!("{prefix}{hash}"))
    };
    let code = json!({
        "attachmentName": name,
        "attachmentType": content_type,
        "length": bytes.len(),
        "digest": digest,
    });
    Ok(Packed { hash, code, attachments })
}

/// The text of an attachment's bytes.
pub fn text_of(bytes: Vec<u8>, binary: bool) -> Result<String, Unreadable> {
    if binary {
        return Ok(general_purpose::STANDARD.encode(bytes));
    }
    String::from_utf8(bytes).map_err(|_| Unreadable::Bytes("no UTF-8"))
}

/// A UUID of the kind whose bits mean what its maker likes (version 8), from
/// the code itself: nothing here rolls dice, and the same code attached twice
/// is the same.
fn uuid(hash: CodeHash) -> String {
    let mut bytes: [u8; 16] = std::array::from_fn(|place| hash.to_bytes()[place]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Which documents have which code, of those that this process has met.
///
/// Whoever asks for code by its hash has read a document with it, here; so
/// what is not known here is nowhere. It is bounded: of more hashes than are
/// kept, those that were not met for longest are forgotten.
pub struct Places(Cache<CodeHash, Arc<[Arc<str>]>>);

/// Hashes kept, of about 200 bytes each.
const HASHES_MAX: u64 = 200_000;
/// Documents kept for one hash; of more, the oldest are forgotten.
const DOCUMENTS_MAX: usize = 256;

impl Default for Places {
    fn default() -> Self {
        Self(Cache::new(HASHES_MAX))
    }
}

impl Places {
    /// None are known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Documents that have had this code, the latest last.
    pub fn of(&self, hash: CodeHash) -> Arc<[Arc<str>]> {
        self.0.get(&hash).unwrap_or_else(|| [].into())
    }

    /// Notes that a document has this code.
    pub fn note(&self, hash: CodeHash, id: &str) {
        if self.of(hash).iter().any(|known| &**known == id) {
            return;
        }
        self.0.entry(hash).and_upsert_with(|known| {
            let known = known.map(|entry| entry.into_value()).unwrap_or_else(|| [].into());
            let surplus = (known.len() + 1).saturating_sub(DOCUMENTS_MAX);
            known.iter().skip(surplus).cloned().chain([id.into()]).collect()
        });
    }

    /// Forgets that a document had this code.
    pub fn forget(&self, hash: CodeHash, id: &str) {
        let rest = |known: &Arc<[Arc<str>]>| known.iter().filter(|known| &***known != id).cloned().collect();
        let left: Arc<[Arc<str>]> = rest(&self.of(hash));
        if left.is_empty() {
            self.0.invalidate(&hash);
        } else {
            self.0
                .entry(hash)
                .and_upsert_with(|known| rest(&known.map(|e| e.into_value()).unwrap_or_else(|| [].into())));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn read(packed: &Packed, binary: bool) -> Code {
        Code::read("ns/a", &packed.code, binary, &Value::Object(packed.attachments.clone())).unwrap()
    }

    #[test]
    fn small_code_is_in_its_own_name_as_openwhisk_has_it() {
        let packed = pack("function main() { return {ok: '?>'} }", false).unwrap();
        assert_eq!(
            packed.code,
            json!({
                "attachmentName": "mem:ZnVuY3Rpb24gbWFpbigpIHsgcmV0dXJuIHtvazogJz8-J30gfQ==",
                "attachmentType": "text/plain; charset=UTF-8",
                "length": 37,
                "digest": format!("sha256-{}", CodeHash::of("function main() { return {ok: '?>'} }")),
            })
        );
        let code = read(&packed, false);
        assert_eq!(code.place, Place::Here("function main() { return {ok: '?>'} }".into()));
        assert_eq!(pack("", false).unwrap().code["attachmentName"], "mem:");
    }

    #[test]
    fn binary_code_is_kept_decoded() {
        for text in ["UEsDBAo=", " UEsDBAo=\n", "UEsDBAp="] {
            let packed = pack(text, true).unwrap();
            assert_eq!(packed.code["attachmentName"], "mem:UEsDBAo=", "{text}");
            assert_eq!(packed.code["length"], 5);
            let code = read(&packed, true);
            assert_eq!((code.length, code.hash), (8, CodeHash::of("UEsDBAo=")));
            assert_eq!(code.hash, packed.hash);
        }
        assert!(pack("no base64!", true).is_err());
    }

    #[test]
    fn large_code_is_attached_under_a_uuid() {
        for (text, binary) in [("x".repeat(INLINE_MAX), false), ("QUJD".repeat(INLINE_MAX), true)] {
            let packed = pack(&text, binary).unwrap();
            let name = packed.code["attachmentName"].as_str().unwrap().strip_prefix("couch:").unwrap();
            let groups: Vec<_> = name.split('-').map(str::len).collect();
            assert_eq!(groups, [8, 4, 4, 4, 12]);
            assert!(packed.attachments.contains_key(name));
            let code = read(&packed, binary);
            assert_eq!(code.hash, CodeHash::of(&text));
            assert_eq!(code.place, Place::Attached { name: name.into(), there: true });
        }
        let just_small = pack(&"x".repeat(INLINE_MAX - 1), false).unwrap();
        assert!(just_small.attachments.is_empty());
    }

    #[test]
    fn what_openwhisk_attached_is_named_by_what_names_it() {
        let code = json!({"attachmentName": "couch:0a1b2c3d-0000-4000-8000-000000000000", "attachmentType": "x"});
        let stubs = |digest: &str| json!({"0a1b2c3d-0000-4000-8000-000000000000": {"digest": digest, "length": 9}});
        let read = |id, digest| Code::read(id, &code, true, &stubs(digest)).unwrap();
        assert_eq!(read("ns/a", "md5-1"), read("ns/a", "md5-1"));
        assert_eq!(read("ns/a", "md5-1").length, 12);
        assert_ne!(read("ns/a", "md5-1").hash, read("ns/b", "md5-1").hash, "md5 alone names nothing");
        assert_ne!(read("ns/a", "md5-1").hash, read("ns/a", "md5-2").hash);
        let old = json!({"attachmentName": "jarfile", "attachmentType": "x"});
        let old = Code::read("ns/a", &old, true, &json!({})).unwrap();
        assert_eq!(old.place, Place::Attached { name: "jarfile".into(), there: false });
        let away = json!({"attachmentName": "s3:0a1b2c3d", "attachmentType": "x"});
        assert!(matches!(Code::read("ns/a", &away, true, &json!({})), Err(Unreadable::Scheme(s)) if s == "s3"));
    }

    #[test]
    fn documents_that_have_code_are_known_up_to_a_number() {
        let (places, hash) = (Places::new(), CodeHash::of("x"));
        for n in 0..DOCUMENTS_MAX + 2 {
            places.note(hash, &format!("ns/{n}"));
            places.note(hash, &format!("ns/{n}"));
        }
        let known = places.of(hash);
        assert_eq!((known.len(), &*known[0]), (DOCUMENTS_MAX, "ns/2"));
        known.iter().for_each(|id| places.forget(hash, id));
        assert!(places.of(hash).is_empty());
    }
}
