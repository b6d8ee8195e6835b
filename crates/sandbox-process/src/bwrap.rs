//! The command line of bubblewrap: what a container sees of the world.
//!
//! bubblewrap makes the user, mount, PID, IPC, UTS and cgroup namespaces, puts
//! the root together, drops every capability, sets `no_new_privs`, loads the
//! seccomp filters, and stays as the container's first process, which reaps.
//! Why it and no OCI runtime: it starts in 4 ms where `runc` takes 18 (and
//! `crun` refuses hosts with both cgroup versions), it needs neither root nor
//! an image, and it has been guarding desktops against their own programs for
//! years. Why not our own calls: they would be the same, and ours to get wrong.

use std::{
    ffi::{CString, NulError, OsStr},
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// Descriptors at which bubblewrap finds the seccomp filters.
pub(crate) const SECCOMP_DESCRIPTORS: [i32; 2] = [4, 5];

/// The user inside; outside it is another, see [`crate::Config::first_user`].
const INNER_USER: &str = "1000";

/// What differs between containers.
pub(crate) struct View<'a> {
    /// Prepared `/etc`.
    pub etc: PathBuf,
    /// Launchers.
    pub runtimes: PathBuf,
    /// The action's code.
    pub action: PathBuf,
    /// What was made of the launcher, or for a compiler, if anything was.
    pub prepared: Option<PathBuf>,
    /// Modules for everybody, if the operator has brought any.
    pub modules: Option<PathBuf>,
    /// Host folders to show besides, each at its own place.
    pub read_only: &'a [PathBuf],
    /// Size of `/tmp` and of shared memory.
    pub tmp_bytes: u64,
    /// Make an empty network namespace, rather than keep the one entered.
    pub unshare_network: bool,
    /// What to run, and its arguments.
    pub command: &'a [String],
}

/// The arguments, the program's own name first.
pub(crate) fn arguments(view: &View<'_>) -> Result<Vec<CString>, NulError> {
    let mut line = Line(Vec::with_capacity(100));
    line.words(["bwrap", "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup"])?;
    if view.unshare_network {
        line.words(["--unshare-net"])?;
    }
    line.words(["--uid", INNER_USER, "--gid", INNER_USER, "--hostname", "action"])?;
    line.words(["--die-with-parent", "--new-session"])?;

    line.mount("--ro-bind", "/usr", "/usr")?;
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        let path = Path::new("/").join(name);
        match fs::read_link(&path) {
            Ok(target) => line.mount("--symlink", &target, &path)?,
            Err(_) if path.is_dir() => line.mount("--ro-bind", &path, &path)?,
            Err(_) => {}
        }
    }
    line.mount("--ro-bind", &view.etc, "/etc")?;
    for shared in crate::host::SHARED_ETC {
        line.mount("--ro-bind-try", shared, shared)?;
    }
    for folder in view.read_only {
        line.mount("--ro-bind", folder, folder)?;
    }
    if let Some(modules) = &view.modules {
        line.mount("--ro-bind", modules, "/modules")?;
    }
    line.mount("--ro-bind", &view.runtimes, "/runtimes")?;
    line.mount("--ro-bind", &view.action, "/action")?;
    if let Some(prepared) = &view.prepared {
        line.mount("--ro-bind", prepared, "/prepared")?;
    }

    let size = view.tmp_bytes.to_string();
    line.words(["--proc", "/proc", "--dev", "/dev"])?;
    line.words(["--size", &size, "--perms", "1777", "--tmpfs", "/dev/shm", "--remount-ro", "/dev"])?;
    line.words(["--size", &size, "--perms", "1777", "--tmpfs", "/tmp"])?;
    line.words(["--dir", "/var", "--symlink", "/tmp", "/var/tmp", "--remount-ro", "/"])?;
    line.words(["--chdir", "/tmp"])?;
    for descriptor in SECCOMP_DESCRIPTORS {
        line.words(["--add-seccomp-fd", &descriptor.to_string()])?;
    }
    line.words(["--"])?;
    for word in view.command {
        line.words([word.as_str()])?;
    }
    Ok(line.0)
}

struct Line(Vec<CString>);

impl Line {
    fn words<const N: usize>(&mut self, words: [&str; N]) -> Result<(), NulError> {
        for word in words {
            self.0.push(CString::new(word)?);
        }
        Ok(())
    }

    fn mount(&mut self, option: &str, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> Result<(), NulError> {
        self.0.push(CString::new(option)?);
        self.0.push(CString::new(from.as_ref().as_bytes())?);
        self.0.push(CString::new(to.as_ref().as_bytes())?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn nothing_of_the_host_can_be_written() {
        let view = View {
            etc: "/state/etc".into(),
            runtimes: "/state/runtimes/1".into(),
            action: "/state/containers/1/action".into(),
            prepared: Some("/state/containers/1/prepared".into()),
            modules: Some("/state/modules".into()),
            read_only: &["/opt/node".into()],
            tmp_bytes: 1 << 20,
            unshare_network: true,
            command: &["/usr/bin/node".to_owned(), "/runtimes/nodejs/launcher.js".to_owned()],
        };
        let line = arguments(&view).unwrap();
        let words: Vec<&str> = line.iter().map(|word| word.to_str().unwrap()).collect();
        assert!(!words.iter().any(|word| ["--bind", "--dev-bind", "--bind-try"].contains(word)));
        assert!(words.contains(&"--unshare-net"));
        let command = words.iter().position(|word| *word == "--").unwrap();
        assert_eq!(words[command + 1..], ["/usr/bin/node", "/runtimes/nodejs/launcher.js"]);
    }
}
