//! A server of Cosmos DB's SQL API: npm's `@vercel/cosmosdb-server`, in memory.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Builder, Certificate};

/// The account's key.
const KEY: &str = "d2hpc2tlcidzIHRlc3Rz";

/// A running server, which ends with this value or with this process.
pub struct Cosmos {
    child: Child,
    port: u16,
    certificate: Certificate,
    /// What it is told, and what it says. It ends when this does.
    talk: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

/// Tells databases of one process apart.
static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Cosmos {
    /// The one that tests of this process share, each with a database of its own.
    pub fn shared() -> &'static Cosmos {
        static SHARED: OnceLock<Cosmos> = OnceLock::new();
        SHARED.get_or_init(Cosmos::start)
    }

    /// Starts one.
    #[track_caller]
    pub fn start() -> Cosmos {
        let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../compat/cosmosdb/serve.js"));
        let certificate = Certificate::new(&["localhost"]);
        let mut child = Command::new("node")
            .arg(script)
            .env("COSMOS_KEY", KEY)
            .env("TLS_CERT", certificate.path())
            .env("TLS_KEY", certificate.key_path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let life = child.stdin.take().expect("it is piped");
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().expect("it is piped"));
        said.read_line(&mut line).expect("its output is text");
        let port = line.trim().parse().unwrap_or_else(|_| {
            panic!("cosmosdb-server does not say its port but {line:?}; `scripts/install-deps.sh test` installs it")
        });
        Cosmos { child, port, certificate, talk: Mutex::new((life, said)) }
    }

    /// Its URL, with a database that nobody has used before. It is patient,
    /// since machines that run tests are busy.
    pub fn url(&self) -> String {
        self.hasty_url() + "&patience=60s"
    }

    /// One that counts as away as soon as users' do, for tests of just that.
    pub fn hasty_url(&self) -> String {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let ca = self.certificate.path().display().to_string();
        format!("cosmos://localhost:{}/t{number}?ca={ca}", self.port)
    }

    /// Settings of a server that keeps everything in this database of it.
    pub fn serving(&self, url: &str) -> Builder {
        Builder::default().flag("--store", url).variable("WHISKER_STORE_PASSWORD", KEY)
    }

    /// The key that it wants requests to be signed with.
    pub fn key(&self) -> &'static str {
        KEY
    }

    /// Cuts all connections, and further ones, as if it were stopped.
    #[track_caller]
    pub fn cut(&self) {
        self.tell("cut");
    }

    /// Takes connections again; what it had is there.
    #[track_caller]
    pub fn mend(&self) {
        self.tell("mend");
    }

    /// The documents of a container of the database that a URL names, as they
    /// are kept.
    #[track_caller]
    pub fn documents(&self, url: &str, container: &str) -> String {
        let path = url.split('?').next().and_then(|place| place.rsplit_once('/'));
        let (_, database) = path.expect("a URL names a database");
        self.answer(&format!("documents dbs/{database}/colls/{container}"))
    }

    #[track_caller]
    fn tell(&self, what: &str) {
        assert_eq!(self.answer(what).trim(), what);
    }

    fn answer(&self, what: &str) -> String {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(talk.0, "{what}").expect("it listens");
        let mut line = String::new();
        talk.1.read_line(&mut line).expect("its output is text");
        line
    }

    /// Has it hang: it takes connections and says nothing any more.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("it is a process");
        kill_process(pid, signal).expect("it is our child");
    }
}

impl Drop for Cosmos {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
