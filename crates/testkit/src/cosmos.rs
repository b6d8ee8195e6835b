//! A server of Cosmos DB's SQL API: npm's `@vercel/cosmosdb-server`, in memory.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::Certificate;

/// The account's key.
const KEY: &str = "d2hpc2tlcidzIHRlc3Rz";

/// A running server, which ends with this value or with this process.
pub struct Cosmos {
    child: Child,
    port: u16,
    certificate: Certificate,
    /// It ends when this does.
    _life: ChildStdin,
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
        Cosmos { child, port, certificate, _life: life }
    }

    /// Its URL, with a database that nobody has used before. It is patient,
    /// since machines that run tests are busy.
    pub fn url(&self) -> String {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let ca = self.certificate.path().display().to_string();
        format!("cosmos://localhost:{}/t{number}?patience=60s&ca={ca}", self.port)
    }

    /// The key that it wants requests to be signed with.
    pub fn key(&self) -> &'static str {
        KEY
    }
}

impl Drop for Cosmos {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
