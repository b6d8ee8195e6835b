//! A server of CouchDB's protocol: npm's `pouchdb-server`, in memory.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use serde_json::{Value, json};

use crate::{Client, Request};

/// A running server, which ends with this value or with this process.
pub struct CouchDb {
    child: Child,
    port: u16,
    /// The server ends when this does.
    _life: ChildStdin,
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
        let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../compat/pouchdb/serve.js"));
        let mut command = Command::new("node");
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(bytes) = max_document_bytes {
            command.env("MAX_DOCUMENT_SIZE", bytes.to_string());
        }
        let mut child = command.spawn().expect("node starts");
        let life = child.stdin.take().expect("it is piped");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("its output is text");
        let port = line.trim().parse().unwrap_or_else(|_| {
            panic!("pouchdb-server does not say its port but {line:?}; `scripts/install-deps.sh test` installs it")
        });
        CouchDb { child, port, _life: life }
    }

    /// Its URL, with databases that nobody has used before. It is patient, since
    /// machines that run tests are busy.
    pub fn url(&self) -> String {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        self.url_of(&format!("t{number}_"))
    }

    /// Its URL, with the databases of this prefix.
    pub fn url_of(&self, prefix: &str) -> String {
        format!("couchdb://whisk:secret@127.0.0.1:{}/?prefix={prefix}&patience=60s", self.port)
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
