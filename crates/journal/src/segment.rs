//! One segment file as bytes: its header, its frames, and what is wrong with
//! it. Nothing here touches a disk, so that any bytes can be tried.

use crate::config::Durability;
use crate::frame::{self, Frame, u32_at, u64_at};

/// Size of a segment's header in bytes; frames follow.
pub(crate) const HEADER: usize = 64;

const MAGIC: &[u8; 8] = b"whiskerj";
const VERSION: u32 = 1;

/// What a segment says about itself in its first 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Position in the log, also the file's name.
    pub id: u64,
    /// The next entry number when the segment was begun: numbers never repeat,
    /// even when every entry is long deleted.
    pub first_seq: u64,
    /// Random; see [`crate::frame`].
    pub salt: u32,
    pub durability: Durability,
    /// Which boot of the machine wrote it; zeros when unknown. Only a later
    /// boot can explain that unsynced bytes are missing.
    pub boot: [u8; 16],
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[0..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12] = match self.durability {
            Durability::Process => 1,
            Durability::Power => 2,
        };
        out[16..24].copy_from_slice(&self.id.to_le_bytes());
        out[24..32].copy_from_slice(&self.first_seq.to_le_bytes());
        out[32..36].copy_from_slice(&self.salt.to_le_bytes());
        out[40..56].copy_from_slice(&self.boot);
        let check = crc32fast::hash(&out[..HEADER - 4]);
        out[HEADER - 4..].copy_from_slice(&check.to_le_bytes());
        out
    }

    /// The header, or a word about what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Header, &'static str> {
        let Some(bytes) = bytes.first_chunk::<HEADER>() else {
            return Err("the header is incomplete");
        };
        if &bytes[0..8] != MAGIC {
            return Err("it does not begin as a journal file does");
        }
        if u32_at(bytes, HEADER - 4) != crc32fast::hash(&bytes[..HEADER - 4]) {
            return Err("the header's checksum does not match");
        }
        if u32_at(bytes, 8) != VERSION {
            return Err("it was written in a format that this version does not know");
        }
        let durability = match bytes[12] {
            1 => Durability::Process,
            2 => Durability::Power,
            _ => return Err("its durability mode is unknown"),
        };
        let mut boot = [0; 16];
        boot.copy_from_slice(&bytes[40..56]);
        Ok(Header { id: u64_at(bytes, 16), first_seq: u64_at(bytes, 24), salt: u32_at(bytes, 32), durability, boot })
    }
}

/// A range of bytes that hold no whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub from: usize,
    pub to: usize,
}

/// All whole frames of a segment in order, and the gaps between them.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Offset and header of each frame.
    pub frames: Vec<(usize, Frame)>,
    pub gaps: Vec<Gap>,
}

impl Scan {
    /// Reads everything after the segment's header.
    pub fn new(bytes: &[u8], salt: u32) -> Scan {
        let mut scan = Scan::default();
        let mut at = HEADER;
        while at < bytes.len() {
            if let Some((frame, payload)) = Frame::at(bytes, at, salt) {
                scan.frames.push((at, frame));
                at += frame::HEADER + payload.len();
                continue;
            }
            // Byte by byte: a damaged length says nothing about where the
            // next frame is. Without the salt no payload can pass for one.
            let next = (at + 1..bytes.len()).find(|&at| Frame::at(bytes, at, salt).is_some()).unwrap_or(bytes.len());
            scan.gaps.push(Gap { from: at, to: next });
            at = next;
        }
        scan
    }

    /// Where the tail is torn, if one torn write at the end explains all that
    /// is missing: from the first gap on, nothing claims that what stood
    /// before it was settled.
    pub fn torn_at(&self) -> Option<usize> {
        let from = self.gaps.first()?.from;
        let explained = self.frames.iter().all(|(at, frame)| *at < from || !frame.settled);
        explained.then_some(from)
    }

    /// Forgets everything from `end` on.
    pub fn cut(&mut self, end: usize) {
        self.frames.retain(|(at, _)| *at < end);
        self.gaps.retain(|gap| gap.from < end);
    }
}

/// Scans any bytes, and checks that each of them is accounted for.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(bytes: &[u8]) -> usize {
    let salt = Header::decode(bytes).map_or(0, |header| {
        assert_eq!(Header::decode(&header.encode()), Ok(header.clone()));
        header.salt
    });
    let mut scan = Scan::new(bytes, salt);
    let mut covered = 0;
    for (at, frame) in &scan.frames {
        let (again, payload) = Frame::at(bytes, *at, salt).expect("it was found a moment ago");
        assert_eq!(again, *frame);
        assert_eq!(frame.encode(salt)[..], bytes[*at..*at + frame::HEADER]);
        covered += frame::HEADER + payload.len();
    }
    covered += scan.gaps.iter().map(|gap| gap.to - gap.from).sum::<usize>();
    assert_eq!(covered, bytes.len().saturating_sub(HEADER));
    if let Some(end) = scan.torn_at() {
        scan.cut(end);
        assert!(scan.gaps.is_empty());
    }
    scan.frames.len()
}
