//! `whisker doctor`: what this host offers for containers, what each backend
//! would enforce here with these settings, what is missing and how to get it.
//!
//! The sandbox is tried as a start of the server would try it, in a folder of
//! its own, so beside a server that runs. Docker's daemon is asked for its version
//! and for the kinds' images; where the settings name it, what a start makes there
//! is made, under a name of its own, and removed. Nothing is decided here: whether a
//! host will do is the backends' own answer.

mod docker;
mod report;
mod table;

use std::{fs, io::Write};

use anyhow::Context;
use report::{Backend, Enforced, Host, Missing, Report};
use whisker_sandbox_docker::{DockerSandbox, KindImage};
use whisker_sandbox_process::{Config, ProcessSandbox, Survey, Unavailable};

use crate::{
    callback::Callback,
    configure,
    off_limits::OffLimits,
    settings::{Containers, Doctor, Network, Serve},
};

/// Where it is looked whether the host forwards packets.
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// What containers reach, by what the settings say of it.
const OUTSIDE: &str =
    "nat: the outside and the API; nothing else of this host, no link-local address, no other container";
const NOTHING: &str = "none: nothing";
const EVERYTHING: &str = "host: ALL that this host reaches, its own services included";
/// How Docker's containers are kept to it.
const BY_RULES: &str = "by nftables rules for a bridge of the server's own";

/// Looks, tells, and answers whether the backend that the settings name works.
pub fn run(settings: &Doctor) -> anyhow::Result<bool> {
    let report = look(&settings.serve)?;
    let text = if settings.json {
        serde_json::to_string_pretty(&report).context("a report is JSON")? + "\n"
    } else {
        table::of(&report)
    };
    // Whoever reads the beginning only, as `head` does, has had enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(report.works)
}

fn look(settings: &Serve) -> anyhow::Result<Report> {
    let survey = Survey::take();
    let folder = tempfile::Builder::new().prefix("whisker-doctor-").tempdir().context("cannot make a folder")?;
    let callback = Callback::here(settings, ([127, 0, 0, 1], settings.port).into()).look_up();
    let reach = callback.reach(OffLimits::of(settings).look_up());
    let tried = try_sandbox(configure::sandbox(settings, folder.path(), &callback, reach.clone()));
    let daemon = docker::ask(&settings.docker.docker_host);
    let asked = match daemon {
        Ok(_) => {
            let config = crate::docker::config(settings, folder.path(), &callback, reach, 0);
            ask_docker(config, settings.containers)?
        }
        Err(_) => Ok(Vec::new()),
    };
    let (images, refused) = match asked {
        Ok(images) => (images, None),
        Err(error) => (Vec::new(), Some(error)),
    };

    let sandbox = Backend {
        works: tried.is_ok(),
        reason: tried.as_ref().err().map(|error| words(error)),
        enforces: of_sandbox(settings, &survey),
        images: Vec::new(),
    };
    let docker = Backend {
        works: daemon.is_ok() && refused.is_none(),
        reason: daemon.as_ref().err().map(ToString::to_string).or_else(|| refused.as_ref().map(|error| words(error))),
        enforces: of_docker(settings),
        images: images.iter().map(Into::into).collect(),
    };
    let missing = missing(settings, &survey, tried.err().as_ref(), daemon.is_ok());
    let (default, works) = match settings.containers {
        Containers::Sandbox => ("sandbox", sandbox.works),
        Containers::Docker => ("docker", docker.works),
    };
    Ok(Report {
        default,
        works,
        host: Host::of(&survey, daemon),
        runtimes: survey.runtimes.iter().map(Into::into).collect(),
        backends: [("sandbox", sandbox), ("docker", docker)].into(),
        missing,
    })
}

/// Makes a sandbox and takes it apart again.
fn try_sandbox(config: Config) -> Result<(), Unavailable> {
    // A server leaves forwarding on, since others may rely on it. Nobody has
    // come to rely on a doctor.
    let forwards = fs::read_to_string(FORWARD);
    let tried = ProcessSandbox::new(config).map(drop);
    if forwards.is_ok_and(|forwards| forwards.trim() == "0") {
        // It was set a moment ago, if at all, so it can be set back.
        let _ = fs::write(FORWARD, "0");
    }
    tried
}

/// Asks the daemon for the kinds' images. If it is what the settings name, connects
/// first and sets what keeps containers from this host, as a start of the server
/// would, and removes that again.
fn ask_docker(
    config: whisker_sandbox_docker::Config,
    chosen: Containers,
) -> anyhow::Result<Result<Vec<KindImage>, whisker_sandbox_docker::Unavailable>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async {
        if chosen == Containers::Docker {
            DockerSandbox::connect(config.clone()).await?.take_apart().await;
        }
        whisker_sandbox_docker::look_for_images(&config).await
    }))
}

/// An error with what is behind it, on one line.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some say what is behind them themselves.
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn of_sandbox(settings: &Serve, survey: &Survey) -> Vec<Enforced> {
    let enforced = |what, how: String| Enforced { what, how };
    if settings.insecure_no_sandbox {
        return vec![enforced("isolation", "NONE, as --insecure-no-sandbox says".to_owned())];
    }
    let user = if survey.root {
        "a host user of its own for each container"
    } else {
        "the server's own user on the host, another one inside"
    };
    let network = match settings.network {
        Network::Nat => OUTSIDE,
        Network::None => NOTHING,
        Network::Host => EVERYTHING,
    };
    let trees: Vec<String> = ["memory", "cpu", "pids"]
        .into_iter()
        .filter_map(|name| {
            let tree = survey.cgroups.iter().find(|tree| tree.controllers.iter().any(|held| held == name))?;
            Some(format!("{name} v{}", tree.version))
        })
        .collect();
    vec![
        enforced("user", user.to_owned()),
        enforced("files", "read-only root, /tmp of its own in memory, nothing of /home, /root, /var".to_owned()),
        enforced("processes", "sees its own only; ends with its container, and that with the server".to_owned()),
        enforced(
            "limits",
            format!("memory with swap, CPU share, number of processes, by cgroups ({})", trees.join(", ")),
        ),
        enforced("system calls", "seccomp filter, no capability, no_new_privs, no further namespaces".to_owned()),
        enforced("network", network.to_owned()),
    ]
}

fn of_docker(settings: &Serve) -> Vec<Enforced> {
    let enforced = |what, how: &str| Enforced { what, how: how.to_owned() };
    let network = match (&settings.docker.docker_network, settings.network) {
        (Some(name), _) => format!("{name}: a network of yours, as it is"),
        (None, Network::Nat) => format!("{OUTSIDE}, {BY_RULES}"),
        (None, Network::None) => format!("{NOTHING}, {BY_RULES}"),
        (None, Network::Host) => EVERYTHING.to_owned(),
    };
    let disk = match settings.docker.docker_disk {
        Some(size) => format!("{} MB in foreign images, if the daemon's storage has quotas", size.megabytes()),
        None => "NOT limited in foreign images: see --docker-disk; ours write to memory".to_owned(),
    };
    vec![
        enforced("files", "the image, in a layer of its own; nothing of this host"),
        enforced("disk", &disk),
        enforced("limits", "memory, CPU share, number of processes and of open files, by the daemon's cgroups"),
        enforced("system calls", "the daemon's seccomp profile, dropped capabilities, no_new_privs"),
        enforced("network", &network),
    ]
}

/// What to get, the most needed first.
fn missing(settings: &Serve, survey: &Survey, refused: Option<&Unavailable>, daemon: bool) -> Vec<Missing> {
    let mut missing: Vec<Missing> = Vec::new();
    let mut add = |what: &str, why: &str, get: &str| {
        missing.push(Missing { what: what.to_owned(), why: why.to_owned(), get: get.to_owned() });
    };
    for program in survey.programs.iter().filter(|program| program.found.is_none()) {
        let needed = program.name == "bwrap" || settings.network == Network::Nat;
        if needed && !settings.insecure_no_sandbox {
            add(program.name, "the sandbox takes it", &format!("apt install {}", program.package));
        }
    }
    if let Some(refused) = refused
        && !matches!(refused, Unavailable::Bubblewrap | Unavailable::NatNeeds(_))
    {
        add("sandbox", "containers cannot be made", &words(refused));
    }
    if let Err(reason) = &survey.user_namespaces
        && !survey.root
    {
        add("user namespaces", reason, "allow them with sysctl, or run the server as root");
    }
    if !daemon {
        add("docker", "--containers docker and images of users take its daemon", "apt install docker.io");
    }
    for runtime in &survey.runtimes {
        if let (Err(reason), Some(package)) = (&runtime.found, runtime.package) {
            add(&runtime.kind, reason, &format!("apt install {package}"));
        }
    }
    missing
}
