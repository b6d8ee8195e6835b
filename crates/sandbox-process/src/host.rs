//! The sandbox's own folder on the host, and the parts of a container's root
//! that are the same for all.
//!
//! ```text
//! lock                one server at a time
//! etc/                what containers see as /etc
//! modules/            what the operator brings for all functions, if anything
//! runtimes/HASH/      the launchers of this version of the server
//! seccomp/            the compiled filters
//! artifacts/          unpacked and compiled code, kept and shared
//! containers/N/action the code of container N, and beside it `prepared`
//! ```

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use whisker_firewall::resolver;

use crate::{catalog, seccomp};

/// Parts of the host's /etc that containers see as they are: certificates of
/// authorities, Debian's links to the current one of several programs, and
/// which extensions PHP loads.
pub(crate) const SHARED_ETC: [&str; 3] = ["/etc/ssl/certs", "/etc/alternatives", "/etc/php"];

/// Files of the host's /etc that are copied: what libraries look up.
const COPIED_ETC: [&str; 7] =
    ["ld.so.cache", "localtime", "timezone", "protocols", "services", "mime.types", "ssl/openssl.cnf"];

/// Folders of the host's /etc that are copied, by the beginning of their names:
/// what Debian keeps there of each Java, which does not start without.
const COPIED_FOLDERS: &str = "java-";

const PASSWD: &str = "root:x:0:0:root:/:/usr/sbin/nologin\naction:x:1000:1000:action:/tmp:/bin/sh\n";
const GROUP: &str = "root:x:0:\naction:x:1000:\n";
const HOSTS: &str = "127.0.0.1 localhost action\n::1 localhost\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\n";

/// The folder, locked for as long as this lives.
pub(crate) struct Host {
    root: PathBuf,
    /// Where the folder is for a process that is about to become a container.
    seen_at: PathBuf,
    runtimes: String,
    _lock: File,
}

impl Host {
    /// Makes and fills the folder. `seen_at` is another path to it, if
    /// containers' users may not walk to it by its own.
    pub(crate) fn prepare(root: &Path, seen_at: Option<&Path>) -> io::Result<Host> {
        make_folder(root)?;
        let root = root.canonicalize()?;
        let lock = lock(&root)?;

        let etc = root.join("etc");
        for folder in SHARED_ETC.iter().map(|path| root.join(&path[1..])) {
            make_folder(&folder)?;
        }
        for (name, text) in [("passwd", PASSWD), ("group", GROUP), ("hosts", HOSTS), ("nsswitch.conf", NSSWITCH)] {
            write(&etc.join(name), text.as_bytes(), 0o644)?;
        }
        write(&etc.join("resolv.conf"), resolver().as_bytes(), 0o644)?;
        for name in COPIED_ETC {
            // A host need not have each of them.
            if let Ok(content) = fs::read(Path::new("/etc").join(name)) {
                write(&etc.join(name), &content, 0o644)?;
            }
        }

        for entry in fs::read_dir("/etc").into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(COPIED_FOLDERS) {
                copy_folder(&entry.path(), &etc.join(entry.file_name()))?;
            }
        }

        let runtimes = catalog::content_hash();
        let folder = root.join("runtimes").join(&runtimes);
        for (path, content) in catalog::FILES {
            write(&folder.join(path), content, 0o644)?;
        }

        let filters = seccomp::compile().map_err(io::Error::other)?;
        write(&root.join("seccomp/clone3"), &filters.clone3, 0o644)?;
        write(&root.join("seccomp/allowed"), &filters.allowed, 0o644)?;
        make_folder(&root.join("containers"))?;
        let seen_at = seen_at.unwrap_or(&root).to_owned();
        Ok(Host { root, seen_at, runtimes, _lock: lock })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Newly opened filters, in the order in which they are loaded.
    pub(crate) fn filters(&self) -> io::Result<[File; 2]> {
        let folder = self.root.join("seccomp");
        Ok([File::open(folder.join("clone3"))?, File::open(folder.join("allowed"))?])
    }

    /// The launchers, as the host sees them.
    pub(crate) fn runtimes(&self) -> PathBuf {
        self.root.join("runtimes").join(&self.runtimes)
    }

    /// Modules for everybody, as a process about to become a container sees them.
    pub(crate) fn modules(&self) -> Option<PathBuf> {
        let folder = self.root.join("modules");
        folder.is_dir().then(|| self.as_seen(&folder))
    }

    /// A container's folder, as the host sees it.
    pub(crate) fn container(&self, number: u64) -> PathBuf {
        self.root.join("containers").join(number.to_string())
    }

    /// A path of ours as a process about to become a container sees it.
    pub(crate) fn as_seen(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.root) {
            Ok(inside) => self.seen_at.join(inside),
            Err(_) => path.to_owned(),
        }
    }

    /// Makes a container's folder, and gives the one for code inside it. Only
    /// `owner`, the container's user if it has its own, can enter: whoever
    /// else has an account on this host has no business with users' code.
    pub(crate) fn make_container(&self, number: u64, owner: Option<u32>) -> io::Result<PathBuf> {
        let folder = self.container(number);
        let action = folder.join("action");
        make_folder(&action)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        std::os::unix::fs::chown(&folder, owner, owner)?;
        Ok(action)
    }

    /// Makes a folder beside a container's code, for what was prepared.
    pub(crate) fn make_prepared(&self, number: u64) -> io::Result<PathBuf> {
        let folder = self.container(number).join("prepared");
        make_folder(&folder)?;
        Ok(folder)
    }

    /// Unpacked and compiled code, which is ours alone.
    pub(crate) fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// Removes containers' folders of a former life, and old launchers.
    pub(crate) fn sweep(&self) -> io::Result<()> {
        self.remove_containers()?;
        empty(&self.root.join("runtimes"), &self.runtimes)
    }

    /// Removes all containers' folders.
    pub(crate) fn remove_containers(&self) -> io::Result<()> {
        empty(&self.root.join("containers"), "")
    }
}

/// Removes what is in a folder, but for this. What others remove meanwhile is
/// removed as well.
fn empty(folder: &Path, kept: &str) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() == kept {
            continue;
        }
        match fs::remove_dir_all(entry.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Containers' users must be able to read what the server writes, whatever its
/// file mode creation mask.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_folder(parent)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made?,
    }
    fs::set_permissions(folder, Permissions::from_mode(0o755))
}

/// Copies what can be read of a folder, links as what they lead to.
fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    make_folder(to)?;
    for entry in fs::read_dir(from)?.flatten() {
        let (path, there) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() && !entry.file_type()?.is_symlink() {
            copy_folder(&path, &there)?;
        } else if let Ok(content) = fs::read(&path) {
            write(&there, &content, 0o644)?;
        }
    }
    Ok(())
}

/// Replaces a file as a whole, so that none is ever seen half written.
fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        make_folder(parent)?;
    }
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    fs::rename(fresh, path)
}

fn lock(root: &Path) -> io::Result<File> {
    let file = File::create(root.join("lock"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => {
            let text = format!("another server uses the folder {}", root.display());
            Err(io::Error::new(io::ErrorKind::ResourceBusy, text))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn code_is_for_its_containers_user_alone() {
        use std::os::unix::fs::MetadataExt;

        let outer = tempfile::tempdir().unwrap();
        let host = Host::prepare(&outer.path().join("sandbox"), None).unwrap();
        let root = rustix::process::geteuid().is_root();
        let action = host.make_container(7, root.then_some(2_000_007)).unwrap();
        let folder = fs::metadata(host.container(7)).unwrap();
        assert_eq!(folder.mode() & 0o777, 0o700);
        let owner = if root { 2_000_007 } else { rustix::process::geteuid().as_raw() };
        assert_eq!(folder.uid(), owner);
        assert_eq!(fs::metadata(action).unwrap().uid(), rustix::process::geteuid().as_raw(), "nobody writes but us");
    }
}
