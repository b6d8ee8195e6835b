//! One record in a segment: 24 bytes of header, then the payload.
//!
//! ```text
//! 0       4         8     12    13   14     15  16    24
//! │ check │ payload │ len │ kind│ tag│ flags│ 0 │ seq │ payload …
//!         └ its CRC
//! ```
//!
//! `check` is the CRC-32 of the rest of the header, begun from the segment's
//! random salt. The header can be trusted before the payload is read, and a
//! user who stores bytes that look like a frame cannot make them pass for one:
//! that would take the salt. The payload has a CRC of its own so that appends
//! compute it before they take the lock. Numbers are little-endian.

/// Size of a frame's header in bytes.
pub(crate) const HEADER: usize = 24;

/// Set on the first frame of a write when all that stands before it is as
/// durable as the mode makes it. A torn write cannot explain damage in front
/// of such a frame.
const SETTLED: u8 = 1;
/// Set where the payload is sealed.
const SEALED: u8 = 2;

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An entry, new or copied forward: `seq` names it in both cases.
    Entry,
    /// A list of released sequence numbers, eight bytes each.
    Release,
}

/// The header of a frame, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub kind: Kind,
    pub tag: u8,
    pub settled: bool,
    /// Whether the payload is sealed.
    pub sealed: bool,
    /// The entry's number; of a release frame, the highest number it names.
    pub seq: u64,
    /// Length of the payload in bytes.
    pub len: u32,
    pub payload_crc: u32,
}

impl Frame {
    /// Size on disk with the payload.
    pub fn bytes(&self) -> u64 {
        HEADER as u64 + u64::from(self.len)
    }

    pub fn encode(&self, salt: u32) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[4..8].copy_from_slice(&self.payload_crc.to_le_bytes());
        out[8..12].copy_from_slice(&self.len.to_le_bytes());
        out[12] = match self.kind {
            Kind::Entry => 1,
            Kind::Release => 2,
        };
        out[13] = self.tag;
        out[14] = if self.settled { SETTLED } else { 0 } | if self.sealed { SEALED } else { 0 };
        out[16..24].copy_from_slice(&self.seq.to_le_bytes());
        let check = check(&out, salt);
        out[0..4].copy_from_slice(&check.to_le_bytes());
        out
    }

    /// `None` unless the header is exactly one that [`Frame::encode`] makes.
    pub fn decode(header: &[u8; HEADER], salt: u32) -> Option<Frame> {
        if u32_at(header, 0) != check(header, salt) || header[15] != 0 {
            return None;
        }
        let kind = match header[12] {
            1 => Kind::Entry,
            2 => Kind::Release,
            _ => return None,
        };
        let flags = header[14];
        if flags & !(SETTLED | SEALED) != 0 {
            return None;
        }
        let (settled, sealed) = (flags & SETTLED != 0, flags & SEALED != 0);
        let len = u32_at(header, 8);
        if len as usize > crate::MAX_ENTRY_BYTES || (kind == Kind::Release && (sealed || !len.is_multiple_of(8))) {
            return None;
        }
        Some(Frame {
            kind,
            tag: header[13],
            settled,
            sealed,
            seq: u64_at(header, 16),
            len,
            payload_crc: u32_at(header, 4),
        })
    }

    /// The frame at `offset`, with its payload, if both are whole.
    pub fn at(bytes: &[u8], offset: usize, salt: u32) -> Option<(Frame, &[u8])> {
        let rest = bytes.get(offset..)?;
        let (header, rest) = rest.split_first_chunk::<HEADER>()?;
        let frame = Frame::decode(header, salt)?;
        let payload = rest.get(..frame.len as usize)?;
        (crc32fast::hash(payload) == frame.payload_crc).then_some((frame, payload))
    }
}

fn check(header: &[u8; HEADER], salt: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(&header[4..]);
    hasher.finalize()
}

/// The numbers in the payload of a release frame.
pub(crate) fn released(payload: &[u8]) -> impl Iterator<Item = u64> + '_ {
    payload.chunks_exact(8).map(|chunk| u64_at(chunk, 0))
}

/// Panics unless `bytes` has four bytes at `at`; callers pass fixed sizes.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// Panics unless `bytes` has eight bytes at `at`; callers pass fixed sizes.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}
