//! Settings of one journal, as plain values.

use std::path::PathBuf;

use whisker_secrets::Seals;

/// The largest entry that a journal takes, in bytes: 64 MiB, above the largest
/// activation with its parameters that the platform's own limits allow.
pub const MAX_ENTRY_BYTES: usize = 64 << 20;

/// What an answered append survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The end of this process, `kill -9` included: the entry is in the page
    /// cache. A power cut may take the last seconds. Appends are answered at
    /// once, without a thread in between.
    #[default]
    Process,
    /// A power cut: the entry is synced to the disk. Appends that arrive
    /// during a sync share the next one.
    Power,
}

/// What to do when a segment is damaged where a torn write cannot explain it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Damaged {
    /// Fail to open, and name file and offset.
    #[default]
    Refuse,
    /// Keep every entry that is intact, report the ranges that are lost, and
    /// keep the damaged file beside its repaired copy as `….damaged-N`.
    Salvage,
}

/// Settings of one journal.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the segments are. Created when missing, for its owner alone,
    /// since entries may hold users' parameters.
    pub folder: PathBuf,
    /// What an answered append survives.
    pub durability: Durability,
    /// Size at which a segment is sealed and the next one begun, in bytes. A
    /// larger entry gets a segment of its own.
    pub segment_bytes: u64,
    /// How many bytes of entries that are not released the journal holds,
    /// with their frames of 24 bytes each, before it answers
    /// [`Error::Full`](crate::Error::Full). The folder may take twice as much.
    pub max_live_bytes: u64,
    /// What to do about damage.
    pub damaged: Damaged,
    /// What entries are sealed with on their way to disk. Those that are there
    /// in clear, or under an older key, are sealed anew when it is opened.
    pub seals: Seals,
}

impl Config {
    /// The defaults: segments of 16 MiB, 1 GiB of live entries, mode
    /// [`Durability::Process`], damage refused.
    pub fn new(folder: impl Into<PathBuf>) -> Config {
        Config {
            folder: folder.into(),
            durability: Durability::default(),
            segment_bytes: 16 << 20,
            max_live_bytes: 1 << 30,
            damaged: Damaged::default(),
            seals: Seals::default(),
        }
    }
}
