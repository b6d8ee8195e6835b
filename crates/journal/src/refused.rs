//! What nobody takes: a file for texts that were promised a place, and that
//! the place will never have.
//!
//! Whoever keeps trying one of them keeps the others waiting. So it is put
//! here, a line each, for a person to look at, and counted as done.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

/// Bytes of the file beyond which nothing more is put there.
const MAX_BYTES: u64 = 256 << 20;

/// The file, made when it is first needed.
#[derive(Debug)]
pub struct Refused {
    path: PathBuf,
    /// One line at a time.
    turn: Mutex<()>,
}

impl Refused {
    /// A file at this path.
    pub fn at(path: impl Into<PathBuf>) -> Refused {
        Refused { path: path.into(), turn: Mutex::default() }
    }

    /// Where it is.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Keeps a value with the reason why it was refused.
    pub fn keep_as_json(&self, reason: &str, value: &impl Serialize) -> io::Result<()> {
        #[derive(Serialize)]
        struct Line<'a, T> {
            refused: &'a str,
            value: &'a T,
        }
        // Written at once as text, which holds numbers that no value does.
        self.keep(&serde_json::to_string(&Line { refused: reason, value })?)
    }

    /// Keeps a text without line breaks, and syncs it. For its owner alone:
    /// it may be someone's secret.
    pub fn keep(&self, text: &str) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = File::options().append(true).create(true).mode(0o600).open(&self.path)?;
        if file.metadata()?.len() + text.len() as u64 > MAX_BYTES {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        file.write_all(format!("{text}\n").as_bytes())?;
        file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn texts_are_kept_line_by_line_for_their_owner() {
        let folder = tempfile::tempdir().unwrap();
        let refused = Refused::at(folder.path().join("refused"));
        refused.keep("one").unwrap();
        refused.keep("two").unwrap();
        assert_eq!(std::fs::read_to_string(refused.path()).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::metadata(refused.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
