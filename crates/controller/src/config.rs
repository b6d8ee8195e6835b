//! The controller's settings: plain values with units, defaults as OpenWhisk's.

use std::{sync::Arc, time::Duration};

use whisker_bus::ControllerId;
use whisker_entity::{Allowance, LimitRanges, MB, Manifest, NamespaceLimits};
use whisker_events::Events;
use whisker_traces::Tracer;

/// Settings of one controller.
#[derive(Debug, Clone)]
pub struct Config {
    /// Names this controller to invokers.
    pub id: ControllerId,
    /// The runtime kinds there are.
    pub manifest: Arc<Manifest>,
    /// Limits on what users ask for.
    pub limits: Limits,
    /// When this was built, as `wsk property get --apibuild` shows it.
    pub build_date: String,
    /// What was built.
    pub build_number: String,
    /// Who is told of what users do.
    pub events: Events,
    /// Who is told where the time of a request went.
    pub tracer: Tracer,
}

/// Limits of the API. Each says what happens beyond it.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Ranges of an action's limits, for every namespace: 400 outside.
    pub actions: LimitRanges,
    /// What a namespace gets whose own limits do not say; `None`: all that
    /// these limits allow.
    pub unset: Option<Allowance>,
    /// Bytes that invokers keep of a result that is too long, at most.
    pub truncation_max_bytes: u64,
    /// Invocations a minute and namespace: 429 beyond.
    pub invocations_per_minute: u32,
    /// Activations in flight of a namespace: 429 beyond.
    pub concurrent_invocations: u32,
    /// Trigger fires a minute and namespace: 429 beyond.
    pub fires_per_minute: u32,
    /// Actions in a sequence: 400 beyond.
    pub sequence_length: u32,
    /// Sequences and compositions under way at once: 503 beyond.
    pub compositions: usize,
    /// Longest code in bytes: 413 beyond.
    pub code_max_bytes: u64,
    /// Most that parameters, and annotations, of an entity take, in bytes: 413 beyond.
    pub parameters_max_bytes: u64,
    /// Longest payload of an invocation in bytes: 413 beyond.
    pub payload_max_bytes: u64,
    /// Longest body of any request in bytes: 413 beyond.
    pub body_max_bytes: u64,
    /// Bytes of bodies held at once, but for one body that may go beyond; the
    /// others wait for their share.
    pub bodies_total_bytes: u64,
    /// How long a body may take to arrive: 408 after it.
    pub body_timeout: Duration,
    /// Longest wait of a blocking invocation: 202 after it.
    pub blocking_wait: Duration,
    /// Items that a list shows at most, and when it is asked for 0.
    pub list_max: u64,
    /// Bytes of results and logs in a list of whole records: 413 beyond.
    pub listed_max_bytes: u64,
    /// Items that a list shows unasked.
    pub list_default: u64,
    /// Whether others may invoke what is in a published package, or in a
    /// binding to it, without reading it: 403.
    pub shared_packages_execute_only: bool,
    /// Failed authentications a minute and address: 429 beyond. Addresses of
    /// this host are not counted.
    pub failed_authentications_per_minute: u32,
}

impl Default for Limits {
    /// OpenWhisk's limits, save the throttles: a machine's owner should not
    /// meet one. A cluster sets its own.
    fn default() -> Self {
        Self {
            actions: LimitRanges::default(),
            unset: None,
            truncation_max_bytes: MB,
            invocations_per_minute: 1_000_000,
            concurrent_invocations: 10_000,
            fires_per_minute: 1_000_000,
            sequence_length: 50,
            compositions: 10_000,
            code_max_bytes: 48 * MB,
            parameters_max_bytes: MB,
            payload_max_bytes: MB,
            body_max_bytes: 50 * MB,
            bodies_total_bytes: 512 * MB,
            body_timeout: Duration::from_secs(30),
            blocking_wait: Duration::from_secs(60),
            list_max: 200,
            listed_max_bytes: 64 * MB,
            list_default: 30,
            shared_packages_execute_only: false,
            failed_authentications_per_minute: 10,
        }
    }
}

impl Limits {
    /// What a namespace with these limits of its own may ask for and carry.
    pub fn allowance(&self, own: &NamespaceLimits) -> Allowance {
        let most = Allowance {
            actions: self.actions,
            parameters_bytes: self.parameters_max_bytes,
            payload_bytes: self.payload_max_bytes,
            truncation_bytes: self.truncation_max_bytes,
        };
        most.grant(own, self.unset.as_ref().unwrap_or(&most))
    }

    /// How many activations such a namespace may have in flight.
    pub fn concurrent_invocations(&self, own: &NamespaceLimits) -> u32 {
        own.concurrent_invocations.unwrap_or(self.concurrent_invocations)
    }
}
