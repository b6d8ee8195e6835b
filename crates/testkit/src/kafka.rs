//! A real Apache Kafka, for tests that need one: one broker or several, on free
//! ports of loopback, stopped and started again when asked to, and gone with
//! the test. It coordinates itself (KRaft), or stands on a ZooKeeper.

use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{Certificate, child::Child, eventually};

/// Longest that a start may take before the test fails.
const START: Duration = Duration::from_secs(120);
/// What names a cluster; any 16 bytes in base64 do.
const CLUSTER: &str = "4L6g3nShT-eMCtK--X86sw";
/// The release that the tests are made with; the last that knows ZooKeeper.
const VERSION: &str = "3.9.1";

/// A cluster of its own, below a temporary folder.
pub struct Kafka {
    folder: TempDir,
    brokers: Vec<Broker>,
    /// What it stands on, if not on itself.
    _zookeeper: Option<ZooKeeper>,
    /// Its second door, if it has one.
    secure: Option<Secure>,
}

/// A door with TLS, for those who have a password.
struct Secure {
    port: u16,
    certificate: Certificate,
}

struct Broker {
    port: u16,
    settings: PathBuf,
    process: Mutex<Option<Child>>,
}

/// The one of this process, while any test has it.
static SHARED: Mutex<Weak<Kafka>> = Mutex::new(Weak::new());

impl Kafka {
    /// The one that the tests of this process share, each with a prefix of its
    /// own. The last to drop it stops it.
    #[track_caller]
    pub fn shared() -> Arc<Kafka> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let started = Arc::new(Kafka::start());
        *shared = Arc::downgrade(&started);
        started
    }

    /// One broker, which coordinates itself.
    #[track_caller]
    pub fn start() -> Kafka {
        Kafka::cluster(1)
    }

    /// So many brokers, which coordinate themselves and copy to each other:
    /// what is acknowledged is on two of them.
    #[track_caller]
    pub fn cluster(brokers: usize) -> Kafka {
        Kafka::coordinated(brokers, None)
    }

    /// One broker with a second door: TLS, and SASL by `PLAIN` or
    /// `SCRAM-SHA-512` for the user [`USER`](Self::USER).
    #[track_caller]
    pub fn secured() -> Kafka {
        Kafka::coordinated(1, Some(Secure { port: free_port(), certificate: Certificate::new(&["127.0.0.1"]) }))
    }

    fn coordinated(brokers: usize, secure: Option<Secure>) -> Kafka {
        let folder = TempDir::with_prefix("whisker-kafka-").expect("a temporary folder");
        let ports: Vec<(u16, u16)> = (0..brokers).map(|_| (free_port(), free_port())).collect();
        let voters: Vec<String> =
            ports.iter().enumerate().map(|(id, (_, port))| format!("{id}@127.0.0.1:{port}")).collect();
        let make = |(id, (port, controller)): (usize, &(u16, u16))| {
            let door =
                secure.as_ref().map_or(String::new(), |Secure { port, .. }| format!(",SECURE://127.0.0.1:{port}"));
            let mut text = format!(
                "process.roles=broker,controller\nnode.id={id}\ncontroller.quorum.voters={}\n\
                 listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{door}\n\
                 advertised.listeners=PLAINTEXT://127.0.0.1:{port}{door}\n\
                 controller.listener.names=CONTROLLER\n\
                 listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL\n",
                voters.join(",")
            );
            if let Some(secure) = &secure {
                text.push_str(&secure.settings(folder.path()));
            }
            let broker = Broker::new(folder.path(), id, *port, &text, brokers);
            broker.format();
            broker
        };
        let brokers = ports.iter().enumerate().map(make).collect();
        Kafka::run(folder, brokers, None, secure)
    }

    /// One broker on a ZooKeeper of its own.
    #[track_caller]
    pub fn on_zookeeper() -> Kafka {
        let zookeeper = ZooKeeper::start();
        let folder = TempDir::with_prefix("whisker-kafka-").expect("a temporary folder");
        let port = free_port();
        let text = format!(
            "broker.id=0\nlisteners=PLAINTEXT://127.0.0.1:{port}\nadvertised.listeners=PLAINTEXT://127.0.0.1:{port}\nzookeeper.connect={}\n",
            zookeeper.address()
        );
        let broker = Broker::new(folder.path(), 0, port, &text, 1);
        Kafka::run(folder, vec![broker], Some(zookeeper), None)
    }

    fn run(folder: TempDir, brokers: Vec<Broker>, zookeeper: Option<ZooKeeper>, secure: Option<Secure>) -> Kafka {
        brokers.iter().for_each(Broker::spawn);
        let kafka = Kafka { folder, brokers, _zookeeper: zookeeper, secure };
        (0..kafka.brokers.len()).for_each(|id| kafka.await_ready(id));
        kafka
    }

    /// `host:port` of each broker, with commas between.
    pub fn brokers(&self) -> String {
        let addresses: Vec<String> = self.brokers.iter().map(|broker| format!("127.0.0.1:{}", broker.port)).collect();
        addresses.join(",")
    }

    /// The user that its second door knows, and the password.
    pub const USER: (&str, &str) = ("whisker", "correct horse");

    /// `host:port` of its second door, and who vouches for it, as a file in PEM.
    #[track_caller]
    pub fn secure(&self) -> (String, PathBuf) {
        let Secure { port, certificate } = self.secure.as_ref().expect("one that was made secured");
        (format!("127.0.0.1:{port}"), certificate.path())
    }

    /// Ends a broker at once, as a crash would.
    pub fn kill(&self, broker: usize) {
        self.brokers[broker].end(Signal::KILL);
    }

    /// Ends a broker in order.
    pub fn stop(&self, broker: usize) {
        self.brokers[broker].end(Signal::TERM);
    }

    /// Starts a broker again, on the same port and data.
    #[track_caller]
    pub fn resume(&self, broker: usize) {
        self.brokers[broker].spawn();
        self.await_ready(broker);
    }

    /// Ends all brokers at once, as a power cut would.
    pub fn kill_all(&self) {
        (0..self.brokers.len()).for_each(|broker| self.kill(broker));
    }

    /// Starts all brokers again: they need each other.
    #[track_caller]
    pub fn resume_all(&self) {
        self.brokers.iter().for_each(Broker::spawn);
        (0..self.brokers.len()).for_each(|broker| self.await_ready(broker));
    }

    /// Has all brokers hang.
    pub fn freeze_all(&self) {
        (0..self.brokers.len()).for_each(|broker| self.freeze(broker));
    }

    /// Lets all go on.
    pub fn thaw_all(&self) {
        (0..self.brokers.len()).for_each(|broker| self.thaw(broker));
    }

    /// Has a broker hang: it takes connections and says nothing any more.
    pub fn freeze(&self, broker: usize) {
        self.brokers[broker].signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self, broker: usize) {
        self.brokers[broker].signal(Signal::CONT);
    }

    /// What a broker wrote to its log.
    pub fn log(&self, broker: usize) -> String {
        fs::read_to_string(self.folder.path().join(format!("{broker}.log"))).unwrap_or_default()
    }

    /// It takes connections only when it is ready to serve them, and says so.
    #[track_caller]
    fn await_ready(&self, broker: usize) {
        let Broker { port, process, .. } = &self.brokers[broker];
        let log = || fs::read_to_string(self.folder.path().join(format!("{broker}.log"))).unwrap_or_default();
        eventually(START, || {
            let mut process = process.lock().unwrap_or_else(PoisonError::into_inner);
            assert!(process.as_mut().is_some_and(Child::is_running), "Kafka ended: {}", log());
            // Metadata that names a broker: it has joined its cluster.
            if answers_metadata(*port) { Ok(()) } else { Err(log()) }
        });
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.brokers.iter().for_each(|broker| broker.end(Signal::KILL));
    }
}

impl Secure {
    fn settings(&self, folder: &Path) -> String {
        let store = folder.join("store.pem");
        let read = |path| fs::read_to_string(path).expect("it was put there");
        fs::write(&store, read(self.certificate.key_path()) + &read(self.certificate.path()))
            .expect("the folder is ours");
        let (name, password) = Kafka::USER;
        let login = "sasl.jaas.config=org.apache.kafka.common.security";
        format!(
            "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512\n\
             listener.name.secure.plain.{login}.plain.PlainLoginModule required user_{name}=\"{password}\";\n\
             listener.name.secure.scram-sha-512.{login}.scram.ScramLoginModule required;\n\
             listener.name.secure.ssl.keystore.type=PEM\nlistener.name.secure.ssl.keystore.location={}\n",
            store.display()
        )
    }
}

impl Broker {
    fn new(folder: &Path, id: usize, port: u16, text: &str, brokers: usize) -> Broker {
        let copies = brokers.min(3);
        let mut text = text.to_owned();
        let data = folder.join(format!("data{id}"));
        for (name, value) in [
            ("log.dirs", data.display().to_string()),
            ("offsets.topic.replication.factor", copies.to_string()),
            ("offsets.topic.num.partitions", "1".into()),
            ("transaction.state.log.replication.factor", copies.to_string()),
            ("transaction.state.log.min.isr", "1".into()),
            ("min.insync.replicas", copies.min(2).to_string()),
            ("group.initial.rebalance.delay.ms", "0".into()),
            ("group.min.session.timeout.ms", "1000".into()),
            ("auto.create.topics.enable", "false".into()),
            ("num.network.threads", "2".into()),
            ("num.io.threads", "2".into()),
            ("log.cleaner.dedupe.buffer.size", (2 << 20).to_string()),
        ] {
            writeln!(text, "{name}={value}").expect("strings take all");
        }
        let settings = folder.join(format!("{id}.properties"));
        fs::write(&settings, text).expect("the folder is writable");
        Broker { port, settings, process: Mutex::default() }
    }

    /// Makes its data folder, which knows its cluster.
    fn format(&self) {
        let mut command = java(64, "kafka.tools.StorageTool");
        command.args(["format", "-t", CLUSTER, "-c"]).arg(&self.settings);
        let (name, password) = Kafka::USER;
        command.arg("--add-scram").arg(format!("SCRAM-SHA-512=[name={name},password={password}]"));
        let output = command.output();
        let output = output.unwrap_or_else(|error| panic!("java: {error}; scripts/install-deps.sh test installs it"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn spawn(&self) {
        let mut command = java(256, "kafka.Kafka");
        let log = fs::OpenOptions::new().append(true).create(true).open(self.settings.with_extension("log"));
        let log = log.expect("the folder is writable");
        command.arg(&self.settings).stdout(log.try_clone().expect("it is a file")).stderr(log);
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(Child::start("Kafka", command));
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = &*self.process.lock().unwrap_or_else(PoisonError::into_inner) {
            process.signal(signal);
        }
    }

    fn end(&self, signal: Signal) {
        if let Some(process) = self.process.lock().unwrap_or_else(PoisonError::into_inner).take() {
            process.end(signal);
        }
    }
}

/// A real ZooKeeper, which ends with this value or with this process.
pub struct ZooKeeper {
    _folder: TempDir,
    port: u16,
    _process: Child,
}

impl ZooKeeper {
    /// Starts one.
    #[track_caller]
    pub fn start() -> ZooKeeper {
        let folder = TempDir::with_prefix("whisker-zookeeper-").expect("a temporary folder");
        let port = free_port();
        let settings = folder.path().join("zoo.cfg");
        let text = format!(
            "tickTime=2000\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n\
             4lw.commands.whitelist=*\n",
            folder.path().join("data").display()
        );
        fs::write(&settings, text).expect("the folder is writable");
        let log = folder.path().join("log");
        let file = fs::File::create(&log).expect("the folder is writable");
        let mut command = java(64, "org.apache.zookeeper.server.quorum.QuorumPeerMain");
        command.arg(&settings).stdout(file.try_clone().expect("it is a file")).stderr(file);
        let process = Child::start("ZooKeeper", command);
        eventually(START, || match asked(port, b"ruok", 4) {
            Some(answer) if answer == b"imok" => Ok(()),
            _ => Err(fs::read_to_string(&log).unwrap_or_default()),
        });
        ZooKeeper { _folder: folder, port, _process: process }
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// A class of the distribution, with so many MB of heap.
fn java(heap_mb: u32, class: &str) -> Command {
    let mut command = Command::new("java");
    command
        .arg(format!("-Xmx{heap_mb}m"))
        // Quick to start, and one thread for the rest: tests share a small machine.
        .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"])
        .args(["-Djava.net.preferIPv4Stack=true", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"])
        .arg("-cp")
        .arg(format!("{}/*", distribution().display()))
        .arg(class)
        .stdin(Stdio::null());
    command
}

/// The folder with the distribution's archives, fetched by Maven from Maven
/// Central when first asked for, and kept for all tests of all runs.
fn distribution() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let cache = cache.or_else(home).unwrap_or_else(std::env::temp_dir).join("whisker");
        let folder = cache.join(format!("kafka-{VERSION}"));
        if folder.is_dir() {
            return folder;
        }
        fs::create_dir_all(&cache).expect("the cache is writable");
        // Made beside it and moved: another process may be at it as well.
        let making = TempDir::with_prefix_in("kafka-", &cache).expect("the cache is writable");
        let project = making.path().join("pom.xml");
        fs::write(&project, project_text()).expect("the cache is writable");
        let mut maven = Command::new("mvn");
        maven.args(["-q", "-B", "-f"]).arg(&project).args([
            "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies",
            "-DoutputDirectory=lib",
            "-DincludeScope=runtime",
        ]);
        let output = maven.current_dir(making.path()).stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("mvn: {error}; scripts/install-deps.sh test installs it"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        if let Err(error) = fs::rename(making.path().join("lib"), &folder) {
            assert!(folder.is_dir(), "{}: {error}", folder.display());
        }
        folder
    })
}

fn project_text() -> String {
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>whisker</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>\
         <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>\
         <version>{VERSION}</version></dependency>\
         <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId>\
         <version>1.7.36</version></dependency></dependencies></project>"
    )
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).expect("a free port").port()
}

/// What a server says to some bytes, at least so many; nothing within a second
/// is nothing.
fn asked(port: u16, bytes: &[u8], least: usize) -> Option<Vec<u8>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    stream.write_all(bytes).ok()?;
    let mut answer = vec![0; least];
    stream.read_exact(&mut answer).ok()?;
    Some(answer)
}

/// Asks for metadata of no topic, in Kafka's protocol; whether the answer names
/// a broker and who coordinates.
fn answers_metadata(port: u16) -> bool {
    // Length, key 3 version 1, correlation 7, no client's name, no topics.
    let request = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 0];
    // Length, correlation, number of brokers.
    let Some(answer) = asked(port, &request, 12) else { return false };
    answer[4..8] == [0, 0, 0, 7] && answer[8..12] != [0, 0, 0, 0]
}
