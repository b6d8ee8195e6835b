//! A server of CouchDB's protocol: npm's `pouchdb-server`, in memory.

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
use serde_json::{Value, json};

use crate::{Certificate, Client, Request};

/// A running server, which ends with this value or with this process.
pub struct CouchDb {
    child: Child,
    port: u16,
    certificate: Option<Certificate>,
    /// What it is told, and what it says. It ends when this does.
    talk: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

/// Tells databases of one process apart.
static NUMBER: AtomicU32 = AtomicU32::new(0);

impl CouchDb {
    /// The one that tests of this process share, each with databases of its own.
    pub fn shared() -> &'static CouchDb {
        static SHARED: OnceLock<CouchDb> = OnceLock::new();
        SHARED.get_or_init(|| CouchDb::start(None))
    }

    /// Starts one, which takes no document longer than this.
    #[track_caller]
    pub fn start(max_document_bytes: Option<u64>) -> CouchDb {
        CouchDb::make(max_document_bytes, None)
    }

    /// Starts one that speaks TLS, with a certificate of `localhost`.
    #[track_caller]
    pub fn secured() -> CouchDb {
        CouchDb::make(None, Some(Certificate::new(&["localhost"])))
    }

    #[track_caller]
    fn make(max_document_bytes: Option<u64>, certificate: Option<Certificate>) -> CouchDb {
        let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../compat/pouchdb/serve.js"));
        let mut command = Command::new("node");
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(bytes) = max_document_bytes {
            command.env("MAX_DOCUMENT_SIZE", bytes.to_string());
        }
        if let Some(certificate) = &certificate {
            command.env("TLS_CERT", certificate.path()).env("TLS_KEY", certificate.key_path());
        }
        let mut child = command.spawn().expect("node starts");
        let life = child.stdin.take().expect("it is piped");
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().expect("it is piped"));
        said.read_line(&mut line).expect("its output is text");
        let port = line.trim().parse().unwrap_or_else(|_| {
            panic!("pouchdb-server does not say its port but {line:?}; `scripts/install-deps.sh test` installs it")
        });
        CouchDb { child, port, certificate, talk: Mutex::new((life, said)) }
    }

    /// Its URL, with databases that nobody has used before. It is patient, since
    /// machines that run tests are busy.
    pub fn url(&self) -> String {
        self.hasty_url() + "&patience=60s"
    }

    /// One that counts as away as soon as users' do, for tests of just that.
    pub fn hasty_url(&self) -> String {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        self.hasty_url_of(&format!("t{number}_"))
    }

    /// Its URL, with the databases of this prefix.
    pub fn url_of(&self, prefix: &str) -> String {
        self.hasty_url_of(prefix) + "&patience=60s"
    }

    fn hasty_url_of(&self, prefix: &str) -> String {
        let port = self.port;
        match &self.certificate {
            None => format!("couchdb://whisk:secret@127.0.0.1:{port}/?prefix={prefix}"),
            Some(certificate) => {
                let ca = certificate.path().display().to_string();
                format!("couchdbs://whisk:secret@localhost:{port}/?prefix={prefix}&ca={ca}")
            }
        }
    }

    /// Cuts all connections and refuses further ones, as if it were stopped.
    #[track_caller]
    pub fn cut(&self) {
        self.tell("cut", "cut");
    }

    /// Takes connections again; what it had is there.
    #[track_caller]
    pub fn mend(&self) {
        self.tell("mend", "mended");
    }

    #[track_caller]
    fn tell(&self, what: &str, answer: &str) {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(talk.0, "{what}").expect("it listens");
        let mut line = String::new();
        talk.1.read_line(&mut line).expect("its output is text");
        assert_eq!(line.trim(), answer);
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

    /// Its administrator, who speaks its own protocol.
    pub fn client(&self) -> Client {
        Client::new(([127, 0, 0, 1], self.port).into(), Some("whisk:secret"))
    }

    /// Puts documents into a database, which is made if it is not there.
    #[track_caller]
    pub fn load(&self, database: &str, documents: &[Value]) {
        let client = self.client();
        let made = client.send(&Request::new("PUT", format!("/{database}"))).status();
        assert!(matches!(made, 201 | 412), "the database {database}: {made}");
        let outcomes = client.post(&format!("/{database}/_bulk_docs"), &json!({"docs": documents})).expect(201);
        for outcome in outcomes.as_array().expect("a list") {
            assert!(outcome["error"].is_null(), "{outcome}");
        }
    }

    /// A document as it is stored.
    #[track_caller]
    pub fn document(&self, database: &str, id: &str) -> Value {
        self.client().get(&format!("/{database}/{}", id.replace('/', "%2F").replace(' ', "%20"))).expect(200)
    }
}

impl Drop for CouchDb {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
