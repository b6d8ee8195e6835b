//! What confines user code.

use std::{collections::BTreeSet, net::TcpListener, process::Command};

use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use whisker_firewall::Reach;
use whisker_sandbox::{Sandbox, testing::contract};
use whisker_sandbox_docker::{DockerSandbox, Guarded, Network};

use crate::common::{PATIENCE, PYTHON, config, docker, loaded, python, sandbox_with, start};

#[tokio::test]
async fn code_has_no_rights_and_its_limits() {
    let sandbox = sandbox_with(|_| {}).await;
    let code = r#"
import os, resource
def main(args):
    status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
    return {"root": os.getuid() == 0, "caps": status["CapEff"] + status["CapBnd"], "new": status["NoNewPrivs"],
            "seccomp": status["Seccomp"], "files": resource.getrlimit(resource.RLIMIT_NOFILE),
            "socket": os.path.exists("/var/run/docker.sock"), "root_folder": sorted(os.listdir("/"))[:1]}
"#;
    let none = "0".repeat(16);
    let seen = python(&sandbox, code).await;
    let expected = json!({ "root": false, "caps": none.repeat(2), "new": "1", "seccomp": "2", "files": [1024, 1024],
        "socket": false, "root_folder": seen["root_folder"] });
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn the_daemon_is_asked_for_every_limit() {
    let sandbox = sandbox_with(|config| config.dns = vec!["192.0.2.1".parse().unwrap()]).await;
    let container = sandbox.start(start(PYTHON, 256)).await.unwrap();
    let seen: Value = spawn_blocking(|| {
        let ids = docker().ask(&["ps", "-q", "--no-trunc"]);
        let inspected: Vec<Value> = ids
            .lines()
            .filter_map(|id| docker().client().args(["inspect", id]).output().ok())
            .filter_map(|output| serde_json::from_slice::<Value>(&output.stdout).ok())
            .map(|mut seen| seen[0].take())
            .collect();
        inspected.into_iter().find(|seen| seen["HostConfig"]["Dns"] == json!(["192.0.2.1"])).unwrap()
    })
    .await
    .unwrap();
    let host = &seen["HostConfig"];
    for (name, expected) in [
        ("Memory", json!(256 << 20)),
        ("MemorySwap", json!(256 << 20)),
        ("CpuShares", json!(256)),
        ("PidsLimit", json!(1024)),
        ("CapDrop", json!(["ALL"])),
        ("SecurityOpt", json!(["no-new-privileges"])),
        ("ReadonlyRootfs", json!(true)),
        ("Privileged", json!(false)),
        ("PidMode", json!("")),
    ] {
        assert_eq!(host[name], expected, "{name}");
    }
    assert_eq!(host["LogConfig"]["Type"], "none");
    container.destroy().await;
}

#[tokio::test]
async fn ways_out_are_closed() {
    let sandbox = sandbox_with(|_| {}).await;
    let code = r#"
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def tried(call):
    return "done" if call() >= 0 else errno.errorcode[ctypes.get_errno()]
def main(args):
    return {
        "mount": tried(lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)),
        "users": tried(lambda: libc.unshare(0x10000000)),
        "bpf": tried(lambda: libc.syscall(321, 0, None, 0)),
        "keyctl": tried(lambda: libc.syscall(250, 0, 0)),
    }
"#;
    let refused = "EPERM";
    let expected = json!({ "mount": refused, "users": refused, "bpf": refused, "keyctl": refused });
    assert_eq!(python(&sandbox, code).await, expected);
}

#[tokio::test]
async fn nothing_but_a_folder_for_passing_things_can_be_written() {
    let sandbox = sandbox_with(|_| {}).await;
    let code = r#"
import errno
def tried(path):
    try:
        open(path, "w").close()
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]
def main(args):
    return {path: tried(path) for path in ("/etc/passwd", "/usr/bin/x", "/runtimes/x", "/proc/sys/kernel/hostname", "/tmp/x")}
"#;
    let seen = python(&sandbox, code).await;
    let read_only = "EROFS";
    let expected = json!({ "/etc/passwd": read_only, "/usr/bin/x": read_only, "/runtimes/x": read_only,
        "/proc/sys/kernel/hostname": read_only, "/tmp/x": "done" });
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn no_key_is_in_the_environment() {
    let sandbox = sandbox_with(|config| {
        config.environment = [("__OW_API_HOST".to_owned(), "http://api".to_owned())].into();
    })
    .await;
    let code = "import os\ndef main(args):\n    texts = [open(f'/proc/{p}/environ').read() for p in os.listdir('/proc') if p.isdigit()]\n    \
                return {'host': all('__OW_API_HOST=http://api' in t for t in texts), 'keys': sum('API_KEY' in t for t in texts)}\n";
    assert_eq!(python(&sandbox, code).await, json!({ "host": true, "keys": 0 }));
}

/// Tries to connect, and says what came of it.
const KNOCKS: &str = r#"
import socket
def main(args):
    def tried(address):
        try:
            socket.create_connection((address[0], address[1]), 1).close()
            return "reached"
        except OSError as error:
            return type(error).__name__
    return {":".join(map(str, address)): tried(address) for address in args["addresses"]}
"#;

/// Neither what listens on this host, a database and a queue among it, nor
/// another action, nor metadata, nor a database elsewhere.
#[tokio::test]
async fn neither_host_nor_neighbours_nor_metadata_are_within_reach() {
    for outside in [true, false] {
        let mut config = spawn_blocking(config).await.unwrap();
        config.network = Network::Guarded(Guarded {
            outside,
            reach: Reach { denied: vec!["198.51.100.0/24".into()], ..Reach::default() },
        });
        let filter = format!("label=whisker.instance={}", config.instance);
        let sandbox = DockerSandbox::connect(config).await.unwrap();
        // One for all, one for this host alone.
        let services = [TcpListener::bind("0.0.0.0:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
        let ports = services.each_ref().map(|service| service.local_addr().unwrap().port());
        let neighbour = loaded(&sandbox, PYTHON, 128, KNOCKS).await;
        let container = loaded(&sandbox, PYTHON, 128, KNOCKS).await;
        let seen = spawn_blocking(move || {
            let ids = docker().ask(&["ps", "-q", "--filter", &filter]);
            let ids: Vec<&str> = ids.lines().collect();
            let format = "{{range .NetworkSettings.Networks}}{{.Gateway}} {{.IPAddress}}{{end}}";
            docker().ask(&[&["inspect", "-f", format], ids.as_slice()].concat())
        });
        let seen = seen.await.unwrap();
        assert_eq!(seen.lines().count(), 2, "{seen}");
        let gateways = seen.lines().filter_map(|line| line.split(' ').next().map(str::to_owned));
        let hosts: BTreeSet<String> = gateways.chain(host_addresses()).chain(["127.0.0.1".to_owned()]).collect();
        let mut targets = vec![json!(["169.254.169.254", 80]), json!(["198.51.100.1", 5432])];
        targets.extend(hosts.iter().flat_map(|host| ports.map(|port| json!([host, port]))));
        targets.extend(seen.lines().filter_map(|line| Some(json!([line.split(' ').nth(1)?, 8080]))));
        let end = container.run(contract::run(2, &json!({ "addresses": targets })), PATIENCE).await;
        let seen = contract::answer(end);
        let reached: Vec<_> = seen.as_object().unwrap().iter().filter(|(_, said)| *said == "reached").collect();
        // Itself, and nobody else.
        assert_eq!(reached.len(), 1, "outside {outside}: {seen}");
        assert!(reached[0].0.ends_with(":8080"), "{seen}");
        container.destroy().await;
        neighbour.destroy().await;
    }
}

/// This host's own addresses.
fn host_addresses() -> Vec<String> {
    let output = Command::new("ip").args(["-4", "-o", "addr"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let addresses = text.lines().filter_map(|line| line.split_whitespace().nth(3)?.split('/').next());
    addresses.map(str::to_owned).collect()
}
