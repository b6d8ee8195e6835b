//! What a container is, seen by the code inside it.

mod calling;

use serde_json::{Value, json};
use whisker_testkit::{Client, Server};

/// Runs Python inside a container and gives what it returns.
#[track_caller]
fn inside(guest: &Client, name: &str, code: &str) -> Value {
    guest.python(name, code);
    guest.result(name, &json!({}))
}

#[test]
fn code_has_no_rights_no_new_ones_and_a_filter() {
    let server = Server::start();
    let seen = inside(
        &server.guest(),
        "rights",
        "
import os
def main(args):
    status = dict(line.split(':\\t', 1) for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)
    return {name: status[name].strip() for name in ('CapEff', 'CapPrm', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp')} | {'uid': os.getuid(), 'euid': os.geteuid()}
",
    );
    for set in ["CapEff", "CapPrm", "CapBnd", "CapAmb"] {
        assert_eq!(seen[set], "0000000000000000", "{seen}");
    }
    assert_eq!((&seen["NoNewPrivs"], &seen["Seccomp"]), (&json!("1"), &json!("2")), "{seen}");
    assert_ne!(seen["uid"], 0, "{seen}");
}

#[test]
fn the_host_is_not_there() {
    let server = Server::builder().variable("SECRET_OF_THE_HOST", "7f3a").start();
    let data = server.data_dir();
    let code = format!(
        "
import os
def main(args):
    found = {{}}
    for path in ('/root', '/home', {data:?}, '/etc/shadow', '/sys/fs/cgroup', '/var/run/docker.sock', '/run/docker.sock', '/proc/1/environ', '/boot', '/mnt', '/media'):
        try:
            found[path] = os.listdir(path) if os.path.isdir(path) else open(path).read(100)
        except OSError as error:
            found[path] = None
    return {{'found': found, 'environment': dict(os.environ), 'root': sorted(os.listdir('/')), 'pids': [p for p in os.listdir('/proc') if p.isdigit()],
        'host': os.uname().nodename, 'mounts': open('/proc/self/mountinfo').read()}}
"
    );
    let seen = inside(&server.guest(), "host", &code);
    for (path, content) in seen["found"].as_object().expect("an object") {
        let nothing = content.is_null() || content.as_array().is_some_and(Vec::is_empty);
        // The first process is the container's own: what it was started with is no secret.
        let own = path == "/proc/1/environ" && !content.to_string().contains("7f3a");
        assert!(nothing || own, "{path}: {content}");
    }
    let environment = seen["environment"].to_string();
    assert!(!environment.contains("7f3a") && !environment.contains("WHISKER"), "{environment}");
    assert!(!environment.contains("API_KEY"), "no key without provide-api-key: {environment}");
    assert!(seen["pids"].as_array().is_some_and(|pids| pids.len() < 10), "{}", seen["pids"]);
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    assert_ne!(seen["host"], name.trim(), "its own host name");
}

#[test]
fn only_tmp_can_be_written() {
    let server = Server::start();
    let seen = inside(
        &server.guest(),
        "write",
        "
import os
def main(args):
    written = []
    for folder in ('/', '/etc', '/usr', '/usr/bin', '/bin', '/lib', '/dev', '/proc', '/sys', '/action', '/var', '/opt', '/tmp'):
        try:
            open(os.path.join(folder, 'written'), 'w').write('x')
            written.append(folder)
        except OSError:
            pass
    return {'written': written}
",
    );
    assert_eq!(seen["written"], json!(["/tmp"]), "{seen}");
}

#[test]
fn calls_that_lead_out_are_refused() {
    let server = Server::start();
    let seen = inside(
        &server.guest(),
        "calls",
        "
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def attempt(call, *args):
    ctypes.set_errno(0)
    result = call(*args)
    return 'allowed' if result >= 0 else os.strerror(ctypes.get_errno())
def main(args):
    return {
        'mount': attempt(libc.mount, b'none', b'/tmp', b'tmpfs', 0, None),
        'umount': attempt(libc.umount2, b'/tmp', 2),
        'unshare user': attempt(libc.unshare, 0x10000000),
        'unshare mount': attempt(libc.unshare, 0x00020000),
        'setns': attempt(libc.setns, os.open('/proc/self/ns/mnt', os.O_RDONLY), 0),
        'chroot': attempt(libc.chroot, b'/tmp'),
        'ptrace': attempt(libc.ptrace, 16, 1, None, None),
        'bpf': attempt(libc.syscall, 321, 0, None, 0),
        'keyctl': attempt(libc.syscall, 250, 0, 0),
        'add_key': attempt(libc.syscall, 248, b'user', b'x', b'y', 1, -2),
        'perf_event_open': attempt(libc.syscall, 298, None, 0, -1, -1, 0),
        'userfaultfd': attempt(libc.syscall, 323, 0),
        'io_uring_setup': attempt(libc.syscall, 425, 1, None),
        'init_module': attempt(libc.syscall, 175, None, 0, b''),
        'kexec_load': attempt(libc.syscall, 246, 0, 0, None, 0),
        'reboot': attempt(libc.reboot, 0),
        'sethostname': attempt(libc.sethostname, b'x', 1),
        'settimeofday': attempt(libc.settimeofday, None, None) if os.getuid() == 0 else 'Operation not permitted',
        'open_by_handle_at': attempt(libc.syscall, 304, -1, None, 0),
    }
",
    );
    for (call, outcome) in seen.as_object().expect("an object") {
        assert!(
            ["Operation not permitted", "Function not implemented", "Permission denied"].iter().any(|w| outcome == w),
            "{call}: {outcome}"
        );
    }
}

#[test]
fn without_network_there_is_none() {
    let server = Server::start();
    let code = format!(
        "
import socket
def main(args):
    reached = []
    for address in (('127.0.0.1', {}), ('169.254.169.254', 80), ('10.0.0.1', 80), ('1.1.1.1', 53)):
        try:
            socket.create_connection(address, timeout=1)
            reached.append(address)
        except OSError:
            pass
    return {{'reached': reached, 'interfaces': [name for _, name in socket.if_nameindex()]}}
",
        server.address().port()
    );
    assert_eq!(inside(&server.guest(), "network", &code), json!({"reached": [], "interfaces": ["lo"]}));
}

/// With address translation code reaches the outside, and so neither the
/// host's own services, on any of its addresses, nor link-local metadata.
#[test]
fn with_address_translation_the_host_is_out_of_reach() {
    let service = std::net::TcpListener::bind("0.0.0.0:0").expect("a free port");
    let port = service.local_addr().expect("an address").port();
    let server = Server::builder().flag("--network", "nat").flag("--listen", "0.0.0.0").start();
    let address = ([127, 0, 0, 1], server.address().port()).into();
    let guest = Client::new(address, Some(&server.said("key of guest: ")));
    let addresses = host_addresses();
    assert!(!addresses.is_empty(), "a host has an address");
    let code = format!(
        "
import socket, struct
from concurrent.futures import ThreadPoolExecutor
def gateway():
    for line in open('/proc/net/route').read().splitlines()[1:]:
        fields = line.split()
        if fields[1] == '00000000':
            return socket.inet_ntoa(struct.pack('<L', int(fields[2], 16)))
def reaches(place):
    try:
        socket.create_connection(place, timeout=0.5)
        return True
    except OSError:
        return False
def main(args):
    hosts = ['127.0.0.1', 'localhost', '169.254.169.254', gateway()] + {addresses:?}
    # The API itself is for functions to call, at one address.
    places = [(host, port) for host in hosts for port in ({port}, {api}, 22, 80) if (host, port) != (gateway(), {api})]
    # Other servers on this host have addresses by the dozen, and each place waits.
    with ThreadPoolExecutor(32) as threads:
        reached = [place for place, yes in zip(places, threads.map(reaches, places)) if yes]
    return {{'reached': reached, 'gateway': gateway()}}
",
        api = server.address().port()
    );
    let seen = inside(&guest, "nat", &code);
    assert_eq!(seen["reached"], json!([]), "{seen}");
    assert!(seen["gateway"].is_string(), "there is a way to the outside: {seen}");
    drop(service);
}

#[test]
fn functions_call_the_api_back_where_it_listens_on_loopback() {
    let server = Server::builder().flag("--network", "nat").start();
    assert_eq!(calling::back(&server.guest()), json!({"status": 200, "actions": 1}));
}

#[test]
fn functions_call_the_api_back_at_the_address_that_the_operator_names() {
    let host = host_addresses().into_iter().next().expect("a host has an address");
    let port = std::net::TcpListener::bind("0.0.0.0:0").expect("a free port").local_addr().expect("an address").port();
    let server = Server::builder()
        .flag("--network", "nat")
        .flag("--listen", "0.0.0.0")
        .flag("--port", &port.to_string())
        .flag("--api-host", &format!("http://{host}:{port}"))
        .start();
    let guest = Client::new(([127, 0, 0, 1], port).into(), Some(&server.said("key of guest: ")));
    assert_eq!(calling::back(&guest), json!({"status": 200, "actions": 1}));
}

/// The host's own addresses, loopback aside.
fn host_addresses() -> Vec<String> {
    let output = std::process::Command::new("ip").args(["-4", "-o", "addr"]).output().expect("ip runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let addresses =
        text.lines().filter_map(|line| line.split_whitespace().nth(3)?.split('/').next().map(str::to_owned));
    addresses.filter(|address| !address.starts_with("127.")).collect()
}

#[test]
fn a_container_serves_one_namespace_and_one_action() {
    let server = Server::start();
    let code = "
import os
def main(args):
    seen = sorted(os.listdir('/tmp'))
    open('/tmp/left-by-' + args['who'], 'w').write(args['who'])
    return {'seen': seen}
";
    for client in [server.guest(), server.system()] {
        for name in ["one", "two"] {
            client.python(name, code);
        }
    }
    for _ in 0..3 {
        for (who, client) in [("guest", server.guest()), ("system", server.system())] {
            for name in ["one", "two"] {
                let me = format!("{who}-{name}");
                let seen = client.result(name, &json!({"who": me}));
                let seen = seen["seen"].as_array().expect("a list").clone();
                assert!(seen.iter().all(|file| *file == format!("left-by-{me}")), "{me} sees {seen:?}");
            }
        }
    }
}

#[test]
fn an_action_that_may_gets_the_key() {
    let server = Server::start();
    let guest = server.guest();
    let code = "import os\ndef main(args): return {'key': os.environ.get('__OW_API_KEY'), 'host': os.environ.get('__OW_API_HOST')}";
    guest.action(
        "keyed",
        &json!({
            "exec": {"kind": "python:3.11", "code": code}, "annotations": [{"key": "provide-api-key", "value": true}]
        }),
    );
    guest.python("keyless", code);
    let host = format!("http://{}", server.address());
    assert_eq!(guest.result("keyed", &json!({})), json!({"key": whisker_testkit::GUEST, "host": host}));
    assert_eq!(guest.result("keyless", &json!({})), json!({"key": null, "host": host}));
}
