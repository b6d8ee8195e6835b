//! The log itself: its segments, where each live entry is, and how the next
//! write comes about. One writer at a time; whoever has the lock has it whole.
//!
//! A write is made in three steps, because in mode `Power` a sync lies between
//! the second and the third and is waited for without the lock:
//!
//! 1. [`Log::batch`] picks the segment and owes it the releases not written yet,
//! 2. [`Log::write`] writes the batch in one piece, or cuts it off again,
//! 3. [`Log::commit`] makes its entries live, or [`Log::undo`] voids them.
//!
//! # Which segments go
//!
//! Only the oldest, and only when it holds nothing live. A release stands in
//! the same segment as its entry or in a later one, so as long as the log is
//! eaten from its head a release outlives every copy of the entry it voids.
//! An old entry that lives long would keep all that follows on disk: once the
//! log is more than twice what lives in it, [`Log::copies`] carries the live
//! entries of the oldest segment to the end, under their old numbers. The log
//! is then a ring in which each byte copied frees at least another one.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Durability;
use crate::file::{Disk, SegmentFile, sync_folder};
use crate::frame::{self, Frame, Kind};
use crate::payload::Payload;
use crate::segment::{self, Header};

/// How many numbers one release frame names at most.
const RELEASES_PER_FRAME: usize = 1 << 16;
/// A buffer that grew past this for a large entry is not kept.
const BUFFER_KEPT: usize = 1 << 20;
/// One call of [`Log::copies`] stops after about so many bytes, unless it was
/// asked for more, and after looking at so many entries.
const COPY_BYTES: u64 = 256 << 10;
const COPY_LOOKS: usize = 4096;

/// Where a live entry is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub segment: u64,
    pub offset: u64,
    pub len: u32,
    pub tag: u8,
    pub sealed: bool,
}

impl Place {
    pub fn frame_bytes(&self) -> u64 {
        frame::HEADER as u64 + u64::from(self.len)
    }
}

/// A segment on disk.
#[derive(Debug)]
pub(crate) struct Segment {
    pub id: u64,
    pub salt: u32,
    pub file: Arc<SegmentFile>,
    /// Where the next frame goes, in bytes.
    pub len: u64,
    /// Every entry written here, dead ones included, in order.
    pub entries: Vec<u64>,
    /// How many of them live here and nowhere else.
    pub live: usize,
    /// How many of `entries` have been looked at by [`Log::copies`].
    pub looked: usize,
}

/// Frames on their way to disk, all into one segment.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    salt: u32,
    settled: bool,
    /// The owed releases that are in here.
    released: Vec<u64>,
    entries: Vec<(u64, Place)>,
    segment: u64,
    at: u64,
}

impl Batch {
    fn put(&mut self, mut frame: Frame, payload: &[u8]) {
        // Only the first frame of a write can speak for what is before it.
        frame.settled = self.settled && self.bytes.is_empty();
        self.bytes.extend_from_slice(&frame.encode(self.salt));
        self.bytes.extend_from_slice(payload);
    }

    /// Adds an entry, whose payload is at most `MAX_ENTRY_BYTES` long.
    pub fn entry(&mut self, seq: u64, payload: &Payload<'_>) {
        let Payload { tag, sealed, crc, ref bytes } = *payload;
        let len = bytes.len() as u32;
        let place = Place { segment: self.segment, offset: self.at + self.bytes.len() as u64, len, tag, sealed };
        self.entries.push((seq, place));
        let kind = Kind::Entry;
        self.put(Frame { kind, tag, settled: false, sealed, seq, len, payload_crc: crc }, bytes);
    }

    fn release(&mut self, seqs: &[u64]) {
        let payload: Vec<u8> = seqs.iter().flat_map(|seq| seq.to_le_bytes()).collect();
        let frame = Frame {
            kind: Kind::Release,
            tag: 0,
            settled: false,
            sealed: false,
            seq: seqs.iter().copied().max().unwrap_or(0),
            len: payload.len() as u32,
            payload_crc: crc32fast::hash(&payload),
        };
        self.put(frame, &payload);
        self.released.extend_from_slice(seqs);
    }

    /// Whether anyone waits for these bytes. Releases alone can be synced
    /// with the next entry.
    pub fn has_entries(&self) -> bool {
        !self.entries.is_empty()
    }
}

/// A live entry of the oldest segment, read to be written again.
pub(crate) struct Copied {
    pub seq: u64,
    pub payload: Payload<'static>,
}

/// See the module.
pub(crate) struct Log {
    pub folder: PathBuf,
    pub disk: Disk,
    pub durability: Durability,
    pub boot: [u8; 16],
    pub segment_bytes: u64,
    /// Oldest first. The last is written to once `writable`.
    pub segments: VecDeque<Segment>,
    /// Whether this process began the last segment and may append to it.
    pub writable: bool,
    /// The live entries by number, which is the order of their arrival.
    pub index: BTreeMap<u64, Place>,
    pub live_bytes: u64,
    pub disk_bytes: u64,
    pub next_seq: u64,
    /// Released, and not yet written down.
    pub owed: Vec<u64>,
    /// Segments that hold nothing live, to be deleted in this order.
    pub doomed: VecDeque<PathBuf>,
    /// The last write failed and left bytes behind that could not be cut off.
    pub ragged: bool,
    /// The last segment has bytes that no sync has covered.
    pub unsynced: bool,
    pub buffer: Vec<u8>,
}

impl Log {
    /// Begins a write that will hold entries of `bytes` in all, with frames.
    pub fn batch(&mut self, bytes: u64) -> io::Result<Batch> {
        let owed = self.owed.len() as u64 * 8 + (self.owed.len().div_ceil(RELEASES_PER_FRAME) * frame::HEADER) as u64;
        self.mend()?;
        let full = self
            .segments
            .back()
            .is_none_or(|last| last.len > segment::HEADER as u64 && last.len + owed + bytes > self.segment_bytes);
        if full || !self.writable {
            self.roll()?;
        }
        let Some(last) = self.segments.back() else {
            return Err(io::Error::other("a segment was begun and is not there"));
        };
        let mut batch = Batch {
            bytes: mem::take(&mut self.buffer),
            salt: last.salt,
            settled: !self.unsynced,
            released: Vec::new(),
            entries: Vec::new(),
            segment: last.id,
            at: last.len,
        };
        batch.bytes.clear();
        for seqs in self.owed.chunks(RELEASES_PER_FRAME) {
            batch.release(seqs);
        }
        Ok(batch)
    }

    /// Writes the batch at the end of the last segment, whole or not at all.
    pub fn write(&mut self, batch: &Batch) -> io::Result<()> {
        let Some(last) = self.segments.back_mut() else {
            return Err(io::Error::other("there is no segment to write to"));
        };
        if let Err(error) = last.file.write(&batch.bytes, last.len) {
            self.ragged = last.file.cut(last.len).is_err();
            return Err(error);
        }
        last.len += batch.bytes.len() as u64;
        self.disk_bytes += batch.bytes.len() as u64;
        self.unsynced = self.durability == Durability::Power;
        self.owed.drain(..batch.released.len());
        Ok(())
    }

    /// Makes the batch's entries live where they stand now.
    pub fn commit(&mut self, mut batch: Batch, synced: bool) {
        if synced {
            self.unsynced = false;
        }
        for (seq, place) in batch.entries.drain(..) {
            if let Some(old) = self.index.insert(seq, place) {
                self.leave(old.segment);
                self.live_bytes -= old.frame_bytes();
            }
            self.live_bytes += place.frame_bytes();
            if let Some(segment) = self.segment_mut(place.segment) {
                segment.entries.push(seq);
                segment.live += 1;
            }
        }
        self.keep_buffer(batch);
    }

    /// Takes back a batch that was written and could not be synced. What a
    /// disk holds after a failed sync is anyone's guess, so its new entries
    /// are voided in a new segment, should they turn up again.
    pub fn undo(&mut self, batch: Batch) {
        if let Some(last) = self.segments.back_mut() {
            last.len = batch.at;
            self.disk_bytes -= batch.bytes.len() as u64;
            self.ragged = last.file.cut(last.len).is_err();
        }
        self.look_again();
        self.writable = false;
        self.owed.extend_from_slice(&batch.released);
        let index = &self.index;
        let new = batch.entries.iter().map(|(seq, _)| *seq).filter(|seq| !index.contains_key(seq));
        self.owed.extend(new);
        self.keep_buffer(batch);
    }

    /// Takes the buffer of a batch back for the next one.
    pub fn keep_buffer(&mut self, batch: Batch) {
        if batch.bytes.capacity() <= BUFFER_KEPT {
            self.buffer = batch.bytes;
        }
    }

    /// Releases entries; those not live are passed over. Returns the bytes
    /// that are free to be promised again.
    pub fn release(&mut self, seqs: &[u64]) -> u64 {
        let mut freed = 0;
        for seq in seqs {
            if let Some(place) = self.index.remove(seq) {
                freed += place.frame_bytes();
                self.leave(place.segment);
                self.owed.push(*seq);
            }
        }
        self.live_bytes -= freed;
        freed
    }

    /// Moves dead segments from the head of the log to `doomed`. The last one
    /// stays: it knows the next number.
    pub fn reclaim(&mut self) -> bool {
        while self.segments.len() > 1 && self.segments.front().is_some_and(|first| first.live == 0) {
            if let Some(dead) = self.segments.pop_front() {
                self.disk_bytes -= dead.len;
                self.doomed.push_back(dead.file.path().to_owned());
            }
        }
        !self.doomed.is_empty()
    }

    /// Whether the log is too long for what lives in it. A small segment
    /// counts for more than it has, so that many restarts do not leave many.
    pub fn wants_copies(&self) -> bool {
        let small = self.segments.len() as u64 * (self.segment_bytes / 16);
        let size = self.disk_bytes.max(small);
        self.segments.len() > 1 && size > 2 * self.live_bytes + 4 * self.segment_bytes
    }

    /// The next few live entries of the oldest segment, at least `bytes` if
    /// there are as many, for the caller to put into a batch.
    pub fn copies(&mut self, bytes: u64) -> Vec<Copied> {
        let mut copies = Vec::new();
        let mut copied = 0;
        let Some(first) = self.segments.front_mut() else { return copies };
        let mut looks = 0;
        while copied < bytes.max(COPY_BYTES) && looks < COPY_LOOKS {
            let Some(&seq) = first.entries.get(first.looked) else { break };
            looks += 1;
            let place = self.index.get(&seq).filter(|place| place.segment == first.id);
            if let Some(place) = place {
                match read(&first.file, first.salt, seq, place) {
                    Ok(copy) => {
                        copied += place.frame_bytes();
                        copies.push(copy);
                    }
                    // The entry cannot be read, so its segment has to stay.
                    // It is not tried again before the next start.
                    Err(error) => tracing::error!(
                        file = %first.file.path().display(),
                        offset = place.offset,
                        error = &error as &dyn std::error::Error,
                        "A journal entry cannot be read and keeps its segment on disk"
                    ),
                }
            }
            first.looked += 1;
        }
        copies
    }

    /// After a write of copies that failed: they are to be looked at again.
    pub fn look_again(&mut self) {
        if let Some(first) = self.segments.front_mut() {
            first.looked = 0;
        }
    }

    pub fn segment(&self, id: u64) -> Option<&Segment> {
        let at = self.segments.partition_point(|segment| segment.id < id);
        self.segments.get(at).filter(|segment| segment.id == id)
    }

    fn segment_mut(&mut self, id: u64) -> Option<&mut Segment> {
        // New entries go to the last one, nearly always.
        if self.segments.back().is_some_and(|last| last.id == id) {
            return self.segments.back_mut();
        }
        let at = self.segments.partition_point(|segment| segment.id < id);
        self.segments.get_mut(at).filter(|segment| segment.id == id)
    }

    fn leave(&mut self, segment: u64) {
        if let Some(segment) = self.segment_mut(segment) {
            segment.live -= 1;
        }
    }

    /// Cuts off what a failed write left behind, if that failed too back then.
    fn mend(&mut self) -> io::Result<()> {
        if let (true, Some(last)) = (self.ragged, self.segments.back()) {
            last.file.cut(last.len)?;
            self.ragged = false;
        }
        Ok(())
    }

    /// Seals the last segment and begins a new one.
    fn roll(&mut self) -> io::Result<()> {
        let power = self.durability == Durability::Power;
        if let (true, true, Some(last)) = (power, self.unsynced, self.segments.back()) {
            last.file.sync()?;
            self.unsynced = false;
        }
        let id = self.segments.back().map_or(1, |last| last.id + 1);
        let mut salt = [0; 4];
        getrandom::fill(&mut salt).map_err(io::Error::other)?;
        let salt = u32::from_le_bytes(salt);
        let header = Header { id, first_seq: self.next_seq, salt, durability: self.durability, boot: self.boot };
        let file = SegmentFile::create(&self.disk, path_of(&self.folder, id))?;
        let begun = file.write(&header.encode(), 0).and_then(|()| match power {
            true => file.sync().and_then(|()| sync_folder(&self.folder)),
            false => Ok(()),
        });
        if let Err(error) = begun {
            std::fs::remove_file(file.path())?;
            return Err(error);
        }
        self.disk_bytes += segment::HEADER as u64;
        self.segments.push_back(Segment {
            id,
            salt,
            file: Arc::new(file),
            len: segment::HEADER as u64,
            entries: Vec::new(),
            live: 0,
            looked: 0,
        });
        self.writable = true;
        Ok(())
    }
}

/// Reads one entry and checks that it is the one that was meant.
pub(crate) fn read(file: &SegmentFile, salt: u32, seq: u64, place: &Place) -> io::Result<Copied> {
    let mut bytes = vec![0; place.frame_bytes() as usize];
    file.read(&mut bytes, place.offset)?;
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the entry is damaged");
    let (frame, _) = Frame::at(&bytes, 0, salt)
        .filter(|(frame, _)| frame.seq == seq && frame.kind == Kind::Entry)
        .ok_or_else(damaged)?;
    bytes.drain(..frame::HEADER);
    let payload = Payload { tag: frame.tag, sealed: frame.sealed, crc: frame.payload_crc, bytes: bytes.into() };
    Ok(Copied { seq, payload })
}

/// The file of a segment.
pub(crate) fn path_of(folder: &Path, id: u64) -> PathBuf {
    folder.join(format!("{id:016x}.seg"))
}
