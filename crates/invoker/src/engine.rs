//! What the loop and the tasks of one invoker share.

use std::{
    collections::HashSet,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::FutureExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use whisker_bus::{Delivery, InvokerBus};
use whisker_entity::{Activation, ActivationId, Millis};
use whisker_pool::Pool;
use whisker_sandbox::Sandbox;
use whisker_secrets::Secrets;
use whisker_store::Activations;

use crate::{
    Clock, Config, Parts, Spool, keeper,
    meters::Meters,
    resolve::Resolver,
    spool::{Pace, Safe},
};

/// A message's place among those in flight, until its record is spooled.
pub(crate) struct Permit {
    _message: OwnedSemaphorePermit,
    /// Only of large ones: the small are bounded by their number.
    _weight: Option<OwnedSemaphorePermit>,
}

/// What memory for arguments is counted in. Smaller ones are not counted.
const UNIT_BYTES: u64 = 16 * 1024;
/// As many as a semaphore counts everywhere: 8 TiB.
const MOST_UNITS: u32 = 1 << 29;

pub(crate) struct Engine {
    pub config: Config,
    pub bus: Arc<dyn InvokerBus>,
    pub activations: Arc<dyn Activations>,
    pub sandbox: Arc<dyn Sandbox>,
    pub secrets: Arc<Secrets>,
    pub resolver: Resolver,
    pub spool: Spool,
    pub meters: Meters,
    pub keeper: Mutex<keeper::State>,
    /// Runs, and what is done with containers.
    pub tasks: TaskTracker,
    /// One permit for each message that is taken and not yet recorded.
    pub in_flight: Arc<Semaphore>,
    /// Memory for what those carry, in units.
    weight: Arc<Semaphore>,
    weight_max: u32,
    /// Messages that this life has taken, until their records are safe. A
    /// message that is delivered twice meanwhile is run once.
    taken: Mutex<HashSet<ActivationId>>,
    /// Ends what waits for better times.
    pub stop: CancellationToken,
    killing: AtomicBool,
    clock: Clock,
    /// The beginning of the pool's time.
    began: Instant,
}

impl Engine {
    pub fn new(config: Config, parts: Parts) -> Self {
        let pool = Pool::new(whisker_pool::Config {
            memory_mb: config.user_memory_mb,
            // The permits are the bound; the pool's own is never met.
            max_waiting: config.max_in_flight as usize,
            max_starts: config.max_starts,
            max_failures: config.max_failures,
            pause_grace: config.pause_grace,
            keep_warm: config.keep_warm,
            keep_policy: config.keep_policy,
            patience: config.patience,
            parallel: config.parallel,
            stems: config.prewarm.clone(),
            learnt_stems_mb: config.prewarm_learnt_mb,
            ..whisker_pool::Config::default()
        });
        let taken = parts.spool.ids().into_iter().collect();
        let weight_max = u32::try_from((config.max_in_flight_bytes / UNIT_BYTES).max(1)).unwrap_or(MOST_UNITS);
        let weight_max = weight_max.min(MOST_UNITS);
        Self {
            bus: parts.bus,
            activations: parts.activations,
            sandbox: parts.sandbox,
            secrets: parts.secrets,
            resolver: Resolver::new(parts.entities, config.cached_action_bytes, config.cached_code_bytes),
            spool: parts.spool,
            meters: Meters::new(),
            keeper: Mutex::new(keeper::State::new(pool)),
            tasks: TaskTracker::new(),
            in_flight: Arc::new(Semaphore::new(config.max_in_flight as usize)),
            weight: Arc::new(Semaphore::new(weight_max as usize)),
            weight_max,
            taken: Mutex::new(taken),
            stop: CancellationToken::new(),
            killing: AtomicBool::new(false),
            clock: parts.clock,
            began: Instant::now(),
            config,
        }
    }

    /// The wall clock, for what records say.
    pub fn wall(&self) -> Millis {
        (self.clock)()
    }

    /// The pool's time.
    pub fn now(&self) -> std::time::Duration {
        self.began.elapsed()
    }

    /// The next message, once there is room for it. One alone is taken whatever
    /// it carries. Dropped with a message in hand it loses that for this life
    /// only: the bus has what was accepted.
    pub async fn next(&self) -> Option<(Delivery, Permit)> {
        let message = self.in_flight.clone().acquire_owned().await.ok()?;
        let delivery = self.bus.receive().await?;
        let units = delivery.message.content.get().len() as u64 / UNIT_BYTES;
        let weight = match u32::try_from(units).unwrap_or(u32::MAX).min(self.weight_max) {
            0 => None,
            units => Some(self.weight.clone().acquire_many_owned(units).await.ok()?),
        };
        Some((delivery, Permit { _message: message, _weight: weight }))
    }

    /// Notes a message as taken; `false` if it is already.
    pub fn take_up(&self, id: ActivationId) -> bool {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(id)
    }

    /// Forgets messages: their records are safe, or the bus still has them.
    pub fn let_go(&self, ids: &[ActivationId]) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            taken.remove(id);
        }
    }

    /// From now on, whatever ends was ended by us.
    pub fn kill(&self) {
        self.killing.store(true, Ordering::Relaxed);
    }

    pub fn is_killing(&self) -> bool {
        self.killing.load(Ordering::Relaxed)
    }

    /// Writes the spool out until told to stop.
    pub async fn write_out(&self, cancel: CancellationToken) {
        let pace = Pace {
            batch_records: self.config.batch_records,
            batch_bytes: self.config.batch_bytes as u64,
            batch_wait: self.config.batch_wait,
            retry: self.config.store_retry,
        };
        self.spool.write_out(&*self.activations, self, pace, cancel).await;
    }
}

impl Safe for Engine {
    async fn are_safe(&self, ids: &[ActivationId], records: &[Arc<Activation>]) {
        let buried = self.bury(records).await;
        let done: Vec<ActivationId>;
        let forgotten = match buried.is_empty() {
            true => ids,
            false => {
                done = ids.iter().copied().filter(|id| !buried.contains(id)).collect();
                &done
            }
        };
        if let Err(error) = self.bus.done(forgotten).await {
            // The bus delivers them again some day; the store knows them then.
            let error = &error as &dyn std::error::Error;
            tracing::warn!(activations = ids.len(), error, "The bus was not told that records are safe");
        }
        self.let_go(ids);
    }
}

/// Runs a future of ours that must not take others down with it: a panic in a
/// backend is logged by the panic hook and comes back as `None`.
pub(crate) async fn guarded<T>(future: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(future).catch_unwind().await.ok()
}
