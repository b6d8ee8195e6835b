//! The folder that an archive is unpacked into, and nothing outside of it.

use std::{
    fs::{self, File, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{OpenOptionsExt, PermissionsExt},
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat2, symlinkat},
    io::Errno,
};

use super::{Limits, Refused};

/// Longest target of a symbolic link, which is what the kernel takes.
pub(super) const LINK_BYTES: u64 = 4095;

/// Longest name of one file or folder, and longest path, in bytes: the kernel's.
const NAME_BYTES: usize = 255;
const PATH_BYTES: usize = 4000;

/// Most folders in each other. No package comes near, and looking a path up
/// takes time for each of them.
const DEPTH: usize = 128;

/// A folder being filled. There is no link in it until [`Folder::make_links`],
/// so that a checked path means what it says.
pub(super) struct Folder {
    root: PathBuf,
    handle: OwnedFd,
    links: Vec<(PathBuf, PathBuf)>,
    /// Folders made so far, and how many may be.
    folders: u64,
    most: u64,
}

/// A name from an archive as a path below the folder; `None` for the folder
/// itself.
pub(super) fn inside(name: &str) -> Result<Option<PathBuf>, Refused> {
    let refused = || Refused::Path(shortened(name));
    if name.contains('\0') {
        return Err(refused());
    }
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) if part.len() > NAME_BYTES => return Err(Refused::Name(shortened(name))),
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => return Err(refused()),
        }
    }
    if path.as_os_str().len() > PATH_BYTES || path.components().count() > DEPTH {
        return Err(Refused::Name(shortened(name)));
    }
    Ok(Some(path).filter(|path| !path.as_os_str().is_empty()))
}

/// As much of a name as a sentence can bear.
pub(super) fn shortened(name: &str) -> String {
    name.chars().take(200).collect()
}

/// Tells trouble that the archive makes by its names from the host's own.
fn refused(path: &Path, error: io::Error) -> Refused {
    match Errno::from_io_error(&error) {
        Some(Errno::EXIST | Errno::NOTDIR | Errno::ISDIR | Errno::NAMETOOLONG) => {
            Refused::Name(shortened(&path.to_string_lossy()))
        }
        _ => Refused::Host(error),
    }
}

/// Whether a link at `path` with this target stays inside. Steps upwards may
/// only come first: after another link they would lead from where that one
/// points to, which no look at the text can tell.
pub(super) fn check_link(path: &Path, target: &str) -> Result<PathBuf, Refused> {
    let refused = || Refused::Link(path.to_string_lossy().chars().take(200).collect());
    if target.is_empty() || target.contains('\0') || target.len() as u64 > LINK_BYTES {
        return Err(refused());
    }
    let mut depth = path.components().count() - 1;
    let mut descended = false;
    for component in Path::new(target).components() {
        match component {
            Component::Normal(_) => descended = true,
            Component::CurDir => {}
            Component::ParentDir if !descended && depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(refused()),
        }
    }
    Ok(PathBuf::from(target))
}

impl Folder {
    pub(super) fn open(root: &Path, limits: Limits) -> io::Result<Folder> {
        let handle = File::open(root)?.into();
        Ok(Folder { root: root.to_owned(), handle, links: Vec::new(), folders: 0, most: limits.entries })
    }

    /// Makes a folder, and those above it. They are counted: the names of a
    /// few entries can imply millions. Those that are there already cost one
    /// look and not one each, for names can also be long.
    pub(super) fn folder(&mut self, path: &Path) -> Result<(), Refused> {
        let missing: Vec<PathBuf> =
            path.ancestors().map(|path| self.root.join(path)).take_while(|folder| !folder.is_dir()).collect();
        for folder in missing.iter().rev() {
            self.folders += 1;
            if self.folders > self.most {
                return Err(Refused::TooMany(self.most));
            }
            fs::create_dir(folder).map_err(|error| refused(path, error))?;
            fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(Refused::Host)?;
        }
        Ok(())
    }

    /// Makes a file, and the folders above it. A later entry of the same name
    /// takes the earlier one's place.
    pub(super) fn file(&mut self, path: &Path, executable: bool) -> Result<File, Refused> {
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(self.root.join(path))
            .map_err(|error| refused(path, error))?;
        file.set_permissions(Permissions::from_mode(if executable { 0o755 } else { 0o644 })).map_err(Refused::Host)?;
        Ok(file)
    }

    /// Remembers a link for the end.
    pub(super) fn link(&mut self, path: PathBuf, target: PathBuf) -> Result<(), Refused> {
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        self.links.push((path, target));
        Ok(())
    }

    pub(super) fn make_links(self) -> Result<(), Refused> {
        for (path, target) in &self.links {
            let refused = || Refused::Link(path.to_string_lossy().chars().take(200).collect());
            let parent = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            // A link below a link would count its steps from elsewhere.
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let rules = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let parent = openat2(&self.handle, parent, flags, Mode::empty(), rules).map_err(|_| refused())?;
            let name = path.file_name().ok_or_else(refused)?;
            symlinkat(target, parent, name).map_err(|_| refused())?;
        }
        Ok(())
    }
}
