//! Settings, as plain values.

use std::path::PathBuf;

use whisker_secrets::Seals;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder of the file; made if it is not there. It belongs to one
    /// server at a time.
    pub data_dir: PathBuf,
    /// What an answered write survives.
    pub durability: Durability,
    /// Reads at once of the kind that may take long (lists, counts, code);
    /// each holds a connection, with up to 2 MB of cache. At least 1.
    pub readers: usize,
    /// What subjects, who have keys, are sealed with.
    pub seals: Seals,
}

impl Config {
    /// The defaults, for a folder.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), durability: Durability::default(), readers: 4, seals: Seals::default() }
    }
}

/// What an answered write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The death of the process (`synchronous=NORMAL`). A loss of power may
    /// take the last writes with it, in whole transactions from the end.
    #[default]
    Process,
    /// A loss of power too (`synchronous=FULL`): an fsync per group.
    Power,
}
