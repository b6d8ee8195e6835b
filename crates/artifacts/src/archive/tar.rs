//! Tar archives.
//!
//! Read entry by entry as they lie in the stream. The library's own treatment
//! of long names reads a name of any length into memory; here they are bounded.

use std::io::{self, Read};

use tar::{Archive, Entry, EntryType};

use super::{
    Budget, Limits, Refused,
    folder::{Folder, check_link, inside},
    zip::copy,
};

/// Longest extended header that is read: a name and a few attributes.
const EXTENDED_BYTES: u64 = 64 * 1024;

/// Names from extended headers, for the entry that follows.
#[derive(Default)]
struct Extended {
    name: Option<String>,
    target: Option<String>,
}

/// Looks through an archive, and unpacks it if there is a folder to do so.
pub(super) fn read(stream: impl Read, limits: Limits, mut folder: Option<&mut Folder>) -> Result<(), Refused> {
    let mut archive = Archive::new(stream);
    let mut budget = Budget::new(limits);
    let mut extended = Extended::default();
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        let size = entry.header().entry_size().map_err(damaged)?;
        budget.entry(size)?;
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => extended.name = Some(long_name(&mut entry)?),
            EntryType::GNULongLink => extended.target = Some(long_name(&mut entry)?),
            EntryType::XHeader => read_attributes(&mut entry, &mut extended)?,
            EntryType::XGlobalHeader => {}
            _ => unpack(&mut entry, kind, std::mem::take(&mut extended), &mut budget, folder.as_deref_mut())?,
        }
    }
    Ok(())
}

fn unpack(
    entry: &mut Entry<'_, impl Read>,
    kind: EntryType,
    extended: Extended,
    budget: &mut Budget,
    folder: Option<&mut Folder>,
) -> Result<(), Refused> {
    let header = entry.header();
    let name = extended.name.unwrap_or_else(|| String::from_utf8_lossy(&header.path_bytes()).into_owned());
    let Some(path) = inside(&name)? else { return Ok(()) };
    budget.path(&path)?;
    let executable = header.mode().is_ok_and(|mode| mode & 0o111 != 0);
    match kind {
        EntryType::Directory => match folder {
            Some(folder) => folder.folder(&path),
            None => Ok(()),
        },
        EntryType::Regular | EntryType::Continuous => {
            let Some(folder) = folder else { return Ok(()) };
            let mut file = folder.file(&path, executable)?;
            copy(entry, &mut file).map(drop)
        }
        EntryType::Symlink => {
            let target = extended
                .target
                .or_else(|| header.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned()));
            let target = check_link(&path, &target.unwrap_or_default())?;
            match folder {
                Some(folder) => folder.link(path, target),
                None => Ok(()),
            }
        }
        _ => Err(Refused::Kind(name.chars().take(200).collect())),
    }
}

fn long_name(entry: &mut Entry<'_, impl Read>) -> Result<String, Refused> {
    let text = bounded(entry)?;
    Ok(text.trim_end_matches('\0').to_owned())
}

/// Lines of `LENGTH KEY=VALUE`, of which two keys matter.
fn read_attributes(entry: &mut Entry<'_, impl Read>, extended: &mut Extended) -> Result<(), Refused> {
    for line in bounded(entry)?.lines() {
        let Some((key, value)) = line.split_once(' ').and_then(|(_, pair)| pair.split_once('=')) else { continue };
        match key {
            "path" => extended.name = Some(value.to_owned()),
            "linkpath" => extended.target = Some(value.to_owned()),
            // A size here would let an entry be longer than was counted.
            "size" => return Err(Refused::Damaged("it has a size in an extended header".to_owned())),
            _ => {}
        }
    }
    Ok(())
}

fn bounded(entry: &mut Entry<'_, impl Read>) -> Result<String, Refused> {
    let mut bytes = Vec::new();
    entry.take(EXTENDED_BYTES + 1).read_to_end(&mut bytes).map_err(damaged)?;
    if bytes.len() as u64 > EXTENDED_BYTES {
        return Err(Refused::Damaged("it has an overlong header".to_owned()));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn damaged(error: io::Error) -> Refused {
    Refused::Damaged(error.to_string())
}
