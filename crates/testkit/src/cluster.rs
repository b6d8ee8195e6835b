//! Controllers and invokers on a real Kafka and a real PostgreSQL (or a server of
//! CouchDB's protocol), with NGINX in front: each a process that can be killed
//! and started again.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::{
    Builder, Client, CouchDb, GUEST, Kafka, Nginx, Origin, Postgres, SYSTEM, Server, Stopped, binary_path, eventually,
};

/// Longest that all processes may take until they know each other.
const WHOLE: Duration = Duration::from_secs(120);
/// Memory of an invoker for containers: a few of them, on any machine.
const MEMORY: &str = "1 GB";
/// Tells the clusters of one test process apart, on a Kafka that they share.
static NUMBER: AtomicU32 = AtomicU32::new(0);
/// The one of this process, while any test has it.
static SHARED: Mutex<Weak<Mutex<Cluster>>> = Mutex::new(Weak::new());
/// The one on three brokers, likewise.
static COPIED: Mutex<Weak<Mutex<Cluster>>> = Mutex::new(Weak::new());
/// A namespace of that one.
pub const TENANT: &str = "tenant";
/// Brokers of that one.
const BROKERS: usize = 3;

/// A running cluster. It ends with this value.
pub struct Cluster {
    nginx: Nginx,
    controllers: Vec<Seat>,
    invokers: Vec<Seat>,
    kafka: Arc<Kafka>,
    keeper: Keeper,
    store: String,
}

/// What keeps entities and records.
enum Keeper {
    Postgres(Arc<Postgres>),
    CouchDb(&'static CouchDb),
}

/// Where a process of the cluster is, or is to be.
struct Seat {
    settings: Builder,
    server: Option<Server>,
}

impl Seat {
    fn start(settings: Builder) -> Seat {
        let server = settings.start();
        // Its next life is where this one was.
        let settings = settings.flag("--port", &server.address().port().to_string());
        Seat { settings, server: Some(server) }
    }

    #[track_caller]
    fn server(&self) -> &Server {
        self.server.as_ref().expect("it was ended and not started again")
    }
}

impl Cluster {
    /// Makes and starts one, and waits until every controller knows that every
    /// invoker takes work.
    #[track_caller]
    pub fn start(controllers: usize, invokers: usize) -> Cluster {
        Cluster::with(controllers, invokers, |settings| settings)
    }

    /// The same, with further settings for all processes.
    #[track_caller]
    pub fn with(controllers: usize, invokers: usize, more: impl Fn(Builder) -> Builder) -> Cluster {
        Cluster::on(Kafka::shared(), Keeper::Postgres(Postgres::shared()), controllers, invokers, more)
    }

    /// The same, on a database that keeps what it took when it is killed.
    #[track_caller]
    pub fn durable(controllers: usize, invokers: usize) -> Cluster {
        let keeper = Keeper::Postgres(Arc::new(Postgres::durable()));
        Cluster::on(Kafka::shared(), keeper, controllers, invokers, |settings| settings)
    }

    /// The same, on a server of CouchDB's protocol.
    #[track_caller]
    pub fn on_couchdb(controllers: usize, invokers: usize) -> Cluster {
        Cluster::on(Kafka::shared(), Keeper::CouchDb(CouchDb::shared()), controllers, invokers, |settings| settings)
    }

    #[track_caller]
    fn on(
        kafka: Arc<Kafka>,
        keeper: Keeper,
        controllers: usize,
        invokers: usize,
        more: impl Fn(Builder) -> Builder,
    ) -> Cluster {
        let store = match &keeper {
            Keeper::Postgres(database) => database.database(),
            Keeper::CouchDb(database) => database.url(),
        };
        let prefix = format!("test{}-{}-", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let settings = || {
            let settings = match &keeper {
                Keeper::Postgres(database) => database.serving(&store),
                Keeper::CouchDb(_) => Builder::default().flag("--store", &store),
            };
            more(settings.flag("--kafka", &kafka.brokers()).flag("--topic-prefix", &prefix))
        };
        let controllers = (0..controllers)
            .map(|id| Seat::start(settings().controller(&id.to_string()).flag("--trusted-proxy", "127.0.0.1")))
            .collect::<Vec<_>>();
        let invokers = (0..invokers)
            .map(|number| {
                Seat::start(
                    settings()
                        .invoker(&format!("host-{number}"))
                        .flag("--container-memory", MEMORY)
                        .flag("--network", "host")
                        .switch("--no-prewarm"),
                )
            })
            .collect();
        let addresses: Vec<SocketAddr> = controllers.iter().map(|seat| seat.server().address()).collect();
        let nginx = Nginx::start(&addresses);
        let mut cluster = Cluster { nginx, controllers, invokers, kafka, keeper, store };
        cluster.heal();
        cluster
    }

    /// The one that the tests of this process share, two controllers and three
    /// invokers, for one test at a time and whole again for each. The last to
    /// drop it stops it.
    #[track_caller]
    pub fn shared() -> Arc<Mutex<Cluster>> {
        sharing(&SHARED, || Cluster::start(2, 3))
    }

    /// Another one, on three brokers of its own that copy to each other: two
    /// controllers and two invokers. The namespace [`TENANT`] has a topic of its own.
    #[track_caller]
    pub fn copied() -> Arc<Mutex<Cluster>> {
        sharing(&COPIED, || {
            let (kafka, keeper) = (Arc::new(Kafka::cluster(BROKERS)), Keeper::Postgres(Postgres::shared()));
            Cluster::on(kafka, keeper, 2, 2, |settings| {
                let settings = settings.flag("--topic-replication", &BROKERS.to_string());
                settings.flag("--topic-of", &format!("{TENANT}=tenant-jobs"))
            })
        })
    }

    /// Has it for one test, whole again whatever the one before did to it.
    #[track_caller]
    pub fn whole(shared: &Mutex<Cluster>) -> MutexGuard<'_, Cluster> {
        let mut cluster = shared.lock().unwrap_or_else(PoisonError::into_inner);
        cluster.heal();
        cluster
    }

    /// Starts what was ended, and waits until all know each other.
    #[track_caller]
    pub fn heal(&mut self) {
        for seat in self.controllers.iter_mut().chain(&mut self.invokers) {
            if seat.server.is_none() {
                seat.server = Some(seat.settings.start());
            }
        }
        for seat in &self.controllers {
            self.await_invokers(seat.server(), self.invokers.len());
        }
    }

    /// Waits until a controller knows that so many invokers take work.
    #[track_caller]
    pub fn await_invokers(&self, controller: &Server, count: usize) {
        eventually(WHOLE, || {
            let known = controller.anyone().get("/invokers").json();
            let up = known.as_object().map_or(0, |all| all.values().filter(|state| *state == "up").count());
            if up == count {
                return Ok(());
            }
            let invokers = self.invokers.iter().filter_map(|seat| seat.server.as_ref());
            let said: String = invokers.map(|invoker| invoker.output() + "\n").collect();
            Err(format!("{known}; the controller says:\n{}\nthe invokers:\n{said}", controller.output()))
        });
    }

    /// The entry for everyone.
    pub fn origin(&self) -> Origin {
        self.nginx.origin()
    }

    /// NGINX.
    pub fn nginx(&self) -> &Nginx {
        &self.nginx
    }

    /// A client for `guest`, through NGINX.
    pub fn guest(&self) -> Client {
        Client::at(self.origin(), Some(GUEST))
    }

    /// A client for `whisk.system`, through NGINX.
    pub fn system(&self) -> Client {
        Client::at(self.origin(), Some(SYSTEM))
    }

    /// One of the controllers.
    #[track_caller]
    pub fn controller(&self, index: usize) -> &Server {
        self.controllers[index].server()
    }

    /// How many there are.
    pub fn controllers(&self) -> usize {
        self.controllers.len()
    }

    /// One of the invokers.
    #[track_caller]
    pub fn invoker(&self, index: usize) -> &Server {
        self.invokers[index].server()
    }

    /// How many there are.
    pub fn invokers(&self) -> usize {
        self.invokers.len()
    }

    /// Settings of another process that takes itself for a controller.
    #[track_caller]
    pub fn twin_of_controller(&self, index: usize) -> Builder {
        self.controllers[index].settings.elsewhere().flag("--port", "0")
    }

    /// Kills a controller, as a power cut would.
    #[track_caller]
    pub fn kill_controller(&mut self, index: usize) -> Stopped {
        take(&mut self.controllers[index]).kill()
    }

    /// Asks a controller to end, and waits until it did.
    #[track_caller]
    pub fn stop_controller(&mut self, index: usize) -> Stopped {
        take(&mut self.controllers[index]).stop()
    }

    /// Starts a controller that was ended.
    #[track_caller]
    pub fn start_controller(&mut self, index: usize) {
        let seat = &mut self.controllers[index];
        seat.server = Some(seat.settings.start());
    }

    /// Kills an invoker, as a power cut would.
    #[track_caller]
    pub fn kill_invoker(&mut self, index: usize) -> Stopped {
        take(&mut self.invokers[index]).kill()
    }

    /// Asks an invoker to end, and waits until it did.
    #[track_caller]
    pub fn stop_invoker(&mut self, index: usize) -> Stopped {
        take(&mut self.invokers[index]).stop()
    }

    /// Starts an invoker that was ended.
    #[track_caller]
    pub fn start_invoker(&mut self, index: usize) {
        let seat = &mut self.invokers[index];
        seat.server = Some(seat.settings.start());
    }

    /// Its Kafka.
    pub fn kafka(&self) -> &Kafka {
        &self.kafka
    }

    /// Its database server.
    #[track_caller]
    pub fn database(&self) -> &Postgres {
        match &self.keeper {
            Keeper::Postgres(database) => database,
            Keeper::CouchDb(_) => panic!("it is on CouchDB"),
        }
    }

    /// `uuid:key` of a new user with these limits, as `wskadmin` names them.
    #[track_caller]
    pub fn user(&self, name: &str, limits: &str) -> String {
        let key = self.administer(&format!("user create {name}"));
        self.administer(&format!("limits set {name} {limits}"));
        key
    }

    /// Asks the store, as whoever administers it from a machine of the cluster.
    #[track_caller]
    fn administer(&self, line: &str) -> String {
        let mut command = Command::new(binary_path());
        // Of no server, least of all of one of whoever runs the tests.
        let nowhere = self.controllers[0].settings.data_dir().join("none");
        command
            .args(["admin", "--store", &self.store, "--data-dir"])
            .arg(nowhere)
            .args(line.split_whitespace())
            .stdin(Stdio::null());
        if let Keeper::Postgres(database) = &self.keeper {
            command.env("WHISKER_STORE_PASSWORD", database.password());
        }
        let output = command.output().expect("the binary starts");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// The URL of its store, without password.
    pub fn store(&self) -> &str {
        &self.store
    }
}

#[track_caller]
fn take(seat: &mut Seat) -> Server {
    seat.server.take().expect("it was ended before")
}

/// The one that is running, or a new one.
#[track_caller]
fn sharing(shared: &Mutex<Weak<Mutex<Cluster>>>, start: impl FnOnce() -> Cluster) -> Arc<Mutex<Cluster>> {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = shared.upgrade() {
        return running;
    }
    let started = Arc::new(Mutex::new(start()));
    *shared = Arc::downgrade(&started);
    started
}
