//! The real binary as a child: started, killed, started again.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Client, GUEST, SYSTEM, eventually, eventually::nap, failure};

/// Longest that a start may take before the test fails. A start is much
/// quicker; machines that run tests are busy.
const START: Duration = Duration::from_secs(30);
/// The same of a role of a cluster, which meets others first.
const ROLE_START: Duration = Duration::from_secs(120);
/// Longest that a server may take to end once it was asked to.
const END: Duration = Duration::from_secs(40);
/// Lines of output kept to be shown when a test fails.
const KEPT_LINES: usize = 400;

/// Tells the servers of one test process apart, to the kernel.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The binary under test: `WHISKER_BIN`, or the one that cargo built beside the
/// running test.
pub fn binary_path() -> PathBuf {
    if let Some(path) = std::env::var_os("WHISKER_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.parent().and_then(Path::parent).expect("tests are built into target/PROFILE/deps");
    profile.join("whisker")
}

/// How a server is to be started. The default is what tests want: loopback, a
/// free port, an empty data folder, a cgroup of its own, and containers without
/// network, so that servers can run side by side.
#[derive(Clone)]
pub struct Builder {
    place: Arc<Place>,
    role: &'static str,
    flags: Vec<(String, Option<String>)>,
    variables: Vec<(String, String)>,
}

/// What the lives of one server share, removed after the last of them.
struct Place {
    folder: TempDir,
    cgroup: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        // One tree in version 2, one for each controller in version 1. A server
        // keeps its own group, empty, for its next life; here there is none.
        let root = Path::new("/sys/fs/cgroup");
        let trees = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        for tree in trees.chain([root.to_owned()]) {
            remove_groups(&tree.join(&self.cgroup));
        }
    }
}

/// Removes a cgroup and those below it, which a server that was killed leaves.
fn remove_groups(group: &Path) {
    let below = fs::read_dir(group).into_iter().flatten().flatten();
    below.filter(|entry| entry.path().is_dir()).for_each(|entry| remove_groups(&entry.path()));
    // Most trees have none of this name.
    let _ = fs::remove_dir(group);
}

impl Default for Builder {
    fn default() -> Builder {
        let folder = TempDir::with_prefix("whisker-test-").expect("a temporary folder");
        let cgroup = format!("whisker-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let place = Place { folder, cgroup: cgroup.clone() };
        Builder { place: Arc::new(place), role: "serve", flags: Vec::new(), variables: Vec::new() }
            .flag("--listen", "127.0.0.1")
            .flag("--port", "0")
            .flag("--network", "none")
            .flag("--cgroup-parent", &cgroup)
    }
}

impl Builder {
    /// With a flag, in the place of one of the same name.
    pub fn flag(mut self, name: &str, value: &str) -> Builder {
        self.flags.retain(|(n, _)| n != name);
        self.flags.push((name.into(), Some(value.into())));
        self
    }

    /// As a controller of a cluster, with this name.
    pub fn controller(mut self, id: &str) -> Builder {
        self.role = "controller";
        self.flags.retain(|(name, _)| !matches!(name.as_str(), "--network" | "--cgroup-parent"));
        self.flag("--id", id)
    }

    /// As an invoker of a cluster, with this name.
    pub fn invoker(mut self, name: &str) -> Builder {
        self.role = "invoker";
        self.flag("--unique-name", name)
    }

    /// With a flag that has no value.
    pub fn switch(mut self, name: &str) -> Builder {
        self.flags.push((name.into(), None));
        self
    }

    /// With a variable of the environment.
    pub fn variable(mut self, name: &str, value: &str) -> Builder {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// The same settings for another server: with a data folder of its own.
    pub fn elsewhere(&self) -> Builder {
        Builder { place: Builder::default().place, ..self.clone() }
    }

    /// The data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.place.folder.path().join("data")
    }

    /// Starts it and waits until it says where it listens.
    #[track_caller]
    pub fn start(&self) -> Server {
        self.start_when(LISTENS)
    }

    fn start_max(&self) -> Duration {
        if self.role == "serve" { START } else { ROLE_START }
    }

    #[track_caller]
    fn start_when(&self, words: &'static str) -> Server {
        failure::watch();
        let start = Instant::now();
        let mut child = self.spawn();
        let output = Arc::new(Output::default());
        let (found, address) = mpsc::sync_channel(1);
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        output.collect(stdout, Some((words, found.clone())));
        output.collect(stderr, Some((words, found)));
        let mut server =
            Server { builder: self.clone(), child, address: ([0; 4], 0).into(), start: Duration::ZERO, output };
        match address.recv_timeout(self.start_max()) {
            Ok(address) => server.address = address,
            Err(_) => panic!("it did not say where it listens; its output:\n{}", server.output()),
        }
        server.start = start.elapsed();
        server
    }

    /// Starts a role of a cluster and waits until its port is open, not until
    /// it has all that it needs.
    #[track_caller]
    pub fn start_waiting(&self) -> Server {
        self.start_when("waiting for the store and for Kafka address=")
    }

    /// Starts it and waits for it to give up by itself; exit status and output.
    #[track_caller]
    pub fn refused(&self) -> (ExitStatus, String) {
        let mut child = Reaped(self.spawn());
        let output = Arc::new(Output::default());
        let readers = [
            output.collect(child.0.stdout.take().expect("it is piped"), None),
            output.collect(child.0.stderr.take().expect("it is piped"), None),
        ];
        let status = wait(&mut child.0, self.start_max(), &output);
        readers.into_iter().for_each(|reader| reader.join().expect("readers do not panic"));
        (status, output.text())
    }

    fn spawn(&self) -> Child {
        let binary = binary_path();
        let mut command = Command::new(&binary);
        command.arg(self.role).arg("--data-dir").arg(self.data_dir());
        for (name, value) in &self.flags {
            command.arg(name).args(value);
        }
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WHISKER_")) {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                panic!("cannot start {}: {error}; `cargo build -p whisker-server` makes it", binary.display())
            }
        }
    }
}

/// A child that should end by itself, and ends here at the latest.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // Gone already, as a rule.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running server. It ends with this value.
pub struct Server {
    builder: Builder,
    child: Child,
    address: SocketAddr,
    start: Duration,
    output: Arc<Output>,
}

/// A server that has ended, and what it left behind.
pub struct Stopped {
    builder: Builder,
    /// How it ended.
    pub status: ExitStatus,
    /// What it said.
    pub output: String,
}

impl Stopped {
    /// Starts it again on the same data.
    #[track_caller]
    pub fn start(self) -> Server {
        self.builder.start()
    }

    /// Settings and data folder, to start it with others.
    pub fn builder(&self) -> Builder {
        self.builder.clone()
    }
}

impl Server {
    /// Starts one with the settings that tests want.
    #[track_caller]
    pub fn start() -> Server {
        Builder::default().start()
    }

    /// To start one with others.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The time from exec until it said where it listens.
    pub fn start_time(&self) -> Duration {
        self.start
    }

    /// Its data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.builder.data_dir()
    }

    /// Settings and data folder.
    pub fn settings(&self) -> Builder {
        self.builder.clone()
    }

    /// A client for `guest`.
    pub fn guest(&self) -> Client {
        Client::new(self.address, Some(GUEST))
    }

    /// A client for `whisk.system`.
    pub fn system(&self) -> Client {
        Client::new(self.address, Some(SYSTEM))
    }

    /// A client without credentials.
    pub fn anyone(&self) -> Client {
        Client::new(self.address, None)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory that it holds, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells");
        let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
        kilobytes * 1024
    }

    /// The last lines that it wrote to either stream.
    pub fn output(&self) -> String {
        self.output.text()
    }

    /// The first line that it wrote with these words in it, once it is there:
    /// what comes behind them.
    #[track_caller]
    pub fn said(&self, words: &str) -> String {
        eventually(Duration::from_secs(10), || {
            let output = self.output();
            let found = output.lines().find_map(|line| Some(line.split_once(words)?.1.to_owned()));
            found.ok_or_else(|| format!("no {words:?} in:\n{output}"))
        })
    }

    /// Has it hang: it takes connections and says nothing any more.
    pub fn freeze(&self) {
        signal(&self.child, Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        signal(&self.child, Signal::CONT);
    }

    /// Asks it to end, and does not wait.
    pub fn terminate(&self) {
        signal(&self.child, Signal::TERM);
    }

    /// Waits for the end of a server that was asked to.
    #[track_caller]
    pub fn wait(mut self) -> Stopped {
        let status = wait(&mut self.child, END, &self.output);
        Stopped { builder: self.builder.clone(), status, output: self.output.text() }
    }

    /// Asks it to end and waits until it did.
    #[track_caller]
    pub fn stop(self) -> Stopped {
        self.terminate();
        self.wait()
    }

    /// Ends it as a power cut would: SIGKILL, to it alone.
    #[track_caller]
    pub fn kill(self) -> Stopped {
        signal(&self.child, Signal::KILL);
        self.wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        failure::tell("the server's output", || self.output());
        if matches!(self.child.try_wait(), Ok(None)) {
            // One that hangs hears nothing.
            self.thaw();
            // Asked first, since containers are its to clear away.
            signal(&self.child, Signal::TERM);
            let asked = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && asked.elapsed() < Duration::from_secs(10) {
                nap();
            }
            // No error matters any more: it is gone, or was gone before.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // The child is ours and not yet waited for, so the id is still its own.
        let _ = kill_process(pid, signal);
    }
}

#[track_caller]
fn wait(child: &mut Child, within: Duration, output: &Output) -> ExitStatus {
    eventually(within, || match child.try_wait() {
        Ok(Some(status)) => Ok(status),
        Ok(None) => Err(format!("it still runs; its output:\n{}", output.text())),
        Err(error) => panic!("it cannot be waited for: {error}"),
    })
}

/// The last lines of both streams.
#[derive(Default)]
struct Output(Mutex<VecDeque<String>>);

impl Output {
    /// Reads a stream to its end, so that the server never waits for a reader.
    fn collect(
        self: &Arc<Self>,
        stream: impl Read + Send + 'static,
        mut found: Option<(&'static str, mpsc::SyncSender<SocketAddr>)>,
    ) -> thread::JoinHandle<()> {
        let output = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                let address = found.as_ref().and_then(|(words, _)| address_after(words, &line));
                let mut lines = output.0.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.len() == KEPT_LINES {
                    lines.pop_front();
                }
                lines.push_back(line);
                drop(lines);
                if let Some(address) = address {
                    // Nobody waits any more if the start took too long.
                    let _ = found.take().map(|(_, found)| found.try_send(address));
                }
            }
        })
    }

    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// What stands before the address in the line that every start prints.
const LISTENS: &str = "listens on http";

/// The address behind these words.
fn address_after(words: &str, line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(words)?;
    let rest = rest.strip_prefix('s').unwrap_or(rest);
    let rest = rest.strip_prefix("://").unwrap_or(rest);
    rest.split(|c: char| c.is_whitespace() || c == '/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_what_a_start_prints() {
        for (line, port) in [
            ("whisker 0.1.0 listens on http://127.0.0.1:3233", Some(3233)),
            ("whisker 0.1.0 listens on http://[::1]:1/ (data in /tmp)", Some(1)),
            ("whisker 0.1.0 listens on https://127.0.0.1:2", Some(2)),
            ("whisker listens on nothing", None),
        ] {
            assert_eq!(address_after(LISTENS, line).map(|address| address.port()), port, "{line}");
        }
    }
}
