//! Settings, with their units.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use whisker_entity::Millis;

/// The wall clock. Read where something is due, and nowhere else.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// How a process takes part in the bus.
#[derive(Clone)]
pub struct Config {
    /// Where to find the cluster: `host:port`, several with commas between.
    pub brokers: String,
    /// What the names of all topics and groups begin with.
    pub prefix: String,
    /// How topics are made that are not there.
    pub topics: Topics,
    /// How to speak to brokers.
    pub security: Security,
    /// Longest message. Larger results travel as ids.
    pub max_message_bytes: usize,
    /// Longest that a message may take to be durable. What takes longer is
    /// refused; so is a start that cannot be claimed in that time.
    pub send_timeout: Duration,
    /// Messages that may wait to be sent; more are refused as full.
    pub max_unsent: usize,
    /// A reader that is silent for so long loses what it reads. Brokers allow
    /// 6 s or more.
    pub session_timeout: Duration,
    /// An invoker that does not ping for so long is offline.
    pub offline_after: Duration,
    /// Messages that an invoker may hold whose records are not safe; while
    /// there are more, it reads none.
    pub max_held: usize,
    /// Memory for messages that were read and not received yet; while there
    /// are more, none is read.
    pub max_queued_bytes: usize,
    /// Messages that may wait for their next run, in the whole of it; while
    /// there are more, no failed run is followed by another.
    pub max_aside: usize,
    /// Claims that are remembered: what comes twice with more than so many
    /// others in between may be taken for something new, or for interrupted.
    pub claims_kept: usize,
    /// Topics of their own, by namespace or by `namespace/[package/]action`.
    /// All controllers and invokers need the same.
    pub own_topics: BTreeMap<String, String>,
    /// Further properties of librdkafka, as its documentation names them.
    pub properties: BTreeMap<String, String>,
    /// The wall clock.
    pub clock: Clock,
}

impl Config {
    /// Settings for a cluster at `brokers`, in plain text.
    pub fn new(brokers: impl Into<String>, clock: Clock) -> Self {
        Self {
            brokers: brokers.into(),
            prefix: String::new(),
            topics: Topics::default(),
            security: Security::default(),
            max_message_bytes: 1024 * 1024 + 6068,
            send_timeout: Duration::from_secs(10),
            max_unsent: 20_000,
            session_timeout: Duration::from_secs(10),
            offline_after: Duration::from_secs(10),
            max_held: 4096,
            max_queued_bytes: 64 << 20,
            max_aside: 100_000,
            claims_kept: 500_000,
            own_topics: BTreeMap::new(),
            properties: BTreeMap::new(),
            clock,
        }
    }
}

/// Secrets stay out of it; the rest is for the log.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("brokers", &self.brokers)
            .field("prefix", &self.prefix)
            .field("topics", &self.topics)
            .field("security", &self.security)
            .field("properties", &self.properties.keys())
            .finish_non_exhaustive()
    }
}

/// How topics are made. Those that are there are left as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Partitions of the topics that carry activations.
    pub partitions: i32,
    /// Copies of each partition, on as many brokers.
    pub replication: i32,
    /// How long activations are kept, and what says who has them.
    pub activations: Duration,
    /// How long acknowledgements, pings and events are kept.
    pub signals: Duration,
    /// How long cache invalidations are kept.
    pub invalidations: Duration,
    /// Size of a topic's files; what is older goes, also before its time.
    pub retention_bytes: u64,
    /// Size of one of its files.
    pub segment_bytes: u64,
}

/// OpenWhisk's.
impl Default for Topics {
    fn default() -> Self {
        Self {
            partitions: 1,
            replication: 1,
            activations: Duration::from_secs(48 * 3600),
            signals: Duration::from_secs(3600),
            invalidations: Duration::from_secs(300),
            retention_bytes: 1 << 30,
            segment_bytes: 512 << 20,
        }
    }
}

/// How to speak to brokers, and as whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// With TLS, if there is any of this.
    pub tls: Option<Tls>,
    /// As a user, if there is one.
    pub user: Option<User>,
}

/// TLS with brokers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Who vouches for brokers, as a file in PEM; else the host's authorities.
    pub authorities: Option<PathBuf>,
    /// A certificate of ours, and its key, as files in PEM.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// A user, by SASL.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// How the password is shown.
    pub mechanism: Mechanism,
    /// The user's name.
    pub name: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("mechanism", &self.mechanism).field("name", &self.name).finish_non_exhaustive()
    }
}

/// How a password is shown to a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// As it is: for TLS.
    Plain,
    /// By a challenge, with SHA-256.
    ScramSha256,
    /// By a challenge, with SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// Its name in SASL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}
