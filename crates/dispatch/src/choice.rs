//! Choosing among invokers: a placement behind a lock, fed with what the bus
//! hears and with time, and its orders carried out.
//!
//! The placement decides; this knows the clock, throws the dice, and hands test
//! activations to whoever sends them.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};
use whisker_bus::{CacheInvalidation, CacheKey, ControllerId, ControllerPing, Incarnation, InvokerId, InvokerPing};
use whisker_dice::mixed;
use whisker_entity::ActivationId;
use whisker_placement::{Counts, End, Event, Invoker, Member, Order, Placed, Placement, Refusal, Want};

use crate::{
    echoes::{Echoes, Expected},
    flights::Flights,
    meters::Meters,
    peers::{Found, Peers},
};

/// Test activations that are wanted and not yet sent. More are not noted: the
/// placement asks again by itself.
const TESTS_MAX: usize = 1_024;
/// Changes that were heard of, and the others not told so yet. Of more they are
/// not told, and wait for as long as they do.
const ECHOES_MAX: usize = 1_024;
/// Test activations that were sent and did not end, of the last ones.
const TESTS_UNDER_WAY_MAX: usize = 4_096;

/// After how long without its own ping a controller takes the bus to be away.
const DEAF_AFTER: Duration = Duration::from_secs(10);

/// Who is chosen from, and who chooses.
pub(crate) struct Choice {
    placement: Mutex<Placement>,
    peers: Mutex<Peers>,
    tests: Mutex<Tests>,
    wanted: mpsc::Sender<Invoker>,
    heard: mpsc::Sender<CacheInvalidation>,
    began: Instant,
    dice: AtomicU64,
    meters: Meters,
    /// When it heard itself last, in ms since it began.
    heard_itself: AtomicU64,
    /// What it told the others, until they heard it.
    pub echoes: Echoes,
    /// This controller.
    pub me: ControllerId,
    /// This life of it.
    pub life: Incarnation,
}

/// Test activations under way, the oldest first.
#[derive(Default)]
struct Tests(std::collections::VecDeque<(ActivationId, Invoker)>);

impl Choice {
    /// Among nobody, until somebody pings; and what others are to be told.
    pub fn new(me: ControllerId, life: Incarnation, config: whisker_placement::Config) -> (Self, Wanted) {
        let (wanted, tests) = mpsc::channel(TESTS_MAX);
        let (heard, echoes) = mpsc::channel(ECHOES_MAX);
        let choice = Self {
            placement: Mutex::new(Placement::new(config)),
            peers: Mutex::new(Peers::new(me.clone(), life)),
            tests: Mutex::default(),
            wanted,
            heard,
            began: Instant::now(),
            dice: AtomicU64::new(life.0),
            meters: Meters::new(),
            heard_itself: AtomicU64::new(0),
            echoes: Echoes::default(),
            me,
            life,
        };
        (choice, Wanted { tests, echoes })
    }

    /// Books an invoker.
    pub fn book(&self, activation: ActivationId, want: &Want) -> Result<InvokerId, Refusal> {
        let dice = self.dice();
        match lock(&self.placement).book(self.began.elapsed(), activation, want, dice) {
            Ok(Placed { invoker, forced, warm }) => {
                self.meters.placed(forced, warm);
                Ok(InvokerId(invoker.0))
            }
            Err(refusal) => {
                self.meters.refused.increment(1);
                Err(refusal)
            }
        }
    }

    /// Gives up what was booked for what the bus did not take.
    pub fn withdraw(&self, activation: ActivationId) {
        // It orders nothing.
        lock(&self.placement).on(self.began.elapsed(), Event::Withdrawn(activation));
    }

    /// A run ended, or a test.
    pub fn ended(&self, activation: ActivationId, invoker: InvokerId, system_error: bool, flights: &Flights) {
        let end = if system_error { End::SystemError } else { End::Success };
        let invoker = Invoker(invoker.0);
        let event = if lock(&self.tests).ended(activation) {
            Event::Tested { invoker, end }
        } else {
            Event::Ended { activation, invoker, end }
        };
        self.tell(event, flights);
    }

    /// An invoker lives, or says goodbye.
    pub fn pinged(&self, ping: &InvokerPing, flights: &Flights) {
        let event = Event::Ping {
            invoker: Invoker(ping.instance.id.0),
            memory_mb: ping.instance.user_memory.to_bytes() >> 20,
            busy_mb: ping.instance.busy_memory.map(|busy| busy.to_bytes() >> 20),
            enabled: ping.enabled,
            life: ping.incarnation.map_or(0, |life| life.0),
        };
        self.tell(event, flights);
    }

    /// A controller lives, or says goodbye. Answers whether it has this one's
    /// name, and was there before.
    pub fn met(&self, ping: &ControllerPing, flights: &Flights) -> bool {
        if ping.incarnation == self.life {
            self.heard_itself.store(millis(self.began.elapsed()), Ordering::Relaxed);
        }
        let found = lock(&self.peers).hear(self.began.elapsed(), ping);
        self.found(found, flights)
    }

    /// Time went by.
    pub fn tick(&self, flights: &Flights) {
        let found = lock(&self.peers).tick(self.began.elapsed());
        self.found(found, flights);
        self.tell(Event::Tick, flights);
        self.meters.show(self.counts(), self.controllers());
    }

    /// A test activation is sent.
    pub fn testing(&self, activation: ActivationId, invoker: Invoker) {
        lock(&self.tests).begin(activation, invoker);
    }

    /// What a controller says of itself.
    pub fn ping(&self, enabled: bool) -> ControllerPing {
        ControllerPing { controller: self.me.clone(), enabled, incarnation: self.life, heard: None }
    }

    /// Before this is told to all controllers.
    pub fn expect(&self, of: &str) -> Expected {
        self.echoes.expect(of, lock(&self.peers).all())
    }

    /// What another controller changed is forgotten here.
    pub fn forgot(&self, invalidation: &CacheInvalidation) {
        // A second half may be a secret, and is not needed.
        let key = CacheKey { main_id: invalidation.key.main_id.clone(), secondary_id: None };
        // Full: see its bound. Closed: this one is about to end.
        drop(self.heard.try_send(CacheInvalidation { key, instance_id: invalidation.instance_id.clone() }));
    }

    /// Whether the bus brings what this controller says.
    pub fn hears_itself(&self) -> bool {
        let silent_ms = millis(self.began.elapsed()).saturating_sub(self.heard_itself.load(Ordering::Relaxed));
        silent_ms < millis(DEAF_AFTER)
    }

    /// This controller, as OpenWhisk's messages call it.
    pub fn instance(&self) -> String {
        format!("controller{}", self.me.0)
    }

    /// How many controllers share the invokers.
    pub fn controllers(&self) -> u32 {
        lock(&self.peers).count()
    }

    pub fn members(&self) -> Vec<Member> {
        lock(&self.placement).members().collect()
    }

    fn counts(&self) -> Counts {
        lock(&self.placement).counts()
    }

    fn found(&self, found: Found, flights: &Flights) -> bool {
        match found {
            Found::Nothing => false,
            Found::Controllers(count) => {
                tracing::info!(controllers = count, "so many controllers share invokers and limits");
                self.tell(Event::Controllers(count), flights);
                false
            }
            Found::Namesake { newcomer } => {
                tracing::error!(controller = %self.me.0, newcomer, "another live controller has this one's name");
                newcomer
            }
        }
    }

    fn tell(&self, event: Event, flights: &Flights) {
        let orders = lock(&self.placement).on(self.began.elapsed(), event);
        for order in orders {
            match order {
                // Full: see its bound. Closed: nobody tests any more.
                Order::Test(invoker) => drop(self.wanted.try_send(invoker)),
                Order::Expired { activation, invoker } => {
                    tracing::warn!(activation.id = %activation, %invoker, "the completion of an activation did not come");
                    self.meters.expired.increment(1);
                    flights.land(activation);
                }
                Order::Changed { invoker, from, to } => {
                    let from = from.map_or("unknown", |health| health.as_str());
                    tracing::info!(%invoker, from, to = to.as_str(), "an invoker's health is another one");
                }
                Order::Twins(invoker) => {
                    tracing::error!(%invoker, "two live invokers have one number: give one of them another");
                }
                Order::Beyond(invoker) => tracing::warn!(%invoker, "an invoker's number is too high to be used"),
            }
        }
    }

    /// Any number: a life has seeds of its own, one after the other.
    fn dice(&self) -> u64 {
        mixed(self.dice.fetch_add(1, Ordering::Relaxed))
    }
}

impl Tests {
    /// Of the oldest nothing will be heard any more.
    fn begin(&mut self, activation: ActivationId, invoker: Invoker) {
        self.0.retain(|(_, other)| *other != invoker);
        if self.0.len() == TESTS_UNDER_WAY_MAX {
            self.0.pop_front();
        }
        self.0.push_back((activation, invoker));
    }

    fn ended(&mut self, activation: ActivationId) -> bool {
        let before = self.0.len();
        self.0.retain(|(test, _)| *test != activation);
        self.0.len() < before
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Locks for one step: what is locked is whole between any two.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For whoever speaks to the others.
pub(crate) struct Wanted {
    /// Who is to be sent a test activation.
    pub tests: mpsc::Receiver<Invoker>,
    /// What the others are told to be forgotten here.
    pub echoes: mpsc::Receiver<CacheInvalidation>,
}

/// Shared by the sinks of the bus and by callers.
pub(crate) type Shared = Arc<Choice>;
