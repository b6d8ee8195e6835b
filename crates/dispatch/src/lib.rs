//! The controller's end of the bus: chooses who runs an activation, hands it
//! over, remembers who waits for which, and counts what each namespace has in
//! flight.
//!
//! It never looks into an activation's arguments. A process that has its own
//! invoker has nothing to choose and pays nothing for it ([`Dispatch::new`]).
//! In a cluster ([`Dispatch::among`]) `whisker-placement` decides, as a value:
//! here are its clock, its dice, and its way to the invokers.
//!
//! Controllers do not ask each other before they send something. They know how
//! many they are from each other's pings, and each takes its part of the
//! invokers' memory and of the users' limits.

mod choice;
mod echoes;
mod error;
mod flights;
mod meters;
mod peers;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use whisker_bus::{
    AckSink, Acknowledgement, ActivationMessage, CacheInvalidation, CacheKey, ControllerBus, ControllerId,
    ControllerPing, Incarnation, InvokerId, InvokerPing, Promise,
};
use whisker_entity::{Activation, ActivationId, EntityName, QualifiedName};
use whisker_traces::{Context, Kind, Span, Tracer};

pub use error::Error;
pub use whisker_placement::{Action, Config, Health, Member, Policy, Want};

use choice::{Choice, Shared, Wanted};
use flights::{Flights, Heard};

/// How often a controller pings the others, and looks at what is due.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a ping may take before the next one is tried.
const PING_PATIENCE: Duration = Duration::from_secs(5);
/// How long a write waits until the others have heard of it.
const TELLING_PATIENCE: Duration = Duration::from_secs(5);
/// The same while the bus is away, as far as this controller knows.
const DEAF_PATIENCE: Duration = Duration::from_secs(2);
/// How much more than its part of a limit a controller grants, in percent,
/// since requests do not come to all of them evenly (`Entitlement.scala`).
const OVERCOMMIT_PERCENT: u64 = 120;

/// How an invocation ended for its caller.
#[derive(Debug)]
pub enum Outcome {
    /// It goes on, durably; its record will appear.
    Accepted,
    /// Its record, without logs.
    Finished(Arc<Activation>),
    /// It ended, and only its record says how: that is about to appear.
    Recorded,
}

/// What is in flight, and the way to the invokers.
pub struct Dispatch {
    bus: Arc<dyn ControllerBus>,
    arrivals: Arc<Arrivals>,
    /// For [`run`](Self::run), which is called once.
    wanted: Mutex<Option<Wanted>>,
    /// A namesake was found that was there before.
    displaced: CancellationToken,
    tracer: Tracer,
}

impl Dispatch {
    /// To the one invoker of this process. Subscribes to the bus's
    /// acknowledgements.
    pub fn new(bus: Arc<dyn ControllerBus>) -> Self {
        Self::with(bus, None, None)
    }

    /// To those invokers of a cluster that are found fit. `life` tells this
    /// process from others that were, or are, given the same name: of two, the
    /// one with the higher number began later.
    pub fn among(bus: Arc<dyn ControllerBus>, me: ControllerId, life: Incarnation, config: Config) -> Self {
        let (choice, wanted) = Choice::new(me, life, config);
        Self::with(bus, Some(Arc::new(choice)), Some(wanted))
    }

    fn with(bus: Arc<dyn ControllerBus>, choice: Option<Shared>, wanted: Option<Wanted>) -> Self {
        let arrivals = Arc::new(Arrivals { flights: Flights::default(), choice });
        bus.subscribe(arrivals.clone());
        Self { bus, arrivals, wanted: Mutex::new(wanted), displaced: CancellationToken::new(), tracer: Tracer::off() }
    }

    /// Tells this one how long choosing and sending take.
    #[must_use]
    pub fn traced(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
    }

    /// Sends an activation and, if `wait` is given, waits so long for its
    /// outcome. Whoever stops waiting without an answer is left with an
    /// accepted activation: dropping the future instead leaves it running,
    /// with no promise. `want` is asked where there is a choice.
    pub async fn invoke(
        &self,
        message: Arc<ActivationMessage>,
        want: impl FnOnce() -> Want,
        wait: Option<Duration>,
    ) -> Result<Outcome, Error> {
        let id = message.activation;
        let sending = self.sending(&message);
        let to = match &self.arrivals.choice {
            None => InvokerId(0),
            Some(choice) => choice.book(id, &want())?,
        };
        let (sender, receiver) = oneshot::channel();
        self.arrivals.flights.depart(id, message.user.namespace.clone(), wait.is_some().then_some(sender));
        let departure = Departure { arrivals: &self.arrivals, id };
        let promise = if wait.is_some() { Promise::Sent } else { Promise::Accepted };
        self.bus.send(to, message, promise).await?;
        departure.taken();
        drop(sending);
        let Some(wait) = wait else { return Ok(Outcome::Accepted) };
        match tokio::time::timeout(wait, receiver).await {
            Ok(Ok(Heard::Finished(activation))) => return Ok(Outcome::Finished(activation)),
            Ok(Ok(Heard::Recorded)) => return Ok(Outcome::Recorded),
            Ok(Ok(Heard::Undelivered)) => return Err(whisker_bus::Error::Unavailable(None).into()),
            // Nothing came in time, or nothing will.
            Ok(Err(_)) | Err(_) => {}
        }
        self.bus.secure(id).await?;
        Ok(Outcome::Accepted)
    }

    /// The span of what comes before an invoker has it, where traces are on.
    fn sending(&self, message: &ActivationMessage) -> Option<Span> {
        if !self.tracer.is_on() {
            return None;
        }
        let parent = Context::of(message.trace_context.as_ref()?)?;
        let mut span = self.tracer.begin("send", Kind::Producer, Some(&parent))?;
        span.say("activation.id", message.activation.to_string());
        Some(span)
    }

    /// How many activations of a namespace are under way from here.
    pub fn in_flight(&self, namespace: &EntityName) -> u64 {
        self.arrivals.flights.of(namespace)
    }

    /// How many activations are under way from here.
    pub fn in_flight_total(&self) -> usize {
        self.arrivals.flights.total()
    }

    /// The invokers there are to choose from; `None` where there is no choice.
    pub fn invokers(&self) -> Option<Vec<Member>> {
        self.arrivals.choice.as_ref().map(|choice| choice.members())
    }

    /// Whether the bus brings what this controller says, itself included. One of
    /// a single process always does.
    pub fn hears_itself(&self) -> bool {
        self.arrivals.choice.as_ref().is_none_or(|choice| choice.hears_itself())
    }

    /// This controller's part of a limit that all of them keep together: a
    /// little more than its share, and never nothing of something.
    pub fn share(&self, limit: u64) -> u64 {
        let controllers = self.arrivals.choice.as_ref().map_or(1, |choice| u64::from(choice.controllers()));
        share(limit, controllers)
    }

    /// Hears of an invoker.
    pub fn hear_invoker(&self, ping: &InvokerPing) {
        if let Some(choice) = &self.arrivals.choice {
            choice.pinged(ping, &self.arrivals.flights);
        }
    }

    /// Hears of a controller, perhaps of itself.
    pub fn hear_controller(&self, ping: &ControllerPing) {
        let Some(choice) = &self.arrivals.choice else { return };
        if let Some(heard) = ping.heard.as_ref().filter(|heard| heard.instance_id == choice.instance()) {
            choice.echoes.heard(&heard.key.main_id, &ping.controller);
        }
        if choice.met(ping, &self.arrivals.flights) {
            self.displaced.cancel();
        }
    }

    /// Tells the other controllers that a document was written, so that they
    /// forget what they had read of it.
    ///
    /// Returns when all that are known to live have said that they have, so that
    /// whoever is answered now and asks another one sees what was written. One
    /// that died a moment ago is waited for once.
    pub async fn tell_changed(&self, name: &QualifiedName) {
        let Some(choice) = &self.arrivals.choice else { return };
        let key = CacheKey { main_id: name.to_string(), secondary_id: None };
        let invalidation = CacheInvalidation { key, instance_id: choice.instance() };
        let mut expected = choice.expect(&invalidation.key.main_id);
        let telling = async {
            self.bus.invalidate(&invalidation).await?;
            // The sender is kept until all were heard.
            let _ = (&mut expected.all).await;
            Ok::<_, whisker_bus::Error>(())
        };
        let patience = if choice.hears_itself() { TELLING_PATIENCE } else { DEAF_PATIENCE };
        match tokio::time::timeout(patience, telling).await {
            Ok(Ok(())) => {}
            // Those on a store that tells of its writes hear of it all the same.
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(document = %name, error, "the other controllers were not told of a change");
            }
            Err(_) => {
                let silent = choice.echoes.give_up(&expected);
                let silent: Vec<&str> = silent.iter().map(|id| &*id.0).collect();
                tracing::warn!(document = %name, ?silent, "other controllers may not have heard of a change");
            }
        }
    }

    /// Hears that something was changed; whether by another controller. If so,
    /// [`forgot`](Self::forgot) is to follow.
    pub fn hear_changed(&self, invalidation: &CacheInvalidation) -> bool {
        let Some(choice) = &self.arrivals.choice else { return true };
        let own = choice.instance() == invalidation.instance_id;
        if own {
            choice.echoes.heard(&invalidation.key.main_id, &choice.me);
        }
        !own
    }

    /// What another controller changed is forgotten here: it is told so.
    pub fn forgot(&self, invalidation: &CacheInvalidation) {
        if let Some(choice) = &self.arrivals.choice {
            choice.forgot(invalidation);
        }
    }

    /// Waits until it is found that another controller, which was there before,
    /// has this one's name.
    pub async fn displaced(&self) {
        self.displaced.cancelled().await;
    }

    /// Pings the other controllers, sees to what is due, and sends test
    /// activations, which `test` makes: until cancelled, and then says goodbye.
    /// Without a choice there is nothing to do.
    pub async fn run(&self, test: impl Fn() -> Arc<ActivationMessage>, cancel: CancellationToken) {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(choice), Some(mut wanted)) = (&self.arrivals.choice, wanted) else { return };
        let mut tick = tokio::time::interval(PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                _ = tick.tick() => {
                    choice.tick(&self.arrivals.flights);
                    self.ping(&choice.ping(true)).await;
                }
                Some(heard) = wanted.echoes.recv() => {
                    self.ping(&ControllerPing { heard: Some(heard), ..choice.ping(true) }).await;
                }
                Some(invoker) = wanted.tests.recv() => {
                    let message = test();
                    choice.testing(message.activation, invoker);
                    // What is lost is asked for again.
                    if let Err(error) = self.bus.send(InvokerId(invoker.0), message, Promise::Sent).await {
                        tracing::debug!(%invoker, error = &error as &dyn std::error::Error, "a test activation was not sent");
                    }
                }
            }
        }
        self.ping(&choice.ping(false)).await;
    }

    async fn ping(&self, ping: &ControllerPing) {
        match tokio::time::timeout(PING_PATIENCE, self.bus.ping(ping)).await {
            Ok(Ok(())) => {}
            // The bus says loudly that it is away; this is one of its signs.
            Ok(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the other controllers were not pinged");
            }
            Err(_) => tracing::debug!("the other controllers could not be pinged in time"),
        }
    }
}

fn share(limit: u64, controllers: u64) -> u64 {
    if controllers <= 1 || limit == 0 {
        return limit;
    }
    limit.saturating_mul(OVERCOMMIT_PERCENT).div_ceil(100 * controllers).min(limit)
}

/// A flight that the bus has not taken yet. It never began unless the bus
/// takes it: not when it is refused, nor when its caller goes away while it is
/// being made durable.
struct Departure<'a> {
    arrivals: &'a Arrivals,
    id: ActivationId,
}

impl Departure<'_> {
    fn taken(self) {
        std::mem::forget(self);
    }
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        self.arrivals.never_left(self.id);
    }
}

/// Where the bus says how things went.
struct Arrivals {
    flights: Flights,
    /// `None`: there is one invoker.
    choice: Option<Shared>,
}

impl Arrivals {
    fn never_left(&self, id: ActivationId) {
        self.flights.land(id);
        if let Some(choice) = &self.choice {
            choice.withdraw(id);
        }
    }
}

impl AckSink for Arrivals {
    fn acknowledged(&self, acknowledgement: Acknowledgement) {
        match acknowledgement {
            Acknowledgement::Result { activation, .. } => {
                self.flights.tell(activation.id, Heard::Finished(activation));
            }
            Acknowledgement::Recorded { activation, .. } => self.flights.tell(activation, Heard::Recorded),
            // Of an activation that an earlier life of this controller sent,
            // nothing is known here.
            Acknowledgement::Completion { activation, system_error, invoker, .. } => {
                self.flights.land(activation);
                if let Some(choice) = &self.choice {
                    choice.ended(activation, invoker, system_error, &self.flights);
                }
            }
        }
    }

    fn undelivered(&self, activation: ActivationId) {
        self.flights.tell(activation, Heard::Undelivered);
        self.never_left(activation);
    }
}

#[cfg(test)]
mod tests;
