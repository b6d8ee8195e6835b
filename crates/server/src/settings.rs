//! Settings: flags, over `WHISKER_…` variables, over a file, over defaults.
//!
//! One table holds them all, as flags. A settings file is TOML with the same
//! names (`port = 8080`, or grouped: `[action] memory-max = "1 GB"` is
//! `--action-memory-max`); its values take the place of the defaults, so that
//! they are read, checked and explained like flags, and an unknown name is an
//! error and not a wish that goes unheard.

mod reading;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
pub use reading::read;

use crate::{
    cluster::{Cluster, Placing},
    discovery::Discovery,
    docker::Docker,
    observers::Observing,
    preparing::Preparing,
    proxies::Cidr,
    units::{Size, duration},
};

/// Functions on your own machine: Apache OpenWhisk's API in one binary.
#[derive(Debug, Parser)]
#[command(name = "whisker", version, max_term_width = 100)]
pub struct Whisker {
    /// What to do.
    #[command(subcommand)]
    pub role: Role,
}

/// What the process does.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Serve everything in one process: REST API, load balancing and containers.
    #[command(after_help = SERVE_HELP)]
    Serve(Box<Serve>),
    /// Serve the REST API of a cluster, and choose the invokers. Any number of them.
    #[command(after_help = CONTROLLER_HELP)]
    Controller(Box<Controller>),
    /// Run functions for the controllers of a cluster. Any number of them.
    #[command(after_help = INVOKER_HELP)]
    Invoker(Box<Invoker>),
    /// Say what this host offers for containers, what is missing and how to get it.
    #[command(after_help = DOCTOR_HELP)]
    Doctor(Box<Doctor>),
    /// Manage users, their keys, and limits of namespaces, whether a server runs or not.
    #[command(after_help = ADMIN_HELP)]
    Admin(Admin),
    /// Copy a store to another, see whether all that is in one is understood, or what one refused.
    #[command(after_help = STORE_HELP)]
    Store(StoreCommand),
}

const STORE_HELP: &str = "\
A store is sqlite (the user's data folder), sqlite:FOLDER, or a URL as --store of
`whisker serve` takes it. No server should use either while it is copied; a
sqlite folder that a server has is refused. Where users' keys are encrypted, the
settings of the server for that are needed; the copy is encrypted if they say so
(in a CouchDB or a Cosmos DB with users=sealed in the URL).

Try it:
  whisker store check sqlite
  whisker store copy sqlite postgres://whisker@db.example/whisker?sslmode=verify-full";

/// Settings of `whisker store`.
#[derive(Debug, Args)]
pub struct StoreCommand {
    /// What is encrypted in them.
    #[command(flatten)]
    pub keys: Keys,
    /// What to do.
    #[command(subcommand)]
    pub action: StoreAction,
}

/// What can be done with stores.
#[derive(Debug, Subcommand)]
pub enum StoreAction {
    /// Copy everything from one store to an empty one, and compare them
    Copy {
        /// What is copied
        from: String,
        /// What it is copied to
        to: String,
        /// File with the password for FROM; WHISKER_FROM_PASSWORD is the other way
        #[arg(long, value_name = "FILE")]
        from_password_file: Option<PathBuf>,
        /// File with the password for TO; WHISKER_TO_PASSWORD is the other way
        #[arg(long, value_name = "FILE")]
        to_password_file: Option<PathBuf>,
        /// Go on with a copy that was broken off: what TO has already is left as it is
        #[arg(long)]
        resume: bool,
    },
    /// Read everything, and say what is not understood, and which actions would not run. Exit
    /// status 0: all is understood
    Check {
        /// The store
        store: String,
        /// File with the password or key for it; WHISKER_STORE_PASSWORD is the other way
        #[arg(long, alias = "store-password-file", value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Show the records that a server's store refused: a line of JSON each, with the reason
    Refused {
        /// refused-records.jsonl, or another one of the data folder, under the name it has there
        file: PathBuf,
    },
}

const DOCTOR_HELP: &str = "\
It takes the settings of `whisker serve`, and tries what a start with them would
try, beside a server that runs or without one. Exit status 0: containers can be
made; 1: they cannot.

Try it:
  whisker doctor
  whisker doctor --network none --json";

/// Settings of `whisker doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Answer with one JSON object
    #[arg(long)]
    pub json: bool,
    /// Those of the server that would be started.
    #[command(flatten)]
    pub serve: Serve,
}

const ADMIN_HELP: &str = "\
The commands, their words and their exit codes are those of OpenWhisk's wskadmin.
A running server is asked through its data folder, and changes count at once; if
none runs, the store itself is changed. So this is for whoever may open the
folder: the server's user, or root; or for whoever may write the database that
--store names.

Try it:
  whisker admin user create alice
  whisker admin limits set alice --invocationsPerMinute 600 --maxActionMemory 1024
  whisker admin user block alice
  whisker admin secrets renew";

/// Settings of `whisker admin`.
#[derive(Debug, Args)]
pub struct Admin {
    /// Folder that the server keeps everything in [default: whisker below the user's data folder]
    #[arg(long, env = "WHISKER_DATA_DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// Settings file of the server, for its data folder
    #[arg(long, env = "WHISKER_SETTINGS", global = true)]
    pub settings: Option<PathBuf>,
    /// Which store
    #[command(flatten)]
    pub store: Store,
    /// What is encrypted in it.
    #[command(flatten)]
    pub keys: Keys,
    /// What to do.
    #[command(subcommand)]
    pub command: whisker_admin::Command,
}

const SERVE_HELP: &str = "\
Every setting is also a variable (WHISKER_PORT=8080) and a line of the settings
file (port = 8080, or grouped: [action] memory-max = \"1 GB\"). A flag wins over
a variable, a variable over the file.

Try it:
  whisker serve
  curl -u $KEY http://127.0.0.1:3233/api/v1/namespaces/_/actions
where KEY is shown at the first start.";

const CONTROLLER_HELP: &str = "\
Controllers and invokers of a cluster share Kafka and a store: the same --kafka
and the same --store for all of them. Settings are read as `whisker serve` reads
them, and one file may do for all. GET /ready says what is still missing.

Try it:
  whisker controller --id 0 --kafka kafka.example:9092 --store postgres://whisker@db.example/whisker";

/// Settings of `whisker controller`.
#[derive(Debug, Args)]
pub struct Controller {
    /// Name of this controller, which no other one of the cluster has
    #[arg(long, env = "WHISKER_ID", default_value = "0", help_heading = "Cluster")]
    pub id: String,
    /// Where the others are.
    #[command(flatten)]
    pub cluster: Cluster,
    /// How it finds the invokers.
    #[command(flatten)]
    pub discovery: Discovery,
    /// How invokers are chosen.
    #[command(flatten)]
    pub placing: Placing,
    /// Those that it has in common with a server.
    #[command(flatten)]
    pub serve: Serve,
}

const INVOKER_HELP: &str = "\
Controllers and invokers of a cluster share Kafka and a store: the same --kafka
and the same --store for all of them. Settings are read as `whisker serve` reads
them, and one file may do for all. GET /ready says what is still missing; nobody
else asks an invoker anything.

Try it:
  whisker invoker --kafka kafka.example:9092 --store postgres://whisker@db.example/whisker";

/// Settings of `whisker invoker`.
#[derive(Debug, Args)]
pub struct Invoker {
    /// Number of this invoker, which no other one of the cluster has: 0, 1 and so on without gaps
    #[arg(long, env = "WHISKER_ID", conflicts_with = "unique_name", help_heading = "Cluster")]
    pub id: Option<u32>,
    /// Name of this invoker, for which the store keeps a number: the same one for ever [default: the host's name]
    #[arg(long, env = "WHISKER_UNIQUE_NAME", help_heading = "Cluster")]
    pub unique_name: Option<String>,
    /// Where the others are.
    #[command(flatten)]
    pub cluster: Cluster,
    /// How controllers find it.
    #[command(flatten)]
    pub discovery: Discovery,
    /// Those that it has in common with a server.
    #[command(flatten)]
    pub serve: Serve,
}

/// Settings of `whisker serve`.
#[derive(Debug, Args)]
#[command(next_line_help = false)]
pub struct Serve {
    /// Address to listen on. On loopback OpenWhisk's well-known standalone keys
    /// work; elsewhere random keys are made and shown once
    #[arg(long, env = "WHISKER_LISTEN", default_value = "127.0.0.1", help_heading = "Serving")]
    pub listen: IpAddr,
    /// Port to listen on; 0 takes a free one
    #[arg(long, env = "WHISKER_PORT", default_value = "3233", help_heading = "Serving")]
    pub port: u16,
    /// Serve HTTPS with the certificate chain in this file (PEM), HTTP/2 included. It is read again on SIGHUP
    /// and when the files change
    #[arg(long, env = "WHISKER_TLS_CERT", requires = "tls_key", help_heading = "Serving")]
    pub tls_cert: Option<PathBuf>,
    /// File with that certificate's private key (PEM)
    #[arg(long, env = "WHISKER_TLS_KEY", requires = "tls_cert", help_heading = "Serving")]
    pub tls_key: Option<PathBuf>,
    /// Proxy, or network of proxies (10.0.0.0/8), whose X-Forwarded-For says who asks; may be given several times
    #[arg(long, env = "WHISKER_TRUSTED_PROXY", value_delimiter = ',', help_heading = "Serving")]
    pub trusted_proxy: Vec<Cidr>,
    /// Folder for everything that is kept [default: whisker below the user's data folder]
    #[arg(long, env = "WHISKER_DATA_DIR", help_heading = "Serving")]
    pub data_dir: Option<PathBuf>,
    /// Settings file (TOML); names are those of the flags
    #[arg(long, env = "WHISKER_SETTINGS", help_heading = "Serving")]
    pub settings: Option<PathBuf>,
    /// Connections at once; more wait to be accepted
    #[arg(long, env = "WHISKER_CONNECTIONS_MAX", default_value = "10000", help_heading = "Serving")]
    pub connections_max: usize,
    /// Connections of one address at once; more are answered 429. Neither loopback nor a --trusted-proxy is counted
    #[arg(long, env = "WHISKER_CONNECTIONS_PER_ADDRESS", default_value = "1000", help_heading = "Serving")]
    pub connections_per_address: usize,
    /// Threads that serve requests [default: half the processors, as containers need the rest]
    #[arg(long, env = "WHISKER_THREADS", help_heading = "Serving")]
    pub threads: Option<std::num::NonZeroUsize>,
    /// How long a shutdown lets running activations finish
    #[arg(long, env = "WHISKER_SHUTDOWN_GRACE", default_value = "30s", value_parser = duration, help_heading = "Serving")]
    pub shutdown_grace: Duration,
    /// URL by which actions reach this API, given to them as __OW_API_HOST
    /// [default: where it listens; with --network nat their gateway, where it answers]
    #[arg(long, env = "WHISKER_API_HOST", help_heading = "Serving")]
    pub api_host: Option<String>,
    /// How log lines look
    #[arg(long, env = "WHISKER_LOG_FORMAT", default_value = "text", help_heading = "Serving")]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug or trace, also by module (info,whisker_invoker=debug)
    #[arg(long, env = "WHISKER_LOG", default_value = "info", help_heading = "Serving")]
    pub log: String,

    /// Who looks on.
    #[command(flatten)]
    pub observing: Observing,

    /// Which store
    #[command(flatten)]
    pub store: Store,
    /// What an accepted activation survives: the end of this process, or a power cut (slower)
    #[arg(long, env = "WHISKER_DURABILITY", default_value = "process", help_heading = "Keeping")]
    pub durability: Durability,
    /// Activation records older than this are forgotten [default: 30days; none in a CouchDB or Cosmos DB]
    #[arg(long, env = "WHISKER_ACTIVATIONS_MAX_AGE", value_parser = duration, help_heading = "Keeping")]
    pub activations_max_age: Option<Duration>,
    /// Beyond so many activation records the oldest are forgotten [default: 10000000; none in a CouchDB or Cosmos DB]
    #[arg(long, env = "WHISKER_ACTIVATIONS_MAX_COUNT", help_heading = "Keeping")]
    pub activations_max_count: Option<u64>,
    /// Accepted activations that wait or run; more are refused with 503
    #[arg(long, env = "WHISKER_QUEUE_MAX", default_value = "100000", help_heading = "Keeping")]
    pub queue_max: usize,
    /// Failed activations that wait for their next run or to be told of; beyond it none is retried
    #[arg(long, env = "WHISKER_RETRIES_MAX", default_value = "10000", help_heading = "Keeping")]
    pub retries_max: usize,

    /// What is encrypted.
    #[command(flatten)]
    pub keys: Keys,

    /// What runs user code: sandboxed processes of this host, or containers of a Docker daemon
    #[arg(long, env = "WHISKER_CONTAINERS", default_value = "sandbox", help_heading = "Containers")]
    pub containers: Containers,
    /// Memory for containers [default: 60 % of the machine's]
    #[arg(long, env = "WHISKER_CONTAINER_MEMORY", help_heading = "Containers")]
    pub container_memory: Option<Size>,
    /// What containers reach: the outside and the API, but nothing else of this host (nat, needs root), nothing, or all the host does
    #[arg(long, env = "WHISKER_NETWORK", default_value = "nat", help_heading = "Containers")]
    pub network: Network,
    /// Networks that containers do not reach under nat, such as 10.0.0.0/8; may be given several times
    #[arg(long, env = "WHISKER_NETWORK_DENY", value_delimiter = ',', help_heading = "Containers")]
    pub network_deny: Vec<String>,
    /// Hosts, beside the store's, that this process needs and its containers
    /// have no business with. Not read: a role knows its own.
    #[arg(skip)]
    pub needed_hosts: Vec<String>,
    /// Cgroup below which containers are put; one delegated to the server's user if that is not root
    #[arg(long, env = "WHISKER_CGROUP_PARENT", default_value = "whisker", help_heading = "Containers")]
    pub cgroup_parent: String,
    /// Idle time after which a container is paused
    #[arg(long, env = "WHISKER_PAUSE_GRACE", default_value = "10s", value_parser = duration, help_heading = "Containers")]
    pub pause_grace: Duration,
    /// Idle time after which a container is removed
    #[arg(long, env = "WHISKER_KEEP_WARM", default_value = "5m", value_parser = duration, help_heading = "Containers")]
    pub keep_warm: Duration,
    /// Whether that goes for all (fixed), or is how much idling one start is worth and each
    /// action's own past decides (learnt)
    #[arg(long, env = "WHISKER_KEEP_WARM_POLICY", default_value = "fixed", help_heading = "Containers")]
    pub keep_warm_policy: KeepWarmPolicy,
    /// Start no runtimes before they are needed
    #[arg(long, env = "WHISKER_NO_PREWARM", help_heading = "Containers")]
    pub no_prewarm: bool,
    /// Run user code WITHOUT isolation, as plain processes. Only for code you trust
    #[arg(long, env = "WHISKER_INSECURE_NO_SANDBOX", help_heading = "Containers")]
    pub insecure_no_sandbox: bool,

    /// With `--containers sandbox`.
    #[command(flatten)]
    pub preparing: Preparing,
    /// With `--containers docker`.
    #[command(flatten)]
    pub docker: Docker,

    /// Longest time limit that an action may have
    #[arg(long, env = "WHISKER_ACTION_TIMEOUT_MAX", default_value = "5m", value_parser = duration, help_heading = "Limits")]
    pub action_timeout_max: Duration,
    /// Most memory that an action may have
    #[arg(long, env = "WHISKER_ACTION_MEMORY_MAX", default_value = "512 MB", help_heading = "Limits")]
    pub action_memory_max: Size,
    /// Most log that an action may have kept
    #[arg(long, env = "WHISKER_ACTION_LOGS_MAX", default_value = "10 MB", help_heading = "Limits")]
    pub action_logs_max: Size,
    /// Most runs that an action may have overlap in one container
    #[arg(long, env = "WHISKER_ACTION_CONCURRENCY_MAX", default_value = "1", help_heading = "Limits")]
    pub action_concurrency_max: u32,
    /// Longest code of an action
    #[arg(long, env = "WHISKER_ACTION_CODE_MAX", default_value = "48 MB", help_heading = "Limits")]
    pub action_code_max: Size,
    /// Longest payload of an invocation, and longest result
    #[arg(long, env = "WHISKER_PAYLOAD_MAX", default_value = "1 MB", help_heading = "Limits")]
    pub payload_max: Size,
    /// Kept of a longer result [default: as much as a result may have]
    #[arg(long, env = "WHISKER_TRUNCATION_MAX", help_heading = "Limits")]
    pub truncation_max: Option<Size>,
    /// Longest wait of a blocking invocation
    #[arg(long, env = "WHISKER_BLOCKING_WAIT", default_value = "60s", value_parser = duration, help_heading = "Limits")]
    pub blocking_wait: Duration,
    /// Invocations of a namespace a minute
    #[arg(long, env = "WHISKER_INVOCATIONS_PER_MINUTE", default_value = "1000000", help_heading = "Limits")]
    pub invocations_per_minute: u32,
    /// Activations of a namespace in flight
    #[arg(long, env = "WHISKER_CONCURRENT_INVOCATIONS", default_value = "10000", help_heading = "Limits")]
    pub concurrent_invocations: u32,
    /// Trigger fires of a namespace a minute
    #[arg(long, env = "WHISKER_FIRES_PER_MINUTE", default_value = "1000000", help_heading = "Limits")]
    pub fires_per_minute: u32,

    /// Longest time limit in a namespace without limits of its own [default: --action-timeout-max]
    #[arg(long, env = "WHISKER_NAMESPACE_TIMEOUT_MAX", value_parser = duration, help_heading = NAMESPACE_LIMITS)]
    pub namespace_timeout_max: Option<Duration>,
    /// Most memory of an action there [default: --action-memory-max]
    #[arg(long, env = "WHISKER_NAMESPACE_MEMORY_MAX", help_heading = NAMESPACE_LIMITS)]
    pub namespace_memory_max: Option<Size>,
    /// Most log of an action there [default: --action-logs-max]
    #[arg(long, env = "WHISKER_NAMESPACE_LOGS_MAX", help_heading = NAMESPACE_LIMITS)]
    pub namespace_logs_max: Option<Size>,
    /// Most overlapping runs of an action there [default: --action-concurrency-max]
    #[arg(long, env = "WHISKER_NAMESPACE_CONCURRENCY_MAX", help_heading = NAMESPACE_LIMITS)]
    pub namespace_concurrency_max: Option<u32>,
    /// Longest payload and result there [default: --payload-max]
    #[arg(long, env = "WHISKER_NAMESPACE_PAYLOAD_MAX", help_heading = NAMESPACE_LIMITS)]
    pub namespace_payload_max: Option<Size>,
}

/// Where things are kept.
#[derive(Debug, Args)]
pub struct Store {
    /// Where actions, users and records are kept: sqlite (in the data folder),
    /// postgres://USER@HOST/DATABASE[?sslmode=verify-full],
    /// couchdb://USER@HOST:5984/?prefix=PREFIX, over TLS couchdbs://, or
    /// cosmos://ACCOUNT.documents.azure.com/DATABASE; these two with users=sealed
    /// where users' keys are to be encrypted as well
    #[arg(
        id = "store",
        long = "store",
        env = "WHISKER_STORE",
        hide_env_values = true,
        default_value = "sqlite",
        value_name = "URL",
        global = true,
        help_heading = "Keeping"
    )]
    pub url: String,
    /// File with the password for it; WHISKER_STORE_PASSWORD is the other way
    #[arg(
        id = "store_password_file",
        long = "store-password-file",
        env = "WHISKER_STORE_PASSWORD_FILE",
        value_name = "FILE",
        global = true,
        help_heading = "Keeping"
    )]
    pub password_file: Option<PathBuf>,
    /// Connections to it at once, where it is a database server
    #[arg(
        id = "store_connections",
        long = "store-connections",
        env = "WHISKER_STORE_CONNECTIONS",
        default_value = "16",
        value_name = "NUMBER",
        global = true,
        help_heading = "Keeping"
    )]
    pub connections: usize,
}

/// What is encrypted where it is kept, and with which keys.
#[derive(Debug, Args)]
pub struct Keys {
    /// Whether parameters of actions and packages, users' keys and what waits on disk are encrypted, and with
    /// which kind of key
    #[arg(long, env = "WHISKER_PARAMETER_ENCRYPTION", default_value = "off", global = true, help_heading = "Keeping")]
    pub parameter_encryption: Encryption,
    /// File with the key for aes-128: the base64 of 16 random bytes. Also read to decrypt what was encrypted before
    #[arg(long, env = "WHISKER_AES_128_KEY_FILE", value_name = "FILE", global = true, help_heading = "Keeping")]
    pub aes_128_key_file: Option<PathBuf>,
    /// File with the key for aes-256: the base64 of 32 random bytes
    #[arg(long, env = "WHISKER_AES_256_KEY_FILE", value_name = "FILE", global = true, help_heading = "Keeping")]
    pub aes_256_key_file: Option<PathBuf>,
}

/// What `whisker admin limits set` may raise for one namespace, up to the limits above.
const NAMESPACE_LIMITS: &str = "Limits of namespaces that have none of their own (whisker admin limits set)";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

/// What an accepted activation survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// The end of this process.
    Process,
    /// A power cut.
    Power,
}

/// How what is encrypted is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Encryption {
    /// They are not.
    #[value(alias = "noop")]
    Off,
    /// AES-GCM with a key of 128 bits.
    #[value(name = "aes-128")]
    Aes128,
    /// AES-GCM with a key of 256 bits.
    #[value(name = "aes-256")]
    Aes256,
}

/// How long idle containers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeepWarmPolicy {
    /// For the same time.
    Fixed,
    /// For what each action's pauses between runs make worth while.
    Learnt,
}

/// What runs user code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Containers {
    /// Sandboxed processes of this host.
    Sandbox,
    /// Containers of a Docker daemon.
    Docker,
}

/// What containers reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Network {
    /// The outside, nothing of the host.
    Nat,
    /// Nothing.
    None,
    /// All that the host reaches.
    Host,
}

impl Serve {
    /// The folder for everything that is kept.
    pub fn data_dir(&self) -> anyhow::Result<PathBuf> {
        data_dir(self.data_dir.as_deref())
    }
}

impl Admin {
    /// The folder that the server keeps everything in.
    pub fn data_dir(&self) -> anyhow::Result<PathBuf> {
        data_dir(self.data_dir.as_deref())
    }
}

/// The folder that was given, or the user's.
pub fn data_dir(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(folder) = given {
        return Ok(folder.to_owned());
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    base.map(|base| base.join("whisker")).context("neither --data-dir nor HOME says where to keep data")
}
