//! Controllers and invokers on a real Kafka and a real PostgreSQL, with NGINX in
//! front: each a process that can be killed and started again.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::{Builder, Client, GUEST, Kafka, Nginx, Origin, Postgres, SYSTEM, Server, Stopped, eventually};

/// Longest that all processes may take until they know each other.
const WHOLE: Duration = Duration::from_secs(120);
/// Memory of an invoker for containers: a few of them, on any machine.
const MEMORY: &str = "1 GB";
/// Tells the clusters of one test process apart, on a Kafka that they share.
static NUMBER: AtomicU32 = AtomicU32::new(0);
/// The one of this process, while any test has it.
static SHARED: Mutex<Weak<Mutex<Cluster>>> = Mutex::new(Weak::new());

/// A running cluster. It ends with this value.
pub struct Cluster {
    nginx: Nginx,
    controllers: Vec<Seat>,
    invokers: Vec<Seat>,
    kafka: Arc<Kafka>,
    database: Arc<Postgres>,
    store: String,
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

    /// The same, on a database that keeps what it took when it is killed.
    #[track_caller]
    pub fn durable(controllers: usize, invokers: usize) -> Cluster {
        Cluster::on(Arc::new(Postgres::durable()), controllers, invokers, |settings| settings)
    }

    /// The same, with further settings for all processes.
    #[track_caller]
    pub fn with(controllers: usize, invokers: usize, more: impl Fn(Builder) -> Builder) -> Cluster {
        Cluster::on(Postgres::shared(), controllers, invokers, more)
    }

    #[track_caller]
    fn on(database: Arc<Postgres>, controllers: usize, invokers: usize, more: impl Fn(Builder) -> Builder) -> Cluster {
        let kafka = Kafka::shared();
        let store = database.database();
        let prefix = format!("test{}-{}-", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let settings = || {
            let settings = database.serving(&store).flag("--kafka", &kafka.brokers()).flag("--topic-prefix", &prefix);
            more(settings)
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
        let mut cluster = Cluster { nginx, controllers, invokers, kafka, database, store };
        cluster.heal();
        cluster
    }

    /// The one that the tests of this process share, two controllers and three
    /// invokers, for one test at a time and whole again for each. The last to
    /// drop it stops it.
    #[track_caller]
    pub fn shared() -> Arc<Mutex<Cluster>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let started = Arc::new(Mutex::new(Cluster::start(2, 3)));
        *shared = Arc::downgrade(&started);
        started
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
            if up == count { Ok(()) } else { Err(format!("{known}; the controller says:\n{}", controller.output())) }
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
    pub fn database(&self) -> &Postgres {
        &self.database
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
