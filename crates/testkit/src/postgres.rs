//! A real PostgreSQL server, for tests that need one: started on a free port,
//! with a password and a certificate, stopped and frozen when asked to, and
//! gone with the test.

use std::{
    fs,
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, geteuid, kill_process, set_parent_process_death_signal};
use tempfile::TempDir;

use crate::{Builder, eventually};

/// Longest that a start may take before the test fails.
const START: Duration = Duration::from_secs(60);
/// Debian's `nobody`, since the server refuses to run as root.
const NOBODY: (u32, u32) = (65534, 65534);

/// A cluster of its own, below a temporary folder. Its superuser is
/// `postgres`. Nothing is synced to disk unless it is [durable](Self::durable).
pub struct Postgres {
    folder: TempDir,
    port: u16,
    durable: bool,
    server: Mutex<Option<Child>>,
}

/// The one of this process, while any test has it.
static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
/// Tells databases apart.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Whisker's own parameter of a URL, which PostgreSQL's tools do not know.
const PATIENT: &str = "&patience=60s";

/// The superuser's.
const PASSWORD: &str = "correct horse";

impl Postgres {
    /// Makes and starts one.
    #[track_caller]
    pub fn start() -> Postgres {
        Postgres::make(false)
    }

    /// One that survives a power cut, and is as slow as that makes it.
    #[track_caller]
    pub fn durable() -> Postgres {
        Postgres::make(true)
    }

    /// The one that the tests of this process share. The last to drop it stops it.
    #[track_caller]
    pub fn shared() -> Arc<Postgres> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let started = Arc::new(Postgres::start());
        *shared = Arc::downgrade(&started);
        started
    }

    fn make(durable: bool) -> Postgres {
        let folder = TempDir::with_prefix("whisker-postgres-").expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let password = folder.path().join("password");
        fs::write(&password, PASSWORD).expect("the folder is writable");
        let home = folder.path().join("home");
        fs::create_dir(&home).expect("the folder is writable");
        for path in [&home, &password] {
            if geteuid().is_root() {
                chown(path, Some(NOBODY.0), Some(NOBODY.1)).expect("root may");
            }
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let postgres = Postgres { folder, port, durable, server: Mutex::default() };
        let data = postgres.data();
        done(postgres.command("initdb").arg("-D").arg(&data).arg("--pwfile").arg(&password).args([
            "-U",
            "postgres",
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]));
        let mut certificate = Command::new("openssl");
        certificate.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ]);
        certificate.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
        certificate.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        certificate.arg("-keyout").arg(data.join("server.key")).arg("-out").arg(data.join("server.crt"));
        done(&mut as_server(&mut certificate));
        postgres.resume();
        postgres
    }

    /// A new, empty database of it, as a URL without password; `localhost` is
    /// who the certificate is for. However busy the machine is, it does not
    /// count as away before a minute.
    #[track_caller]
    pub fn database(&self) -> String {
        self.hasty_database() + PATIENT
    }

    /// One that counts as away as soon as users' do, for tests of just that.
    #[track_caller]
    pub fn hasty_database(&self) -> String {
        let name = format!("test{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.sql(&self.url("postgres"), &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Settings of a server that keeps everything in this database of it.
    pub fn serving(&self, url: &str) -> Builder {
        Builder::default().flag("--store", url).variable("WHISKER_STORE_PASSWORD", PASSWORD)
    }

    /// The URL of one of its databases, without password or TLS.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost:{}/{database}?sslmode=disable", self.port)
    }

    /// Where it listens on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's password.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Its certificate, which is its own authority.
    pub fn certificate(&self) -> PathBuf {
        self.data().join("server.crt")
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// What `psql` says to a statement in the database of a URL, one row a line.
    #[track_caller]
    pub fn sql(&self, url: &str, statement: &str) -> String {
        let mut psql = Command::new(program("psql"));
        psql.env("PGPASSWORD", PASSWORD).args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement]);
        let output = done(psql.arg(plain(url)));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Everything in the database of a URL, as `pg_dump` writes it.
    #[track_caller]
    pub fn dump(&self, url: &str) -> Vec<u8> {
        done(Command::new(program("pg_dump")).env("PGPASSWORD", PASSWORD).arg(plain(url))).stdout
    }

    /// Ends it at once, as a crash would; connections are cut.
    pub fn stop(&self) {
        if let Some(mut server) = self.server().take() {
            signal(server.id(), Signal::QUIT);
            server.wait().expect("it is a child of ours");
        }
    }

    /// Starts it again after [`stop`](Self::stop), on the same port and data.
    #[track_caller]
    pub fn resume(&self) {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string(), "-c", "listen_addresses=localhost"]);
        command.arg("-k").arg(self.folder.path().join("home")).args(["-c", "ssl=on", "-c", "max_connections=200"]);
        if !self.durable {
            command.args(["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]);
        }
        let log = fs::OpenOptions::new().append(true).create(true).open(self.folder.path().join("log"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("the folder is writable"));
        *self.server() = Some(with_this_process(command));
        let ready = || {
            let mut psql = Command::new(program("psql"));
            psql.env("PGPASSWORD", PASSWORD).args(["-X", "-c", "SELECT 1"]).arg(self.url("postgres"));
            psql.output().is_ok_and(|output| output.status.success())
        };
        eventually(START, || if ready() { Ok(()) } else { Err(self.log()) });
    }

    /// Has it hang: it takes connections and says nothing any more.
    pub fn freeze(&self) {
        self.all().into_iter().for_each(|pid| signal(pid, Signal::STOP));
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.all().into_iter().for_each(|pid| signal(pid, Signal::CONT));
    }

    /// It and its children.
    fn all(&self) -> Vec<u32> {
        let Some(server) = self.server().as_ref().map(Child::id) else { return Vec::new() };
        let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap_or_default();
        std::iter::once(server).chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("home/data")
    }

    fn server(&self) -> MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn command(&self, name: &str) -> Command {
        as_server(Command::new(program(name)).current_dir(self.folder.path()))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.thaw();
        self.stop();
    }
}

/// The path of one of its programs, where Debian puts them, or as `PATH` says.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = versions.map(|version| version.path().join("bin").join(name)).collect();
    found.retain(|path| path.exists());
    found.sort();
    found.pop().unwrap_or_else(|| name.into())
}

/// The same command, as a user that the server agrees to be.
fn as_server(command: &mut Command) -> Command {
    if geteuid().is_root() {
        command.uid(NOBODY.0).gid(NOBODY.1);
    }
    std::mem::replace(command, Command::new("true"))
}

/// A URL as PostgreSQL's tools take it.
fn plain(url: &str) -> String {
    url.replace(PATIENT, "")
}

/// Runs a command to its end, which must be good.
#[track_caller]
fn done(command: &mut Command) -> Output {
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => panic!("{:?}: {error}; scripts/install-deps.sh test installs it", command.get_program()),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {said}", command.get_program());
    output
}

/// Starts a command that is killed when this process ends, however it does.
/// The kernel means the thread that started it, so that is one which stays.
#[expect(unsafe_code, reason = "a call between fork and exec")]
fn with_this_process(mut command: Command) -> Child {
    let (started, child) = mpsc::sync_channel(1);
    thread::spawn(move || {
        // SAFETY: one system call, which neither allocates nor locks.
        unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::QUIT))?)) };
        let _ = started.send(command.spawn());
        loop {
            thread::park();
        }
    });
    let child = child.recv().expect("it sends before it parks");
    child.unwrap_or_else(|error| panic!("cannot start PostgreSQL: {error}; scripts/install-deps.sh test installs it"))
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
    }
}
