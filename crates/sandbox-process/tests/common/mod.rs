//! What the tests of this crate share: sandboxes in folders of their own, and
//! user code.

#![allow(dead_code, reason = "each test uses a part")]

use std::{ffi::OsStr, fs, ops::Deref, path::PathBuf, sync::Arc, time::Duration};

use serde_json::Value;
use whisker_sandbox::{
    Code, Container, Error, InitEnd, Logs, RunEnd, Sandbox, Start,
    testing::{Programs, Subject, contract},
};
use whisker_sandbox_process::{Config, Network, ProcessSandbox};

pub const PATIENCE: Duration = Duration::from_secs(60);

/// A sandbox whose folder goes with it.
pub struct Own {
    pub sandbox: Arc<ProcessSandbox>,
    pub folder: tempfile::TempDir,
}

impl Deref for Own {
    type Target = ProcessSandbox;

    fn deref(&self) -> &ProcessSandbox {
        &self.sandbox
    }
}

pub fn sandbox_with(change: impl FnOnce(&mut Config)) -> Own {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(folder.path().join("sandbox"));
    config.network = Network::None;
    change(&mut config);
    let sandbox = Arc::new(ProcessSandbox::new(config).unwrap_or_else(|error| panic!("{error}")));
    Own { sandbox, folder }
}

/// The cgroups' folders of the sandboxes below a parent group, one in each tree.
pub fn instances(parent: &str) -> Vec<PathBuf> {
    let mounts = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    let parents = [PathBuf::from("/sys/fs/cgroup")].into_iter().chain(mounts).map(|mount| mount.join(parent));
    let instances = parents.filter_map(|parent| fs::read_dir(parent).ok()).flatten().flatten();
    instances.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Processes of those containers of these sandboxes that are looked for by name,
/// each as often as a tree lists it.
pub fn processes(instances: &[PathBuf], of: impl Fn(&OsStr) -> bool) -> Vec<String> {
    let containers = instances.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let lists = containers
        .filter(|entry| of(&entry.file_name()))
        .filter_map(|entry| fs::read_to_string(entry.path().join("cgroup.procs")).ok());
    lists.flat_map(|list| list.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

pub fn start(kind: &str, memory_mb: u32) -> Start {
    Start { kind: kind.to_owned(), memory_mb, concurrent: false }
}

pub async fn loaded(sandbox: &ProcessSandbox, kind: &str, memory_mb: u32, code: &str) -> Arc<dyn Container> {
    let container = sandbox.start(start(kind, memory_mb)).await.unwrap();
    let init = contract::init(1, &Code::Text(code.into()));
    let end = container.init(init, PATIENCE).await.unwrap();
    if !matches!(end, InitEnd::Ready) {
        let logs = container.logs(contract::activation(1), 1 << 20).await;
        panic!("{end:?} {logs:?}");
    }
    container
}

/// Runs `code`, once, in a container of its own.
pub async fn once(sandbox: &ProcessSandbox, kind: &str, code: &str, argument: Value) -> (RunEnd, Logs) {
    let container = loaded(sandbox, kind, 256, code).await;
    let end = container.run(contract::run(2, &argument), PATIENCE).await.unwrap();
    let logs = container.logs(contract::activation(2), 1 << 20).await;
    container.destroy().await;
    (end, logs)
}

/// The answer of Python code, once, in a container of its own.
pub async fn python(sandbox: &ProcessSandbox, code: &str) -> Value {
    let (end, logs) = once(sandbox, "python:3.11", code, serde_json::json!({})).await;
    match end {
        RunEnd::Answered(raw) => serde_json::from_str(raw.get()).unwrap(),
        other => panic!("{other:?} {logs:?}"),
    }
}

#[async_trait::async_trait]
impl Sandbox for Own {
    async fn start(&self, start: Start) -> Result<Arc<dyn Container>, Error> {
        self.sandbox.start(start).await
    }

    async fn sweep(&self) -> Result<(), Error> {
        self.sandbox.sweep().await
    }
}

pub async fn subject(kind: &str, programs: Programs) -> Subject {
    let sandbox = Arc::new(sandbox_with(|_| {}));
    Subject { sandbox, kind: kind.to_owned(), memory_mb: 128, programs }
}

fn code(text: &str) -> Code {
    Code::Text(text.into())
}

pub fn nodejs() -> Programs {
    Programs {
        echo: code("const main = args => args;"),
        sleeps: code("const main = args => new Promise(done => setTimeout(() => done(args), args.ms));"),
        prints: code(
            "function main(args) { for (let n = 0; n < args.lines; n++) \
             { console.log('out ' + n); console.error('err ' + n); } return args; }",
        ),
        throws: code("function main() { throw new Error('thrown'); }"),
        broken: code("function main( {"),
        hangs: code("process.on('SIGTERM', () => {}); const main = () => { for (;;); };"),
        hangs_in_init: code("for (;;);"),
        exits: code("const main = () => process.exit(3);"),
        hogs: code("const held = []; const main = () => { for (;;) held.push(Buffer.alloc(10000000, 1)); };"),
        long: code("const main = args => ({ long: 'x'.repeat(args.length) });"),
    }
}

pub fn python_programs() -> Programs {
    Programs {
        echo: code("def main(args):\n    return args\n"),
        sleeps: code("import time\ndef main(args):\n    time.sleep(args['ms'] / 1000)\n    return args\n"),
        prints: code(
            "import sys\ndef main(args):\n    for n in range(args['lines']):\n        print('out', n)\n        \
             print('err', n, file=sys.stderr)\n    return args\n",
        ),
        throws: code("def main(args):\n    raise Exception('thrown')\n"),
        broken: code("def main(:\n"),
        hangs: code(
            "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ndef main(args):\n    while True:\n        pass\n",
        ),
        hangs_in_init: code("while True:\n    pass\n"),
        exits: code("import os\ndef main(args):\n    os._exit(3)\n"),
        hogs: code("def main(args):\n    held = []\n    while True:\n        held.append(b'x' * 10000000)\n"),
        long: code("def main(args):\n    return {'long': 'x' * args['length']}\n"),
    }
}
