//! Far more actions than there is memory for containers: containers are made,
//! frozen, thawed and removed all the time, every run gets its answer, and at
//! the end nothing is left of them. Needs root, for the network.
//!
//! `WHISKER_STORM_INVOCATIONS=10000` has it take longer.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;
use whisker_dice::Dice;
use whisker_testkit::{Client, Server, eventually};

const ACTIONS: usize = 200;
/// More than there are containers, so that some wait for memory at any time.
const CALLERS: usize = 24;
/// That fit into memory.
const CONTAINERS: usize = 20;
/// Of each.
const MEMORY_MB: usize = 128;
/// Spare network namespaces that a server keeps for containers to come, at most.
const SPARE_NETWORKS: usize = 64;

/// Containers without a runtime that are kept ready, and the processes of each:
/// bubblewrap's two and a shell.
const SPARES: usize = 2;
const SPARE_PROCESSES: usize = 3;

/// Longest wait for quiet after the storm.
const QUIET: Duration = Duration::from_secs(60);

#[test]
fn two_hundred_actions_share_the_memory_of_twenty_containers_and_leave_nothing() {
    let invocations = std::env::var("WHISKER_STORM_INVOCATIONS").map_or(2000, |text| text.parse().expect("a number"));
    let parent = format!("whisker-storm-{}", std::process::id());
    let server = Server::builder()
        .flag("--network", "nat")
        .flag("--cgroup-parent", &parent)
        .flag("--container-memory", &format!("{} MB", CONTAINERS * MEMORY_MB))
        .flag("--pause-grace", "200ms")
        .flag("--keep-warm", "3s")
        .flag("--spare-containers", &SPARES.to_string())
        .switch("--no-prewarm")
        .start();
    let host = Host::new(&server, parent);
    let guest = server.guest();
    for number in 0..ACTIONS {
        guest.action(&name(number), &action(number));
    }
    // Once through everything, so that what is made only once is there.
    call(&guest, 0, 0);
    call(&guest, 1, 0);
    quiet(&guest, &host);
    let before = descriptors(&server);
    let mounts = host.mounts(&server);
    let records = records(&guest);

    let began = Instant::now();
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            // A client of its own, whose connection ends with it.
            let client = server.guest();
            scope.spawn(move || {
                let mut dice = Dice(caller as u64);
                for n in (caller..invocations).step_by(CALLERS) {
                    call(&client, any_action(&mut dice), n);
                }
            });
        }
    });
    eprintln!("{invocations} invocations took {:?}: {}", began.elapsed(), starts(&guest));

    quiet(&guest, &host);
    eventually(QUIET, || {
        let after = descriptors(&server);
        let grown: Vec<_> =
            after.iter().filter(|(kind, count)| **count > before.get(*kind).unwrap_or(&0) + slack(kind)).collect();
        if grown.is_empty() { Ok(()) } else { Err(format!("{grown:?} beyond {before:?}")) }
    });
    assert_eq!(host.mounts(&server), mounts, "mounts in the server's own namespace");
    assert!(host.cables() <= SPARE_NETWORKS, "{} cables", host.cables());
    eventually(QUIET, || match self::records(&guest) {
        count if count == records + invocations as u64 => Ok(()),
        count => Err(format!("{count} records of {}", records + invocations as u64)),
    });

    let stopped = server.stop();
    assert!(stopped.status.success(), "{}", stopped.output);
    assert_eq!(host.processes(), 0, "processes");
    assert_eq!(host.groups(), Vec::<PathBuf>::new(), "cgroups");
    assert_eq!(host.folders(), 0, "folders of containers");
    assert!(!host.tables().contains(&host.instance), "packet filter rules:\n{}", host.tables());
    // The kernel takes namespaces apart when it finds the time.
    eventually(QUIET, || match host.cables() {
        0 => Ok(()),
        left => Err(format!("{left} cables")),
    });
}

fn name(number: usize) -> String {
    format!("storm-{number}")
}

/// One in ten is JavaScript, whose start takes longest. Each leaves something
/// open and something written.
fn action(number: usize) -> serde_json::Value {
    let (kind, code) = if number % 10 == 1 {
        let code = "const fs = require('fs'); const net = require('net'); const server = net.createServer().listen(0);
            function main(args) { console.log('run', args.n); fs.appendFileSync('/tmp/runs', 'x');
            return { action: ACTION, n: args.n }; }";
        ("nodejs:20", code)
    } else {
        let code = "import socket\nkept = socket.create_server(('127.0.0.1', 0))\n\
            def main(args):\n    print('run', args['n'])\n    open('/tmp/runs', 'a').write('x')\n    \
            return {'action': ACTION, 'n': args['n']}\n";
        ("python:3.11", code)
    };
    let code = code.replace("ACTION", &number.to_string());
    json!({"exec": {"kind": kind, "code": code}, "limits": {"memory": MEMORY_MB}})
}

#[track_caller]
fn call(client: &Client, action: usize, n: usize) {
    let answer = client.result(&name(action), &json!({"n": n}));
    assert_eq!(answer, json!({"action": action, "n": n}));
}

/// Which action is called next: some often, most of them now and then.
fn any_action(dice: &mut Dice) -> usize {
    (dice.uniform().powi(3) * ACTIONS as f64) as usize
}

/// Waits until every container is gone, but for the spare ones.
#[track_caller]
fn quiet(client: &Client, host: &Host) {
    eventually(QUIET, || {
        let metrics = client.get("/metrics").text();
        let left = metrics.lines().find_map(|line| line.strip_prefix("invoker_containers ")).map(str::to_owned);
        let left = left.unwrap_or_else(|| "unknown".to_owned());
        let (processes, folders) = (host.processes(), host.folders());
        let groups = host
            .groups()
            .iter()
            .filter(|group| group.parent().is_some_and(|above| above.ends_with(&host.instance)))
            .count();
        let trees = host.groups().iter().filter(|group| group.ends_with(&host.instance)).count();
        let spare = (SPARES * SPARE_PROCESSES * trees, SPARES, SPARES * trees);
        match (left.as_str(), (processes, folders, groups)) {
            ("0", seen) if seen == spare => Ok(()),
            seen => Err(format!("containers; processes, folders, cgroups: {seen:?}, and not {spare:?}")),
        }
    });
}

/// What became of containers, as the server counts it.
fn starts(client: &Client) -> String {
    let metrics = client.get("/metrics").text();
    let lines = metrics.lines().filter(|line| line.starts_with("invoker_container_start_total"));
    lines.collect::<Vec<_>>().join(", ")
}

fn records(client: &Client) -> u64 {
    client.get("activations?count=true").expect(200)["activations"].as_u64().expect("a number")
}

/// The server's open files by what they are: `pipe`, `socket`, `file` and so on.
fn descriptors(server: &Server) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it runs").flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let target = target.to_string_lossy().into_owned();
        let kind = match target.split_once(":[") {
            Some((kind, _)) if kind != "anon_inode" => kind.to_owned(),
            _ if target.starts_with('/') => "file".to_owned(),
            _ => target,
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// How many more of a kind there may be than before.
fn slack(kind: &str) -> usize {
    match kind {
        // Of spare networks.
        "net" => SPARE_NETWORKS,
        // The store opens a connection for each reader, journals a segment.
        "file" => 16,
        // The looking itself.
        "socket" => 1,
        _ => 0,
    }
}

/// Where containers leave traces.
struct Host {
    parent: String,
    containers: PathBuf,
    /// What its network interfaces and rules are called by.
    instance: String,
}

impl Host {
    fn new(server: &Server, parent: String) -> Host {
        let sandbox = server.data_dir().join("sandbox");
        // Made by a start, a moment after it says that it listens.
        let sandbox = eventually(QUIET, || sandbox.canonicalize().map_err(|error| error.to_string()));
        let instance = eventually(QUIET, || {
            let groups = groups_below(&parent);
            let instances = groups.iter().filter(|group| group.parent().is_some_and(|above| above.ends_with(&parent)));
            let mut names = instances.filter_map(|group| Some(group.file_name()?.to_str()?.to_owned()));
            names.next_back().ok_or_else(|| format!("{groups:?}"))
        });
        Host { parent, containers: sandbox.join("containers"), instance }
    }

    fn groups(&self) -> Vec<PathBuf> {
        groups_below(&self.parent)
    }

    fn processes(&self) -> usize {
        let lists =
            self.groups().into_iter().map(|group| fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default());
        lists.map(|list| list.lines().count()).sum()
    }

    /// Containers' folders that are left.
    fn folders(&self) -> usize {
        fs::read_dir(&self.containers).into_iter().flatten().count()
    }

    /// Mounts of the sandbox's files, as the server sees them.
    fn mounts(&self, server: &Server) -> usize {
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", server.pid())).expect("it runs");
        let folder = self.containers.parent().expect("it is in the sandbox's").to_string_lossy().into_owned();
        mounts.lines().filter(|line| line.contains(&folder)).count()
    }

    /// Network interfaces of ours.
    fn cables(&self) -> usize {
        let prefix = format!("w{}-", self.instance);
        let names = fs::read_dir("/sys/class/net").expect("interfaces").flatten();
        names.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)).count()
    }

    /// Tables of the packet filter, of all servers.
    fn tables(&self) -> String {
        let output = Command::new("nft").args(["list", "tables"]).output().expect("nft runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// All cgroups below a parent, itself included, in all trees.
fn groups_below(parent: &str) -> Vec<PathBuf> {
    fn below(group: &Path, found: &mut Vec<PathBuf>) {
        let entries = fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.is_dir()).for_each(|path| below(&path, found));
        found.push(group.to_owned());
    }
    let root = Path::new("/sys/fs/cgroup");
    let trees = fs::read_dir(root).expect("cgroups").flatten().map(|entry| entry.path()).chain([root.to_owned()]);
    let mut found = Vec::new();
    for group in trees.map(|tree| tree.join(parent)).filter(|group| group.is_dir()) {
        below(&group, &mut found);
    }
    found
}
