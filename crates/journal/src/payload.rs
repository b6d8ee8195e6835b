//! What an entry carries, on its way to disk and back: as it came, or sealed.
//!
//! Whether entries are sealed is the operator's choice of keys, and a journal
//! may hold both kinds, and of several keys. When one is opened, what is not
//! as it would be written now is written again, so that an older key is needed
//! for one start and not for longer.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use whisker_secrets::{Seals, Unsealable};

use crate::config::{Config, Durability};
use crate::error::Error;
use crate::frame::HEADER;
use crate::log::{self, Log};

/// Bytes of entries that are written again in one write.
const RENEWED_BYTES: u64 = 1 << 20;

/// The bytes of an entry.
pub(crate) struct Payload<'a> {
    pub tag: u8,
    pub sealed: bool,
    pub crc: u32,
    pub bytes: Cow<'a, [u8]>,
}

impl Payload<'_> {
    pub fn frame_bytes(&self) -> u64 {
        HEADER as u64 + self.bytes.len() as u64
    }

    pub fn into_owned(self) -> Payload<'static> {
        Payload { bytes: Cow::Owned(self.bytes.into_owned()), ..self }
    }
}

/// How the payloads of one journal are sealed.
pub(crate) struct Sealing {
    seals: Seals,
    /// What they are bound to: the journal, by the name of its folder.
    name: String,
}

impl Sealing {
    pub fn of(config: &Config) -> Sealing {
        let name = config.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Sealing { seals: config.seals.clone(), name }
    }

    /// And to their tag.
    fn context(&self, tag: u8) -> String {
        format!("journal {} {tag}", self.name)
    }

    pub fn seal<'a>(&self, tag: u8, bytes: &'a [u8]) -> Payload<'a> {
        let sealed = if self.seals.is_sealing() { self.seals.seal(&self.context(tag), bytes) } else { None };
        let is_sealed = sealed.is_some();
        let bytes = sealed.map_or(Cow::Borrowed(bytes), Cow::Owned);
        Payload { tag, sealed: is_sealed, crc: crc32fast::hash(&bytes), bytes }
    }

    pub fn open(&self, payload: Payload<'_>) -> Result<Vec<u8>, Unsealable> {
        match payload.sealed {
            true => self.seals.open(&self.context(payload.tag), &payload.bytes),
            false => Ok(payload.bytes.into_owned()),
        }
    }

    /// Writes again what is in clear or under an older key. Fails where a key
    /// is missing; a disk that is full leaves the rest as it is.
    pub fn renew(&self, log: &mut Log, folder: &Path) -> Result<(), Error> {
        let looked = |place: &log::Place| place.sealed || self.seals.is_sealing();
        let live: Vec<_> = log.index.iter().filter(|(_, place)| looked(place)).map(|(seq, _)| *seq).collect();
        let mut again = Vec::new();
        let mut bytes = 0;
        for seq in live {
            let Some(place) = log.index.get(&seq) else { continue };
            let Some(segment) = log.segment(place.segment) else { continue };
            let path = segment.file.path();
            let copy = log::read(&segment.file, segment.salt, seq, place).map_err(Error::io("read", path))?;
            let sealed = copy.payload.sealed.then_some(&*copy.payload.bytes);
            let outdated = self.seals.is_outdated(sealed);
            let tag = copy.payload.tag;
            let unsealable = |source| Error::Unsealable { folder: folder.to_owned(), source };
            let opened = self.open(copy.payload).map_err(unsealable)?;
            if outdated {
                let payload = self.seal(tag, &opened).into_owned();
                bytes += payload.frame_bytes();
                again.push((seq, payload));
            }
            if bytes >= RENEWED_BYTES && !written(log, &mut again, &mut bytes) {
                return Ok(());
            }
        }
        // Also with nothing to write: it begins a segment, so that those in
        // which entries were released in clear can go.
        if self.seals.is_sealing() && !log.segments.is_empty() {
            written(log, &mut again, &mut bytes);
        }
        log.reclaim();
        Ok(())
    }
}

/// Writes these in the place of what they are copies of. What they are copies
/// of is given up only afterwards.
fn written(log: &mut Log, again: &mut Vec<(u64, Payload<'_>)>, bytes: &mut u64) -> bool {
    let mut write = || -> io::Result<()> {
        let mut batch = log.batch(*bytes)?;
        for (seq, payload) in again.drain(..) {
            batch.entry(seq, &payload);
        }
        log.write(&batch)?;
        let synced = log.durability == Durability::Power;
        if let (true, Some(last)) = (synced, log.segments.back())
            && let Err(error) = last.file.sync()
        {
            log.undo(batch);
            return Err(error);
        }
        log.commit(batch, synced);
        Ok(())
    };
    let outcome = write();
    *bytes = 0;
    outcome
        .inspect_err(|error| {
            tracing::warn!(
                folder = %log.folder.display(),
                error = error as &dyn std::error::Error,
                "Entries of a journal could not be sealed anew: they wait for the next start, with the keys they have"
            );
        })
        .is_ok()
}
