//! What a doctor found, in the shape that machines read.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;
use whisker_sandbox_docker::KindImage;
use whisker_sandbox_process::{Runtime, Survey};

use super::docker::{Daemon, NoDaemon};

/// Everything.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The backend that the settings name.
    pub default: &'static str,
    /// Whether that one works.
    pub works: bool,
    pub host: Host,
    pub runtimes: Vec<Kind>,
    pub backends: BTreeMap<&'static str, Backend>,
    pub missing: Vec<Missing>,
}

/// What the host is and has.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// `root`, or an ordinary `user`.
    pub user: &'static str,
    pub kernel: String,
    pub processors: usize,
    pub namespaces: BTreeMap<&'static str, bool>,
    /// Whether an ordinary user may make user namespaces.
    pub user_namespaces: bool,
    pub cgroups: Vec<Tree>,
    pub seccomp: bool,
    pub kvm: bool,
    pub programs: BTreeMap<&'static str, Option<Program>>,
    pub docker: Option<Daemon>,
}

#[derive(Debug, Serialize)]
pub struct Tree {
    pub version: u8,
    pub mount: PathBuf,
    pub controllers: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Program {
    pub path: PathBuf,
    pub version: String,
}

/// A kind of action, as processes of this host run it.
#[derive(Debug, Serialize)]
pub struct Kind {
    pub kind: String,
    pub available: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<&'static str>,
}

/// A way to make containers.
#[derive(Debug, Serialize)]
pub struct Backend {
    pub works: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it sees to on this host, with these settings.
    pub enforces: Vec<Enforced>,
    /// Of Docker's daemon, if it answers: the kinds' images.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
}

/// The image of a kind.
#[derive(Debug, Serialize)]
pub struct Image {
    pub kind: String,
    pub image: String,
    pub available: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Enforced {
    pub what: &'static str,
    pub how: String,
}

/// Something to get.
#[derive(Debug, Serialize)]
pub struct Missing {
    pub what: String,
    pub why: String,
    pub get: String,
}

impl Host {
    pub fn of(survey: &Survey, daemon: Result<Daemon, NoDaemon>) -> Host {
        let tree = |tree: &whisker_sandbox_process::Tree| Tree {
            version: tree.version,
            mount: tree.mount.clone(),
            controllers: tree.controllers.clone(),
        };
        let program = |program: &whisker_sandbox_process::Program| {
            let found = program.found.clone().map(|(path, version)| Program { path, version });
            (program.name, found)
        };
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Host {
            user: if survey.root { "root" } else { "user" },
            kernel: kernel.trim().to_owned(),
            processors: crate::configure::processors(),
            namespaces: survey.namespaces.iter().copied().collect(),
            user_namespaces: survey.user_namespaces.is_ok(),
            cgroups: survey.cgroups.iter().map(tree).collect(),
            seccomp: survey.seccomp,
            kvm: survey.kvm,
            programs: survey.programs.iter().map(program).collect(),
            docker: daemon.ok(),
        }
    }
}

impl From<&KindImage> for Image {
    fn from(found: &KindImage) -> Image {
        let KindImage { kind, image, lacking } = found.clone();
        Image { kind, image, available: lacking.is_none(), reason: lacking }
    }
}

impl From<&Runtime> for Kind {
    fn from(runtime: &Runtime) -> Kind {
        let program = runtime.found.as_ref().ok().cloned().map(|(path, version)| Program { path, version });
        Kind {
            kind: runtime.kind.clone(),
            available: runtime.found.is_ok(),
            program,
            reason: runtime.found.as_ref().err().cloned(),
            package: runtime.package,
        }
    }
}
