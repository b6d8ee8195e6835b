//! Action code that came as an archive: looked through, and unpacked.
//!
//! The archive was made by a user, so it is taken for an attack: limits on
//! entries and bytes hold while unpacking and not only by what headers claim,
//! names must stay inside, and nothing is ever written through a link, because
//! links are made last. What user code may *read* is the sandbox's business;
//! this module's is that the host writes nothing where it should not, and no
//! more than it should.
//!
//! A zip (`PK`) and a gzipped tar are unpacked, whatever else there is becomes
//! an executable file named `exec`: it is what OpenWhisk does.

mod folder;
mod tar;
mod zip;

use std::{
    collections::HashSet,
    fs::{self, Permissions},
    hash::{BuildHasher, RandomState},
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use folder::Folder;

/// Limits on one archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes in all files together.
    pub bytes: u64,
    /// Most files, folders and links; also, most folders that their names imply.
    pub entries: u64,
}

impl Default for Limits {
    /// Ten times the code that can be uploaded, and as many entries as the
    /// plain zip format has room for.
    fn default() -> Limits {
        Limits { bytes: 512 << 20, entries: 65_535 }
    }
}

/// Why an archive is not unpacked, in words for its author.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// More bytes than allowed.
    #[error("The action's archive would unpack to more than {} MB.", .0 >> 20)]
    TooLarge(u64),
    /// More entries than allowed.
    #[error("The action's archive has more than {0} entries.")]
    TooMany(u64),
    /// A name that leads out of the folder, or nowhere.
    #[error("The action's archive has an entry with an unsafe path: {0:?}.")]
    Path(String),
    /// A name that is too long or too deep, or that of a file which another
    /// entry takes for a folder.
    #[error("The action's archive has an entry whose name is too long, too deep or in another's way: {0:?}.")]
    Name(String),
    /// A link that leads out of the folder.
    #[error("The action's archive has a symbolic link that leaves it: {0:?}.")]
    Link(String),
    /// A device, a hard link or the like.
    #[error("The action's archive has an entry that is neither file, folder nor symbolic link: {0:?}.")]
    Kind(String),
    /// Damaged, encrypted or of an unknown method.
    #[error("The action's archive cannot be read: {0}.")]
    Damaged(String),
    /// The host's trouble.
    #[error("The action's archive could not be unpacked on this host.")]
    Host(#[source] io::Error),
}

/// The kinds of code that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Zip,
    TarGz,
    Other,
}

impl Format {
    fn of(code: &[u8]) -> Format {
        match code {
            [b'P', b'K', 3 | 5 | 7, ..] => Format::Zip,
            [0x1f, 0x8b, ..] => Format::TarGz,
            _ => Format::Other,
        }
    }
}

/// Looks through an archive without writing anything, as at upload. Code that
/// is no archive passes. A gzipped tar is decompressed to be looked through;
/// a zip is judged by its directory, to whose word unpacking will hold it, and by
/// where its links lead.
pub fn check(code: &[u8], limits: Limits) -> Result<(), Refused> {
    match Format::of(code) {
        Format::Zip => zip::check(code, limits),
        Format::TarGz => tar::read(MultiGzDecoder::new(code), limits, None),
        Format::Other => Ok(()),
    }
}

/// Puts code into the existing, empty `folder`. Blocks.
pub fn place(code: &[u8], folder: &Path, limits: Limits) -> Result<(), Refused> {
    let mut folder = Folder::open(folder, limits).map_err(Refused::Host)?;
    match Format::of(code) {
        Format::Zip => zip::unpack(code, limits, &mut folder)?,
        Format::TarGz => tar::read(MultiGzDecoder::new(code), limits, Some(&mut folder))?,
        Format::Other => {
            let mut file = folder.file(Path::new("exec"), true)?;
            io::Write::write_all(&mut file, code).map_err(Refused::Host)?;
        }
    }
    folder.make_links()
}

/// Unpacks a tar that is not compressed, as it comes, into the existing, empty
/// `folder`. What comes after its end is left in the stream. Blocks.
pub fn place_tar(stream: impl Read, folder: &Path, limits: Limits) -> Result<(), Refused> {
    let mut folder = Folder::open(folder, limits).map_err(Refused::Host)?;
    tar::read(stream, limits, Some(&mut folder))?;
    folder.make_links()
}

/// Puts code as it is, archive or not, into one file. Blocks.
pub fn place_whole(code: &[u8], file: &Path, executable: bool) -> io::Result<()> {
    fs::write(file, code)?;
    fs::set_permissions(file, Permissions::from_mode(if executable { 0o755 } else { 0o644 }))
}

/// Whether code is a zip with a folder `META-INF`: Java takes it as it is.
pub fn is_jar(code: &[u8], limits: Limits) -> bool {
    Format::of(code) == Format::Zip && zip::has_folder(code, limits, "META-INF/")
}

/// Whether code is an archive, rather than one file.
pub fn is_archive(code: &[u8]) -> bool {
    Format::of(code) != Format::Other
}

/// Whether a file that begins like this is a program that the kernel executes.
pub fn is_program(beginning: &[u8]) -> bool {
    beginning.starts_with(b"\x7fELF") || beginning.starts_with(b"#!")
}

/// Counts entries, the folders that their names imply, and bytes against the
/// limits.
struct Budget {
    limits: Limits,
    entries: u64,
    bytes: u64,
    /// Hashes of the folders seen, with a key that nobody outside knows. Two
    /// that fall together would count as one, which unpacking notices.
    folders: HashSet<u64>,
    hasher: RandomState,
}

impl Budget {
    fn new(limits: Limits) -> Budget {
        Budget { limits, entries: 0, bytes: 0, folders: HashSet::new(), hasher: RandomState::new() }
    }

    /// Counts the folders above a path.
    fn path(&mut self, path: &Path) -> Result<(), Refused> {
        for folder in path.ancestors().skip(1).take_while(|folder| !folder.as_os_str().is_empty()) {
            if !self.folders.insert(self.hasher.hash_one(folder.as_os_str().as_bytes())) {
                break;
            }
            if self.folders.len() as u64 > self.limits.entries {
                return Err(Refused::TooMany(self.limits.entries));
            }
        }
        Ok(())
    }

    fn entry(&mut self, bytes: u64) -> Result<(), Refused> {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.entries > self.limits.entries {
            return Err(Refused::TooMany(self.limits.entries));
        }
        if self.bytes > self.limits.bytes {
            return Err(Refused::TooLarge(self.limits.bytes));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
