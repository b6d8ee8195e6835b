//! What user code sees and may do. Needs root, bubblewrap and Python 3.11.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;

use common::{PATIENCE, loaded, python, sandbox_with};
use serde_json::{Value, json};
use whisker_sandbox::{Sandbox, testing::contract};

/// Numbers of x86-64, with arguments that would succeed for root.
const ESCAPES: &str = r#"
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
NEWUSER, NEWNS, NEWNET, NEWPID = 0x10000000, 0x20000, 0x40000000, 0x20000000
CALLS = {
    'mount': (165, b'none', b'/tmp', b'tmpfs', 0, None), 'umount2': (166, b'/tmp', 0),
    'pivot_root': (155, b'/tmp', b'/tmp'), 'chroot': (161, b'/tmp'),
    'bpf': (321, 0, None, 0), 'keyctl': (250, 0, 0), 'add_key': (248, b'user', b'x', b'y', 1, -2),
    'request_key': (249, b'user', b'x', None, -2),
    'unshare user': (272, NEWUSER), 'unshare mount': (272, NEWNS), 'unshare net': (272, NEWNET),
    'setns': (308, 0, 0), 'clone user': (56, NEWUSER | 17, 0, 0, 0, 0), 'clone pid': (56, NEWPID | 17, 0, 0, 0, 0),
    'ptrace': (101, 0, 0, 0, 0), 'process_vm_readv': (310, 1, None, 0, None, 0, 0),
    'perf_event_open': (298, None, 0, -1, -1, 0), 'userfaultfd': (323, 0),
    'io_uring_setup': (425, 1, None), 'open_by_handle_at': (304, -1, None, 0), 'name_to_handle_at': (303, -1, None, None, None, 0),
    'kexec_load': (246, 0, 0, None, 0), 'init_module': (175, None, 0, b''), 'finit_module': (313, -1, b'', 0),
    'delete_module': (176, b'x', 0), 'open_tree': (428, -1, b'/', 0), 'move_mount': (429, -1, b'', -1, b'', 0),
    'fsopen': (430, b'tmpfs', 0), 'fsmount': (432, -1, 0, 0), 'mount_setattr': (442, -1, b'/', 0, None, 0),
    'pidfd_getfd': (438, -1, 0, 0), 'settimeofday': (164, None, None), 'clock_settime': (227, 0, None),
    'reboot': (169, 0, 0, 0, None), 'swapon': (167, b'/x', 0), 'sethostname': (170, b'x', 1),
    'iopl': (172, 3), 'quotactl': (179, 0, None, 0, None), 'acct': (163, None), 'syslog': (103, 3, None, 0),
    'kcmp': (312, 1, 1, 0, 0, 0), 'move_pages': (279, 0, 0, None, None, None, 0),
    'socket packet': (41, 17, 3, 0), 'socket vsock': (41, 40, 1, 0), 'socket alg': (41, 38, 5, 0),
    'tiocsti': (16, 0, 0x5412, b'x'), 'personality': (135, 0x0040000),
}
def main(args):
    out = {}
    for name, (number, *arguments) in CALLS.items():
        ctypes.set_errno(0)
        pid = os.getpid()
        result = libc.syscall(number, *arguments)
        if os.getpid() != pid or (name.startswith('clone') and result == 0):
            os._exit(0)
        out[name] = ctypes.get_errno() if result == -1 else 'worked'
    ctypes.set_errno(0)
    out['clone3'] = ctypes.get_errno() if libc.syscall(435, None, 0) == -1 else 'worked'
    return out
"#;

#[tokio::test]
async fn system_calls_that_escape_are_refused() {
    let sandbox = sandbox_with(|_| {});
    let answer = python(&sandbox, ESCAPES).await;
    let mut wrong = Vec::new();
    for (name, errno) in answer.as_object().unwrap() {
        let expected = if name == "clone3" { libc::ENOSYS } else { libc::EPERM };
        if *errno != expected {
            wrong.push(format!("{name}: {errno}"));
        }
    }
    assert!(answer.as_object().unwrap().len() > 40);
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test]
async fn user_code_is_nobody_special() {
    let sandbox = sandbox_with(|_| {});
    let answer = python(
        &sandbox,
        "import os\ndef main(args):\n    status = dict(l.split(':\\t', 1) for l in open('/proc/self/status').read().splitlines() if ':\\t' in l)\n    \
         return {'uid': os.getuid(), 'euid': os.geteuid(), 'gid': os.getgid(), 'groups': os.getgroups(), \
         'caps': [status[k] for k in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')], \
         'nnp': status['NoNewPrivs'], 'seccomp': status['Seccomp'], 'host': os.uname().nodename, \
         'core': __import__('resource').getrlimit(4), 'files': __import__('resource').getrlimit(7)}\n",
    )
    .await;
    let none = "0000000000000000";
    assert_eq!(
        answer,
        json!({
            "uid": 1000, "euid": 1000, "gid": 1000, "groups": answer["groups"],
            "caps": [none, none, none, none, none],
            "nnp": "1", "seccomp": "2", "host": "action", "core": [0, 0], "files": [1024, 1024],
        })
    );
    // The overflow group at most: what the host's groups look like inside.
    let groups = answer["groups"].as_array().unwrap();
    assert!(groups.iter().all(|group| *group == 1000 || *group == 65534), "{groups:?}");
}

#[tokio::test]
async fn no_variable_of_the_host_is_seen() {
    let sandbox = sandbox_with(|config| {
        config.environment.insert("__OW_API_HOST".to_owned(), "http://localhost:3233".to_owned());
    });
    let answer = python(
        &sandbox,
        "import os, glob\ndef main(args):\n    seen = set()\n    for f in glob.glob('/proc/[0-9]*/environ'):\n        try:\n            \
         seen |= {e.split('=')[0] for e in open(f).read().split('\\0') if e}\n        except OSError:\n            pass\n    \
         return {'environ': sorted(os.environ), 'proc': sorted(seen)}\n",
    )
    .await;
    let names: Vec<&str> = answer["environ"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(names.contains(&"__OW_API_HOST") && names.contains(&"__OW_ACTION_NAME"), "{names:?}");
    let known = ["HOME", "LANG", "PATH", "PWD", "PYTHONPATH", "LC_CTYPE"];
    for name in answer["environ"].as_array().unwrap().iter().chain(answer["proc"].as_array().unwrap()) {
        let name = name.as_str().unwrap();
        assert!(name.starts_with("__OW_") || known.contains(&name), "{name} leaked: {answer}");
    }
}

#[tokio::test]
async fn only_tmp_can_be_written() {
    let sandbox = sandbox_with(|_| {});
    let answer = python(
        &sandbox,
        "import os, errno\nPLACES = ['/', '/etc', '/usr', '/usr/bin', '/bin', '/lib', '/dev', '/proc', '/sys', '/action', '/runtimes', '/var', \
         '/root', '/home', '/run', '/opt', '/tmp', '/var/tmp', '/dev/shm']\n\
         def main(args):\n    out = {}\n    for place in PLACES:\n        try:\n            open(place + '/x', 'w').close()\n            out[place] = 'written'\n        \
         except OSError as error:\n            out[place] = errno.errorcode[error.errno]\n    return out\n",
    )
    .await;
    for (place, what) in answer.as_object().unwrap() {
        let writable = ["/tmp", "/var/tmp", "/dev/shm"].contains(&place.as_str());
        assert_eq!(*what == "written", writable, "{place}: {what}");
    }
    assert_eq!(answer["/etc"], "EROFS");
    assert_eq!(answer["/usr"], "EROFS");
}

#[tokio::test]
async fn tmp_is_private_and_bounded() {
    let sandbox = sandbox_with(|_| {});
    let write = "def main(args):\n    open('/tmp/secret', 'w').write('mine')\n    return {}\n";
    let first = loaded(&sandbox, "python:3.11", 128, write).await;
    contract::answer(first.run(contract::run(2, &json!({})), PATIENCE).await);
    let list = "import os\ndef main(args):\n    return {'tmp': os.listdir('/tmp'), 'action': os.listdir('/action')}\n";
    assert_eq!(python(&sandbox, list).await, json!({ "tmp": [], "action": [] }));
    assert!(!fs::exists("/tmp/secret").unwrap());
    first.destroy().await;

    let fill = "import errno\ndef main(args):\n    try:\n        with open('/tmp/large', 'wb') as f:\n            for _ in range(1000):\n                f.write(bytes(1 << 20))\n    \
                except OSError as error:\n        return {'error': errno.errorcode[error.errno], 'x': 1}\n    return {}\n";
    let container = loaded(&sandbox, "python:3.11", 128, fill).await;
    let answer = contract::answer(container.run(contract::run(2, &json!({})), PATIENCE).await);
    assert_eq!(answer["error"], "ENOSPC");
    container.destroy().await;
}

#[tokio::test]
async fn no_other_process_and_no_host_path_is_seen() {
    let sandbox = sandbox_with(|_| {});
    let answer = python(
        &sandbox,
        "import os\ndef main(args):\n    return {'pids': sorted(int(p) for p in os.listdir('/proc') if p.isdigit()), \
         'root': sorted(os.listdir('/')), 'dev': sorted(os.listdir('/dev')), 'etc': sorted(os.listdir('/etc')), \
         'docker': os.path.exists('/var/run/docker.sock') or os.path.exists('/run/docker.sock'), \
         'token': os.path.exists('/var/run/secrets'), 'fds': sorted(os.readlink('/proc/self/fd/' + f).split(':')[0] for f in os.listdir('/proc/self/fd') if os.path.lexists('/proc/self/fd/' + f))}\n",
    )
    .await;
    let pids = answer["pids"].as_array().unwrap();
    assert!(pids.len() <= 3 && pids[0] == 1, "{pids:?}");
    let root: Vec<&str> = answer["root"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let known = [
        "action", "bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "prepared", "proc", "runtimes", "sbin",
        "tmp", "usr", "var",
    ];
    assert!(root.iter().all(|name| known.contains(name)), "{root:?}");
    let etc = answer["etc"].as_array().unwrap();
    assert!(!etc.contains(&Value::from("shadow")), "{etc:?}");
    assert_eq!((&answer["docker"], &answer["token"]), (&json!(false), &json!(false)));
    let fds: Vec<&str> = answer["fds"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(
        fds.iter().all(|fd| ["pipe", "/dev/null", "/proc/2/fd", "/proc/3/fd"].contains(fd) || fd.starts_with("/proc/")),
        "{fds:?}"
    );
}

#[tokio::test]
async fn each_container_is_another_user_of_the_host() {
    let sandbox = sandbox_with(|config| config.first_user = 2_345_000);
    let echo = "def main(args):\n    return {}\n";
    let containers =
        [loaded(&sandbox, "python:3.11", 128, echo).await, loaded(&sandbox, "python:3.11", 128, echo).await];
    let users = || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let statuses = processes.filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok());
        // What has ended waits for the host's first process to take note.
        let running = statuses.filter(|status| !status.contains("State:\tZ"));
        let users = running.filter_map(|status| {
            let line = status.lines().find(|line| line.starts_with("Uid:"))?.to_owned();
            line.split_whitespace().nth(1)?.parse::<u32>().ok()
        });
        let mut users: Vec<u32> = users.filter(|user| (2_345_000..2_345_100).contains(user)).collect();
        users.sort_unstable();
        users.dedup();
        users
    };
    assert_eq!(users(), [2_345_000, 2_345_001]);
    for container in containers {
        container.destroy().await;
    }
    assert!(users().is_empty());
}

#[tokio::test]
async fn a_second_init_is_refused_and_changes_nothing() {
    let sandbox = sandbox_with(|_| {});
    // User code that speaks to its own launcher, as far as it can.
    let code = "import os\ndef main(args):\n    try:\n        os.write(3, b'I {\"ok\":true}\\n')\n    except OSError:\n        pass\n    return {'mine': True}\n";
    let container = loaded(&sandbox, "python:3.11", 128, code).await;
    for number in 2..4 {
        let answer = contract::answer(container.run(contract::run(number, &json!({})), PATIENCE).await);
        assert_eq!(answer, json!({ "mine": true }));
    }
    container.destroy().await;
}

#[tokio::test]
async fn nothing_is_left_of_a_destroyed_container() {
    let sandbox = sandbox_with(|_| {});
    let container = loaded(&sandbox, "python:3.11", 128, "def main(args):\n    return {}\n").await;
    let folder = sandbox.folder.path().join("sandbox/containers");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    container.destroy().await;
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    sandbox.sweep().await.unwrap();
}

#[tokio::test]
async fn modules_of_the_operator_are_there_for_everybody() {
    let sandbox = sandbox_with(|config| {
        let folder = config.folder.join("modules/python");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("shared.py"), "word = 'from the operator'\n").unwrap();
    });
    let answer = python(&sandbox, "import shared\ndef main(args):\n    return {'word': shared.word}\n").await;
    assert_eq!(answer, json!({ "word": "from the operator" }));
}
