//! What this host offers for containers, part by part: for whoever asks before
//! a server is started, and for whoever was just refused one.
//!
//! It only looks. Whether the parts work together is tried by making a
//! [`ProcessSandbox`](crate::ProcessSandbox), with the same probes.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    catalog::{Catalog, MANIFEST},
    cgroup::{Hierarchies, Version},
    unavailable::find_program,
};

/// Kinds of namespaces that a container gets, by their names in `/proc`.
const NAMESPACES: [&str; 7] = ["user", "mnt", "pid", "ipc", "uts", "cgroup", "net"];

/// Programs that the sandbox takes, how each tells its version, and Debian's
/// package of it.
const PROGRAMS: [(&str, &str, &str); 3] =
    [("bwrap", "--version", "bubblewrap"), ("ip", "-V", "iproute2"), ("nft", "--version", "nftables")];

/// Debian's packages of interpreters and toolchains, by the beginning of the
/// program's name.
const PACKAGES: [(&str, &str); 9] = [
    ("node", "nodejs"),
    ("python", "python3"),
    ("php", "php-cli"),
    ("ruby", "ruby"),
    ("go", "golang-go"),
    ("java", "default-jdk-headless"),
    ("rustc", "rustc"),
    ("cargo", "cargo"),
    ("bash", "bash"),
];

/// This host, as far as containers depend on it.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Whether this process is root's.
    pub root: bool,
    /// Kinds of namespaces, and whether the kernel has them.
    pub namespaces: Vec<(&'static str, bool)>,
    /// Whether an ordinary user may make user namespaces, which root needs
    /// nobody's leave for; what stands in the way otherwise.
    pub user_namespaces: Result<(), String>,
    /// Mounted cgroup trees.
    pub cgroups: Vec<Tree>,
    /// Whether the kernel filters system calls.
    pub seccomp: bool,
    /// Whether `/dev/kvm` can be opened. Nothing here uses it.
    pub kvm: bool,
    /// Programs that the sandbox takes.
    pub programs: Vec<Program>,
    /// Every kind of the manifest.
    pub runtimes: Vec<Runtime>,
}

/// A mounted cgroup tree.
#[derive(Debug, Clone)]
pub struct Tree {
    /// 1 or 2.
    pub version: u8,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// The controllers in it.
    pub controllers: Vec<String>,
}

/// A program of the host.
#[derive(Debug, Clone)]
pub struct Program {
    /// What it is called.
    pub name: &'static str,
    /// Where it is, and what it says of its version.
    pub found: Option<(PathBuf, String)>,
    /// Debian's package of it.
    pub package: &'static str,
}

/// A kind of action on this host.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// The kind.
    pub kind: String,
    /// What runs or compiles it, with its version; or why it cannot be run, or
    /// not from source.
    pub found: Result<(PathBuf, String), String>,
    /// Debian's package of what is missing, where there is one.
    pub package: Option<&'static str>,
}

impl Survey {
    /// Looks at this host. Runs programs to see their versions: blocks.
    pub fn take() -> Survey {
        let has = |kind: &str| Path::new("/proc/self/ns").join(kind).exists();
        Survey {
            root: rustix::process::geteuid().is_root(),
            namespaces: NAMESPACES.map(|kind| (kind, has(kind))).into(),
            user_namespaces: user_namespaces(),
            cgroups: trees(),
            seccomp: read("/proc/sys/kernel/seccomp/actions_avail").is_some_and(|actions| actions.contains("errno")),
            kvm: fs::File::options().read(true).write(true).open("/dev/kvm").is_ok(),
            programs: PROGRAMS.map(program).into(),
            runtimes: runtimes(),
        }
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// By the settings of the kernel and of its distributions. That of Ubuntu
/// allows programs with a profile of their own, so it is a warning only.
fn user_namespaces() -> Result<(), String> {
    for (path, refused) in [
        ("/proc/sys/user/max_user_namespaces", "0"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
    ] {
        if read(path).as_deref() == Some(refused) {
            let name = path.trim_start_matches("/proc/sys/").replace('/', ".");
            return Err(format!("{name} is {refused}"));
        }
    }
    Ok(())
}

fn trees() -> Vec<Tree> {
    let found = Hierarchies::discover().unwrap_or_default();
    // Of version 1 they are among the options of the mount.
    let is_controller = |name: &&String| !matches!(name.as_str(), "rw" | "ro") && !name.contains('=');
    let tree = |tree: &crate::cgroup::Hierarchy| Tree {
        version: if tree.version == Version::V1 { 1 } else { 2 },
        mount: tree.mount.clone(),
        controllers: tree.controllers.iter().filter(is_controller).cloned().collect(),
    };
    found.iter().map(tree).collect()
}

fn program((name, argument, package): (&'static str, &'static str, &'static str)) -> Program {
    Program { name, found: find_program(name).map(|path| (path.clone(), version(&path, [argument]))), package }
}

fn runtimes() -> Vec<Runtime> {
    let Ok(catalog) = Catalog::read(MANIFEST) else { return Vec::new() };
    let look = |kind: &str| {
        let (candidates, arguments) = catalog.asked(kind);
        let package = candidates.iter().find_map(|path| package_of(path));
        let found = catalog.launch(kind).and_then(|launch| {
            let program = match launch.compile {
                Some(recipe) => recipe?.program,
                None => launch.command.into_iter().next().unwrap_or_default(),
            };
            let program = PathBuf::from(program);
            let version = if arguments.is_empty() { String::new() } else { version(&program, arguments) };
            Ok((program, version))
        });
        Runtime { kind: kind.to_owned(), package: package.filter(|_| found.is_err()), found }
    };
    catalog.kinds().map(look).collect()
}

fn package_of(program: &str) -> Option<&'static str> {
    let name = Path::new(program).file_name()?.to_str()?;
    PACKAGES.iter().find(|(beginning, _)| name.starts_with(beginning)).map(|(_, package)| *package)
}

/// The first line that a program says of its version, on either stream.
fn version(program: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
    let said = match Command::new(program).args(arguments).output() {
        Ok(output) => [output.stdout, output.stderr].concat(),
        Err(error) => error.to_string().into_bytes(),
    };
    String::from_utf8_lossy(&said).lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_interpreter_has_its_package() {
        for (program, package) in [
            ("/usr/bin/node", Some("nodejs")),
            ("/usr/local/bin/python3.10", Some("python3")),
            ("/opt/swift/bin/swift", None),
        ] {
            assert_eq!(package_of(program), package, "{program}");
        }
    }

    #[test]
    fn every_kind_of_the_manifest_is_looked_for() {
        let survey = Survey::take();
        assert!(survey.runtimes.iter().any(|runtime| runtime.kind == "nodejs:20"));
        assert!(survey.namespaces.iter().all(|(_, offered)| *offered), "{:?}", survey.namespaces);
        let bwrap = survey.programs.iter().find(|program| program.name == "bwrap");
        assert!(
            bwrap.and_then(|bwrap| bwrap.found.as_ref()).is_some_and(|(_, version)| version.contains("bubblewrap"))
        );
    }
}
