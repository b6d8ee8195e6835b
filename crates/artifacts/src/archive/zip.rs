//! Zip archives.

use std::{
    io::{self, Cursor, Read},
    path::{Path, PathBuf},
};

use zip::{ZipArchive, read::ZipFile, result::ZipError};

use super::{
    Budget, Limits, Refused,
    folder::{Folder, LINK_BYTES, check_link, inside},
};

/// Begins each entry of a zip's directory.
const ENTRY_SIGNATURE: &[u8] = b"PK\x01\x02";

type Entry<'a, 'c> = ZipFile<'a, Cursor<&'c [u8]>>;

pub(super) fn check(code: &[u8], limits: Limits) -> Result<(), Refused> {
    walk(code, limits, |entry, name| match inside(name)? {
        Some(path) if entry.is_symlink() => target(entry, &path).map(drop),
        Some(_) | None => Ok(()),
    })
}

/// Where a link leads to, which is inside.
fn target(entry: &mut Entry<'_, '_>, path: &Path) -> Result<PathBuf, Refused> {
    let mut target = String::new();
    entry.take(LINK_BYTES + 1).read_to_string(&mut target).map_err(damaged_io)?;
    check_link(path, &target)
}

pub(super) fn unpack(code: &[u8], limits: Limits, folder: &mut Folder) -> Result<(), Refused> {
    walk(code, limits, |entry, name| {
        let Some(path) = inside(name)? else { return Ok(()) };
        if entry.is_dir() {
            return folder.folder(&path);
        }
        let claimed = entry.size();
        if entry.is_symlink() {
            let target = target(entry, &path)?;
            return folder.link(path, target);
        }
        let executable = entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
        let mut file = folder.file(&path, executable)?;
        // The directory's word on sizes was counted; nobody gets more.
        let copied = copy(&mut entry.take(claimed + 1), &mut file)?;
        if copied > claimed {
            return Err(Refused::Damaged(format!("{name:?} is larger than it says")));
        }
        Ok(())
    })
}

/// Visits the entries, after the limits were checked for all of them.
fn walk(
    code: &[u8],
    limits: Limits,
    mut visit: impl FnMut(&mut Entry<'_, '_>, &str) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let mut archive = open(code, limits)?;
    let mut budget = Budget::new(limits);
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(damaged)?;
        budget.entry(entry.size())?;
        if let Some(path) = inside(&name_of(&entry))? {
            budget.path(&path)?;
        }
        if entry.encrypted() {
            return Err(Refused::Damaged("it is encrypted".to_owned()));
        }
    }
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(damaged)?;
        let name = name_of(&entry);
        visit(&mut entry, &name)?;
    }
    Ok(())
}

fn open(code: &[u8], limits: Limits) -> Result<ZipArchive<Cursor<&[u8]>>, Refused> {
    // Before the library makes a list of the entries, since that takes many
    // times the memory that they take here.
    let most = usize::try_from(limits.entries).unwrap_or(usize::MAX);
    if memchr::memmem::find_iter(code, ENTRY_SIGNATURE).nth(most).is_some() {
        return Err(Refused::TooMany(limits.entries));
    }
    ZipArchive::new(Cursor::new(code)).map_err(damaged)
}

/// Whether there is something below a folder of this name.
pub(super) fn has_folder(code: &[u8], limits: Limits, folder: &str) -> bool {
    let below = |archive: ZipArchive<_>| archive.file_names().flatten().any(|name| name.starts_with(folder));
    open(code, limits).is_ok_and(below)
}

/// The name as it is in the archive, before any repair by the library.
fn name_of(entry: &Entry<'_, '_>) -> String {
    String::from_utf8_lossy(entry.name_raw()).into_owned()
}

fn damaged(error: ZipError) -> Refused {
    Refused::Damaged(error.to_string())
}

fn damaged_io(error: io::Error) -> Refused {
    Refused::Damaged(error.to_string())
}

/// Copies, and tells trouble with the archive from trouble with the host.
pub(super) fn copy(from: &mut impl Read, to: &mut impl io::Write) -> Result<u64, Refused> {
    let mut buffer = vec![0; 64 * 1024];
    let mut copied = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(damaged_io(error)),
        };
        to.write_all(&buffer[..count]).map_err(Refused::Host)?;
        copied += count as u64;
    }
}
