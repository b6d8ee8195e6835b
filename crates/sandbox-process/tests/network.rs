//! What user code reaches under each network policy. Needs root.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    net::{Ipv4Addr, TcpListener, UdpSocket},
    process::Command,
    time::Instant,
};

use common::{python, sandbox_with};
use serde_json::json;
use sha2::{Digest, Sha256};
use whisker_firewall::Reach;
use whisker_sandbox_process::{Nat, Network};

/// The address by which this host reaches the outside.
fn own_address() -> Ipv4Addr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").unwrap();
    match socket.local_addr().unwrap().ip() {
        std::net::IpAddr::V4(address) => address,
        other => panic!("{other}"),
    }
}

/// Python that says, for each address, what a connection to it came to.
fn connects(addresses: &[(String, u16)]) -> String {
    format!(
        "import socket\ndef main(args):\n    out = {{}}\n    for host, port in {}:\n        try:\n            \
         socket.create_connection((host, port), timeout=2).close()\n            out[host] = 'reached'\n        \
         except Exception as error:\n            out[host] = str(error)\n    return out\n",
        serde_json::to_string(addresses).unwrap(),
    )
}

/// A database and a queue on this host, whether they listen for all or for this
/// host alone, are as far away as metadata.
#[tokio::test]
async fn nat_reaches_nothing_of_the_host() {
    let services = [TcpListener::bind("0.0.0.0:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let ports = services.each_ref().map(|service| service.local_addr().unwrap().port());
    let sandbox = sandbox_with(|config| config.network = Network::Nat(Nat::default()));
    let hosts = ["127.0.0.1".to_owned(), own_address().to_string(), "10.213.0.1".into(), "169.254.169.254".into()];
    for port in ports {
        let targets: Vec<_> = hosts.iter().map(|host| (host.clone(), port)).collect();
        let answer = python(&sandbox, &connects(&targets)).await;
        for host in &hosts {
            assert!(answer[host].is_string() && answer[host] != "reached", "{host}:{port}: {answer}");
        }
    }
}

#[tokio::test]
async fn nat_translates_to_the_hosts_own_address() {
    // The outside is a network namespace of the test's, behind a cable.
    let outside = outside::Outside::make();
    let sandbox = sandbox_with(|config| config.network = Network::Nat(Nat::default()));
    let code = format!(
        "import socket\ndef main(args):\n    s = socket.create_connection(('{}', 7), timeout=50)\n    \
         return {{'peer': s.recv(100).decode()}}\n",
        outside.address()
    );
    let answer = python(&sandbox, &code).await;
    assert_eq!(answer, json!({ "peer": outside.host_address() }));
}

#[tokio::test]
async fn denied_networks_are_out_of_reach() {
    let outside = outside::Outside::make();
    let denied = vec![format!("{}/32", outside.address())];
    let sandbox = sandbox_with(|config| {
        config.network = Network::Nat(Nat { reach: Reach { denied, ..Reach::default() }, ..Nat::default() })
    });
    let answer = python(&sandbox, &connects(&[(outside.address(), 7)])).await;
    assert_ne!(answer[outside.address()], "reached");
}

#[tokio::test]
async fn containers_do_not_reach_each_other() {
    let sandbox = sandbox_with(|config| config.network = Network::Nat(Nat::default()));
    let server = "import socket, threading\ns = socket.socket()\ns.bind(('0.0.0.0', 4444))\ns.listen()\n\
                  def main(args):\n    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n    \
                  u.connect(('198.51.100.1', 9))\n    return {'address': u.getsockname()[0]}\n";
    let container = common::loaded(&sandbox, "python:3.11", 256, server).await;
    let run = whisker_sandbox::testing::contract::run(2, &json!({}));
    let end = container.run(run, common::PATIENCE).await;
    let address = whisker_sandbox::testing::contract::answer(end)["address"].as_str().unwrap().to_owned();
    assert!(address.starts_with("10.213."), "{address}");
    let answer = python(&sandbox, &connects(&[(address.clone(), 4444)])).await;
    assert_ne!(answer[&address], "reached");
    container.destroy().await;
}

#[tokio::test]
async fn none_has_no_way_out() {
    let sandbox = sandbox_with(|config| config.network = Network::None);
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let own = own_address().to_string();
    let answer = python(&sandbox, &connects(&[(own.clone(), listener.local_addr().unwrap().port())])).await;
    assert_ne!(answer[&own], "reached");
}

#[tokio::test]
async fn host_reaches_what_the_host_reaches() {
    let sandbox = sandbox_with(|config| config.network = Network::Host);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = ("127.0.0.1".to_owned(), listener.local_addr().unwrap().port());
    assert_eq!(python(&sandbox, &connects(&[target])).await, json!({ "127.0.0.1": "reached" }));
}

#[tokio::test]
async fn nothing_is_left_of_a_network() {
    let sandbox = sandbox_with(|config| config.network = Network::Nat(Nat::default()));
    let folder = sandbox.folder.path().join("sandbox").canonicalize().unwrap();
    let hash = Sha256::digest(folder.as_os_str().as_encoded_bytes());
    let instance: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let cables = || {
        let interfaces = std::fs::read_dir("/sys/class/net").unwrap().flatten();
        interfaces.filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("w{instance}-"))).count()
    };
    let rules = || {
        let listed = Command::new("nft").args(["list", "tables"]).output().unwrap();
        String::from_utf8(listed.stdout).unwrap().contains(&format!("whisker_{instance}"))
    };
    let container = common::loaded(&sandbox, "python:3.11", 128, "def main(args):\n    return {}\n").await;
    assert!(cables() > 0 && rules());
    container.destroy().await;
    drop((container, sandbox));
    let patience = Instant::now() + common::PATIENCE;
    // The kernel takes namespaces apart in its own time, and a spare one may
    // just be made.
    while cables() > 0 || rules() {
        assert!(Instant::now() < patience, "{} cables, rules: {}", cables(), rules());
        std::thread::yield_now();
    }
}

mod outside {
    use std::{
        process::{Child, Command, Stdio},
        sync::atomic::{AtomicU8, Ordering},
    };

    static NUMBER: AtomicU8 = AtomicU8::new(1);

    /// A neighbour of this host that greets on port 7 with its caller's address.
    pub struct Outside {
        number: u8,
        server: Child,
    }

    impl Outside {
        pub fn make() -> Outside {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let (cable, host, peer) =
                (format!("wtest{number}"), format!("198.18.{number}.1"), format!("198.18.{number}.2"));
            let script = format!(
                "import socket,subprocess,os,sys\n\
                 def ip(*words): subprocess.run(['ip', *words], check=True)\n\
                 host = os.getppid()\n\
                 ip('link','add','eth0','type','veth','peer','name','{cable}','netns',str(host))\n\
                 ip('addr','add','{peer}/24','dev','eth0')\n\
                 ip('link','set','eth0','up')\n\
                 subprocess.run(['nsenter','-t',str(host),'-n','sh','-c',\
                 'ip addr add {host}/24 dev {cable} && ip link set {cable} up'], check=True)\n\
                 s = socket.create_server(('{peer}', 7))\n\
                 print('ready', flush=True)\n\
                 while True:\n    c, a = s.accept()\n    c.send(a[0].encode())\n    c.close()\n"
            );
            let mut server = Command::new("unshare")
                .args(["-n", "/usr/bin/python3", "-c", &script])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            let stdout = server.stdout.take().unwrap();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
            assert_eq!(line.trim(), "ready");
            Outside { number, server }
        }

        pub fn address(&self) -> String {
            format!("198.18.{}.2", self.number)
        }

        pub fn host_address(&self) -> String {
            format!("198.18.{}.1", self.number)
        }
    }

    impl Drop for Outside {
        fn drop(&mut self) {
            let _ = self.server.kill();
            let _ = self.server.wait();
        }
    }
}
