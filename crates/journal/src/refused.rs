//! What nobody takes: a file for texts that were promised a place, and that
//! the place will never have.
//!
//! Whoever keeps trying one of them keeps the others waiting. So it is put
//! here, a line each, for a person to look at, and counted as done. Where
//! entries of journals are sealed, so are lines, bound to the file's name.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::Serialize;
use whisker_secrets::{Seals, Unsealable};

/// Bytes of the file beyond which nothing more is put there.
const MAX_BYTES: u64 = 256 << 20;

/// The file, made when it is first needed.
#[derive(Debug)]
pub struct Refused {
    path: PathBuf,
    seals: Seals,
    /// One line at a time.
    turn: Mutex<()>,
}

impl Refused {
    /// A file of this name beside a journal's folder, sealed as its entries
    /// are. Lines that are there in clear, or under an older key, are sealed
    /// anew; those whose key is not there stay, which is logged. Only who has
    /// the journal may open it so.
    pub fn beside(config: &crate::Config, name: &str) -> Refused {
        let path = config.folder.parent().unwrap_or(&config.folder).join(name);
        let refused = Refused::at(path, config.seals.clone());
        if let Err(error) = refused.renew() {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(file = %refused.path.display(), error, "What was refused could not be sealed anew: it stays as it is");
        }
        refused
    }

    /// The file at this path, to be read.
    pub fn at(path: impl Into<PathBuf>, seals: Seals) -> Refused {
        Refused { path: path.into(), seals, turn: Mutex::default() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
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
        self.keep(serde_json::to_string(&Line { refused: reason, value })?)
    }

    /// Keeps a text without line breaks, and syncs it. For its owner alone:
    /// it may be someone's secret.
    pub fn keep(&self, text: String) -> io::Result<()> {
        let text = self.seals.seal_text(&self.context(), text);
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = File::options().append(true).read(true).create(true).mode(0o600).open(&self.path)?;
        let length = file.metadata()?.len();
        if length + text.len() as u64 > MAX_BYTES {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        // A process that was killed, or a full disk, leaves half a line.
        let mut last = [b'\n'];
        if length > 0 {
            file.read_exact_at(&mut last, length - 1)?;
        }
        let begin = if last == [b'\n'] { "" } else { "\n" };
        file.write_all(format!("{begin}{text}\n").as_bytes())?;
        file.sync_data()
    }

    /// What is there, line by line, in clear, until `each` fails. Nothing if
    /// there is no file.
    pub fn read(&self, mut each: impl FnMut(Result<String, Unsealable>) -> io::Result<()>) -> io::Result<()> {
        self.lines(|line| each(self.opened(&line).map(|opened| opened.unwrap_or(line))))
    }

    /// A file is other lines only as a whole: it is written anew, and takes
    /// the place of the old one.
    fn renew(&self) -> io::Result<()> {
        let mut outdated = false;
        self.lines(|line| {
            outdated |= self.seals.is_outdated_text(&line);
            Ok(())
        })?;
        if !outdated {
            return Ok(());
        }
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        let new = File::options().write(true).create(true).truncate(true).mode(0o600).open(&name)?;
        let mut new = BufWriter::new(new);
        let mut left = 0;
        self.lines(|line| {
            let line = match self.opened(&line) {
                _ if !self.seals.is_outdated_text(&line) => line,
                Ok(opened) => self.seals.seal_text(&self.context(), opened.unwrap_or(line)),
                Err(_) => {
                    left += 1;
                    line
                }
            };
            writeln!(new, "{line}")
        })?;
        new.into_inner()?.sync_all()?;
        fs::rename(&name, &self.path)?;
        if left > 0 {
            tracing::warn!(file = %self.path.display(), lines = left, "Some of what was refused cannot be opened with the keys there are: it stays as it is");
        }
        Ok(())
    }

    fn lines(&self, mut each: impl FnMut(String) -> io::Result<()>) -> io::Result<()> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        for line in BufReader::new(file).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            if !line.is_empty() {
                each(line)?;
            }
        }
        Ok(())
    }

    /// `None` for a line in clear.
    fn opened(&self, line: &str) -> Result<Option<String>, Unsealable> {
        self.seals.open_text(&self.context(), line)
    }

    fn context(&self) -> String {
        format!("refused {}", self.path.file_name().unwrap_or_default().to_string_lossy())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::os::unix::fs::PermissionsExt;

    use whisker_secrets::{Algorithm, Key, Secrets};

    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const NEW: &str = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

    fn sealing(keys: &[&str]) -> Seals {
        let keys = keys.iter().map(|key| Key::parse(Algorithm::Aes256, key).unwrap());
        Secrets::new(keys).encrypting_with(Algorithm::Aes256).unwrap().seals().unwrap()
    }

    fn opened(folder: &Path, seals: Seals) -> Refused {
        let config = crate::Config { seals, ..crate::Config::new(folder.join("journal")) };
        Refused::beside(&config, "refused")
    }

    fn text(refused: &Refused) -> String {
        fs::read_to_string(refused.path()).unwrap()
    }

    fn read(refused: &Refused) -> Vec<Result<String, Unsealable>> {
        let mut lines = Vec::new();
        refused
            .read(|line| {
                lines.push(line);
                Ok(())
            })
            .unwrap();
        lines
    }

    #[test]
    fn texts_are_kept_line_by_line_for_their_owner() {
        let folder = tempfile::tempdir().unwrap();
        let refused = opened(folder.path(), Seals::default());
        assert_eq!(read(&refused), []);
        refused.keep("one".into()).unwrap();
        refused.keep("two".into()).unwrap();
        assert_eq!(text(&refused), "one\ntwo\n");
        assert_eq!(fs::metadata(refused.path()).unwrap().permissions().mode() & 0o777, 0o600);
        // Killed in the middle of a third one.
        fs::write(refused.path(), "one\ntwo\nth").unwrap();
        refused.keep("four".into()).unwrap();
        assert_eq!(text(&refused), "one\ntwo\nth\nfour\n");
    }

    #[test]
    fn lines_are_sealed_anew_by_who_has_the_keys() {
        let folder = tempfile::tempdir().unwrap();
        opened(folder.path(), Seals::default()).keep("one".into()).unwrap();
        let refused = opened(folder.path(), sealing(&[KEY]));
        refused.keep("two".into()).unwrap();
        let both = [Ok("one".to_owned()), Ok("two".to_owned())];
        assert!(!text(&refused).contains("one") && !text(&refused).contains("two"));
        assert_eq!(read(&refused), both);
        assert_eq!(fs::metadata(refused.path()).unwrap().permissions().mode() & 0o777, 0o600);

        // Of a key that is not there nothing is lost.
        let before = text(&refused);
        let refused = opened(folder.path(), sealing(&[NEW]));
        assert_eq!(text(&refused), before);
        assert_eq!(read(&refused), [Err(Unsealable::NoKey), Err(Unsealable::NoKey)]);

        assert_eq!(read(&opened(folder.path(), sealing(&[NEW, KEY]))), both);
        assert_eq!(read(&opened(folder.path(), sealing(&[NEW]))), both, "the old key is not needed any more");
        let moved = folder.path().join("moved");
        fs::rename(refused.path(), &moved).unwrap();
        assert_eq!(read(&Refused::at(&moved, sealing(&[NEW]))), [Err(Unsealable::Damaged), Err(Unsealable::Damaged)]);
    }
}
