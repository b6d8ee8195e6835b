//! Code that is too large for its document, in pieces.
//!
//! The document names it as `whisker:UUID`, where OpenWhisk would name what it
//! has in a store of attachments. Every write of code has a UUID of its own, so
//! that whoever comes too late takes back nothing but what is his.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use whisker_documents::{
    code::{self, Code, Packed, Place},
    corrupt,
};
use whisker_store::Error;

use crate::Cosmos;

/// Characters of a piece: a document has 2 MB at most.
const PIECE: usize = 1_000_000;
/// Pieces that are written or read at once, for one code.
const AT_ONCE: usize = 4;

/// How attached code is named here, and by `whisker_documents`.
const HERE: &str = "whisker:";
const THERE: &str = "couch:";

/// Pieces of one code.
#[derive(Debug, Clone)]
pub(crate) struct Pieces {
    name: String,
    count: usize,
}

impl Pieces {
    /// Those of a stored action.
    pub fn of(code: &Code) -> Option<Self> {
        let Place::Attached { name, .. } = &code.place else { return None };
        let length = usize::try_from(code.length).unwrap_or(usize::MAX);
        let base64 = if code.binary { length } else { length.div_ceil(3).saturating_mul(4) };
        Some(Self { name: name.clone(), count: base64.div_ceil(PIECE) })
    }

    fn ids(&self) -> impl Iterator<Item = String> + use<> {
        let name = self.name.clone();
        (0..self.count).map(move |number| format!("{name}|{number}"))
    }
}

/// A document that was read, with its attachment as `whisker_documents` expects it.
pub(crate) fn attached(document: &mut Map<String, Value>) {
    let Some(code) = document.get_mut("exec").and_then(|exec| exec.get_mut("code")) else { return };
    let Some(name) = code["attachmentName"].as_str().and_then(|name| name.strip_prefix(HERE)) else { return };
    let stub = json!({name: {"length": code["length"], "digest": code["digest"]}});
    code["attachmentName"] = json!(format!("{THERE}{name}"));
    document.insert("_attachments".into(), stub);
}

/// The same, back again, for a document that is written.
pub(crate) fn detached(document: &mut Map<String, Value>) {
    document.remove("_attachments");
    let Some(code) = document.get_mut("exec").and_then(|exec| exec.get_mut("code")) else { return };
    if let Some(name) = code["attachmentName"].as_str().and_then(|name| name.strip_prefix(THERE)) {
        code["attachmentName"] = json!(format!("{HERE}{name}"));
    }
}

impl Cosmos {
    /// Writes the pieces of code that is to be attached, and names them in it.
    pub(crate) async fn attach(&self, id: &str, packed: &mut Packed) -> Result<Option<Pieces>, Error> {
        let Some((_, attachment)) = std::mem::take(&mut packed.attachments).into_iter().next() else {
            return Ok(None);
        };
        let data = attachment["data"].as_str().unwrap_or_default();
        let pieces = Pieces { name: uuid()?, count: data.len().div_ceil(PIECE) };
        // Base64 can be cut anywhere.
        let texts = data.as_bytes().chunks(PIECE).map(String::from_utf8_lossy);
        let documents = pieces.ids().zip(texts);
        let documents =
            documents.map(|(piece, text)| (json!({"id": piece, "of": id, "data": text}).to_string(), piece));
        let documents: Vec<_> = documents.collect();
        let writes =
            documents.into_iter().map(|(document, piece)| async move { self.pieces.create(&piece, document).await });
        let written = stream::iter(writes).buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await;
        if let Err(failure) = written {
            self.drop_pieces(&pieces).await;
            return Err(failure.into());
        }
        packed.code["attachmentName"] = json!(format!("{THERE}{}", pieces.name));
        Ok(Some(pieces))
    }

    /// Takes pieces away. What cannot be taken away stays and is in nobody's way.
    pub(crate) async fn drop_pieces(&self, pieces: &Pieces) {
        let dropped = stream::iter(pieces.ids().map(|id| async move { self.pieces.delete(&id).await }));
        let failed = dropped.buffer_unordered(AT_ONCE).filter_map(|outcome| async { outcome.err() });
        let mut failed = std::pin::pin!(failed);
        while let Some(error) = failed.next().await {
            tracing::warn!(
                code = pieces.name,
                error = &error as &dyn std::error::Error,
                "a piece of code is left behind"
            );
        }
    }

    /// The text of a stored action's code. [`Error::Missing`] if it went at this
    /// moment.
    pub(crate) async fn text(&self, id: &str, code: Code) -> Result<std::sync::Arc<str>, Error> {
        #[derive(Deserialize)]
        struct Piece {
            data: String,
        }
        let pieces = match Pieces::of(&code) {
            Some(pieces) => pieces,
            None => match code.place {
                Place::Here(text) => return Ok(text),
                Place::Attached { .. } => return Err(Error::Missing),
            },
        };
        let read = stream::iter(pieces.ids().map(|piece| async move {
            let found = self.pieces.get(&piece).await?.ok_or(Error::Missing)?;
            serde_json::from_slice::<Piece>(&found.text).map_err(|e| corrupt(id, e))
        }));
        let read = read.buffered(AT_ONCE).try_fold(String::new(), |mut data, piece| async move {
            data.push_str(&piece.data);
            Ok(data)
        });
        let bytes = STANDARD.decode(read.await?).map_err(|e| corrupt(id, e))?;
        Ok(code::text_of(bytes, code.binary).map_err(|e| corrupt(id, e))?.into())
    }
}

/// A random UUID (version 4).
fn uuid() -> Result<String, Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|e| Error::Unavailable(e.into()))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}
