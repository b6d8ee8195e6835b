//! Opening a folder: what is live, what was torn, what is damaged.
//!
//! | found | taken for | then |
//! | --- | --- | --- |
//! | the last file ends in bytes that are no frame | a write that the crash cut short; nobody got an answer | cut off, reported |
//! | bytes that are no frame, anywhere else, in a file of mode `Process` from before the machine started | a power cut, which that mode does not promise to survive | salvaged, reported |
//! | the same in any other file, a header that is none, a missing file | damage | refused, or salvaged when asked |

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use crate::append::Token;
use crate::config::{Config, Damaged, Durability};
use crate::error::Error;
use crate::file::{Disk, SegmentFile, sync_folder};
use crate::frame::{self, Kind};
use crate::log::{Log, Place, Segment, path_of};
use crate::segment::{HEADER, Header, Scan};

/// What was found when a journal was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The live entries in the order in which they were accepted. Their bytes
    /// are read with [`Journal::read`](crate::Journal::read), one by one.
    pub live: Vec<Live>,
    /// The write that a crash cut short, if one did.
    pub torn: Option<Torn>,
    /// Damage that was salvaged.
    pub lost: Vec<Lost>,
}

/// A live entry without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// Its name.
    pub token: Token,
    /// The byte that it was appended with.
    pub tag: u8,
    /// Size of its payload in bytes.
    pub bytes: usize,
}

/// The end of the last segment, cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub file: PathBuf,
    /// Where the cut was made, in bytes.
    pub offset: u64,
    /// How many bytes stood behind it.
    pub bytes: u64,
}

/// A damaged range. The file is kept beside the repaired one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The segment.
    pub file: PathBuf,
    /// Where the damage begins, in bytes, in the file as it was.
    pub offset: u64,
    /// How many bytes it covers; 0 when the whole file is missing.
    pub bytes: u64,
    /// Where the file is kept as it was found, if there was one.
    pub kept: Option<PathBuf>,
}

/// Opens the folder. The lock lasts as long as the file that is returned.
pub(crate) fn open(config: &Config, disk: Disk) -> Result<(Log, File, Recovery), Error> {
    let folder = &config.folder;
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Error::io("create the folder", folder))?;
    let lock = lock(folder)?;
    let ids = segment_ids(folder).map_err(Error::io("list the folder", folder))?;
    let boot = boot();
    let mut opening = Opening {
        config,
        disk: &disk,
        boot,
        recovery: Recovery::default(),
        segments: VecDeque::new(),
        index: BTreeMap::new(),
        next_seq: 1,
    };
    opening.check_all_there(&ids)?;
    for (at, id) in ids.iter().enumerate() {
        opening.take_segment(*id, at + 1 == ids.len())?;
    }
    let Opening { mut recovery, mut segments, index, next_seq, .. } = opening;
    for segment in &mut segments {
        let here = |seq: &&u64| index.get(seq).is_some_and(|place| place.segment == segment.id);
        segment.live = segment.entries.iter().filter(here).count();
    }
    recovery.live = index
        .iter()
        .map(|(seq, place)| Live { token: Token(*seq), tag: place.tag, bytes: place.len as usize })
        .collect();
    let mut log = Log {
        folder: folder.clone(),
        disk: disk.clone(),
        durability: config.durability,
        boot,
        segment_bytes: config.segment_bytes,
        live_bytes: index.values().map(Place::frame_bytes).sum(),
        disk_bytes: segments.iter().map(|segment| segment.len).sum(),
        segments,
        // What a former life left is never written to. The first append
        // begins a segment, so that opening works on a full disk too.
        writable: false,
        index,
        next_seq,
        owed: Vec::new(),
        doomed: VecDeque::new(),
        ragged: false,
        unsynced: false,
        buffer: Vec::new(),
    };
    log.reclaim();
    Ok((log, lock, recovery))
}

struct Opening<'a> {
    config: &'a Config,
    disk: &'a Disk,
    boot: [u8; 16],
    recovery: Recovery,
    segments: VecDeque<Segment>,
    index: BTreeMap<u64, Place>,
    next_seq: u64,
}

impl Opening<'_> {
    /// Segments are deleted from the oldest on, so there is never a hole.
    fn check_all_there(&mut self, ids: &[u64]) -> Result<(), Error> {
        for pair in ids.windows(2) {
            if let [before, after] = pair
                && before + 1 != *after
            {
                let file = path_of(&self.config.folder, before + 1);
                self.refuse(&file, 0, "it is missing, and later ones are there")?;
                self.recovery.lost.push(Lost { file, offset: 0, bytes: 0, kept: None });
            }
        }
        Ok(())
    }

    fn take_segment(&mut self, id: u64, last: bool) -> Result<(), Error> {
        let path = path_of(&self.config.folder, id);
        let mut bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        let header = match Header::decode(&bytes).and_then(|header| match header.id == id {
            true => Ok(header),
            false => Err("it is another file under this one's name"),
        }) {
            Ok(header) => header,
            Err(_) if last && (bytes.len() < HEADER || bytes.iter().all(|byte| *byte == 0)) => {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                let bytes = bytes.len() as u64;
                self.recovery.torn = Some(Torn { file: path, offset: 0, bytes });
                return Ok(());
            }
            Err(what) => {
                self.refuse(&path, 0, what)?;
                let header = Header {
                    id,
                    first_seq: self.next_seq,
                    salt: 0,
                    durability: self.config.durability,
                    boot: self.boot,
                };
                let kept = replace(&path, &header.encode())?;
                let lost = bytes.len() as u64;
                bytes = header.encode().to_vec();
                self.recovery.lost.push(Lost { file: path.clone(), offset: 0, bytes: lost, kept: Some(kept) });
                header
            }
        };
        let mut scan = Scan::new(&bytes, header.salt);
        if let Some(gap) = scan.gaps.first() {
            let file = SegmentFile::open(self.disk, path.clone()).map_err(Error::io("open", &path))?;
            match scan.torn_at() {
                Some(end) if last => {
                    file.cut(end as u64)
                        .and_then(|()| file.sync())
                        .map_err(Error::io("cut the torn end off", &path))?;
                    self.recovery.torn =
                        Some(Torn { file: path.clone(), offset: end as u64, bytes: (bytes.len() - end) as u64 });
                    scan.cut(end);
                    bytes.truncate(end);
                }
                _ => {
                    if !self.power_cut_explains(&header) {
                        self.refuse(&path, gap.from as u64, "no whole entry begins there")?;
                    }
                    bytes = self.salvage(&path, &bytes, &scan)?;
                    scan = Scan::new(&bytes, header.salt);
                }
            }
        }
        self.replay(path, &header, &bytes, &scan)
    }

    /// Whether the file was written without syncs before the machine started.
    fn power_cut_explains(&self, header: &Header) -> bool {
        const UNKNOWN: [u8; 16] = [0; 16];
        header.durability == Durability::Process
            && header.boot != self.boot
            && header.boot != UNKNOWN
            && self.boot != UNKNOWN
    }

    fn refuse(&self, file: &Path, offset: u64, what: &'static str) -> Result<(), Error> {
        match self.config.damaged {
            Damaged::Salvage => Ok(()),
            Damaged::Refuse => Err(Error::Corrupt { file: file.to_owned(), offset, what }),
        }
    }

    /// Puts a file with the whole frames only in the place of the damaged one.
    fn salvage(&mut self, path: &Path, bytes: &[u8], scan: &Scan) -> Result<Vec<u8>, Error> {
        let mut clean = bytes[..HEADER].to_vec();
        for (at, frame) in &scan.frames {
            clean.extend_from_slice(&bytes[*at..*at + frame.bytes() as usize]);
        }
        let kept = replace(path, &clean)?;
        self.recovery.lost.extend(scan.gaps.iter().map(|gap| Lost {
            file: path.to_owned(),
            offset: gap.from as u64,
            bytes: (gap.to - gap.from) as u64,
            kept: Some(kept.clone()),
        }));
        Ok(clean)
    }

    fn replay(&mut self, path: PathBuf, header: &Header, bytes: &[u8], scan: &Scan) -> Result<(), Error> {
        let mut entries = Vec::new();
        self.next_seq = self.next_seq.max(header.first_seq);
        for (at, frame) in &scan.frames {
            self.next_seq = self.next_seq.max(frame.seq.saturating_add(1));
            match frame.kind {
                Kind::Entry => {
                    let place = Place {
                        segment: header.id,
                        offset: *at as u64,
                        len: frame.len,
                        tag: frame.tag,
                        sealed: frame.sealed,
                    };
                    // A copy takes the place of what it was copied from.
                    self.index.insert(frame.seq, place);
                    entries.push(frame.seq);
                }
                Kind::Release => {
                    let from = at + frame::HEADER;
                    for seq in frame::released(&bytes[from..from + frame.len as usize]) {
                        self.index.remove(&seq);
                    }
                }
            }
        }
        let file = SegmentFile::open(self.disk, path.clone()).map_err(Error::io("open", &path))?;
        if self.config.durability == Durability::Power {
            // What a killed process wrote is taken as live, hence made so.
            file.sync().map_err(Error::io("sync", &path))?;
        }
        self.segments.push_back(Segment {
            id: header.id,
            salt: header.salt,
            file: Arc::new(file),
            len: bytes.len() as u64,
            entries,
            live: 0,
            looked: 0,
        });
        Ok(())
    }
}

/// Takes the folder for this process, until the file is closed. The lock is on
/// the open file, so it ends with the process, however that ends.
fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join("lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&path).map_err(Error::io("open", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked { folder: folder.to_owned() }),
        Err(error) => Err(Error::Io { doing: "lock", path, source: error.into() }),
    }
}

/// The segments in a folder, oldest first. Other files are not ours.
fn segment_ids(folder: &Path) -> io::Result<Vec<u64>> {
    let mut ids = Vec::new();
    for item in fs::read_dir(folder)? {
        let name = item?.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        ids.extend(id.filter(|id| id.len() == 16).and_then(|id| u64::from_str_radix(id, 16).ok()));
    }
    ids.sort_unstable();
    Ok(ids)
}

/// Puts `bytes` in the place of the file, which is kept under another name.
/// At every moment there is a file of that name.
fn replace(path: &Path, bytes: &[u8]) -> Result<PathBuf, Error> {
    let kept = (1..=u32::MAX)
        .map(|n| path.with_extension(format!("seg.damaged-{n}")))
        .find(|kept| !kept.exists())
        .unwrap_or_else(|| path.with_extension("seg.damaged"));
    fs::hard_link(path, &kept).map_err(Error::io("keep the damaged file as", &kept))?;
    let new = path.with_extension("seg.repaired");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(&new)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&new, path))
        .and_then(|()| path.parent().map_or(Ok(()), sync_folder))
        .map_err(Error::io("repair", path))?;
    Ok(kept)
}

/// Which boot of the machine this is; zeros where the system does not say.
fn boot() -> [u8; 16] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).unwrap_or_default().to_be_bytes()
}
