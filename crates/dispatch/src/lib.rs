//! The controller's end of the bus: hands activations over, remembers who
//! waits for which, and counts what each namespace has in flight.
//!
//! It never looks into an activation's arguments. A single process has a single
//! invoker, so there is no choice to make between several; that choice will be
//! a pure function of its own, with this as its only caller.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;
use whisker_bus::{AckSink, Acknowledgement, ActivationMessage, ControllerBus, Error, InvokerId, Promise};
use whisker_entity::{Activation, ActivationId, EntityName};

/// How an invocation ended for its caller.
#[derive(Debug)]
pub enum Outcome {
    /// It goes on, durably; its record will appear.
    Accepted,
    /// Its record, without logs.
    Finished(Arc<Activation>),
}

/// What is in flight, and the way to the invokers.
pub struct Dispatch {
    bus: Arc<dyn ControllerBus>,
    flights: Arc<Flights>,
}

impl Dispatch {
    /// Subscribes to the bus's acknowledgements.
    pub fn new(bus: Arc<dyn ControllerBus>) -> Self {
        let flights = Arc::new(Flights::default());
        bus.subscribe(flights.clone());
        Self { bus, flights }
    }

    /// Sends an activation and, if `wait` is given, waits so long for its
    /// outcome. Whoever stops waiting without an answer is left with an
    /// accepted activation: dropping the future instead leaves it running,
    /// with no promise.
    pub async fn invoke(&self, message: Arc<ActivationMessage>, wait: Option<Duration>) -> Result<Outcome, Error> {
        let id = message.activation;
        let (sender, receiver) = oneshot::channel();
        self.flights.depart(id, message.user.namespace.clone(), wait.is_some().then_some(sender));
        let departure = Departure { flights: &self.flights, id };
        let promise = if wait.is_some() { Promise::Sent } else { Promise::Accepted };
        self.bus.send(InvokerId(0), message, promise).await?;
        departure.taken();
        let Some(wait) = wait else { return Ok(Outcome::Accepted) };
        if let Ok(Ok(activation)) = tokio::time::timeout(wait, receiver).await {
            return Ok(Outcome::Finished(activation));
        }
        self.bus.secure(id).await?;
        Ok(Outcome::Accepted)
    }

    /// How many activations of a namespace are under way.
    pub fn in_flight(&self, namespace: &EntityName) -> u64 {
        self.flights.lock().by_namespace.get(namespace).copied().unwrap_or(0)
    }

    /// How many activations are under way.
    pub fn in_flight_total(&self) -> usize {
        self.flights.lock().flights.len()
    }
}

/// A flight that the bus has not taken yet. It never began unless the bus
/// takes it: not when it is refused, nor when its caller goes away while it is
/// being made durable.
struct Departure<'a> {
    flights: &'a Flights,
    id: ActivationId,
}

impl Departure<'_> {
    fn taken(self) {
        std::mem::forget(self);
    }
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        self.flights.land(self.id);
    }
}

/// Everything under way. An entry leaves with its completion, which the bus
/// owes for everything it took; so this is bounded by what the bus holds.
#[derive(Default)]
struct Flights(Mutex<Table>);

#[derive(Default)]
struct Table {
    flights: HashMap<ActivationId, Flight>,
    by_namespace: HashMap<EntityName, u64>,
}

struct Flight {
    namespace: EntityName,
    waiter: Option<oneshot::Sender<Arc<Activation>>>,
}

impl Flights {
    /// No code that holds the lock can panic, so a poisoned one is as good.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn depart(&self, id: ActivationId, namespace: EntityName, waiter: Option<oneshot::Sender<Arc<Activation>>>) {
        let mut table = self.lock();
        *table.by_namespace.entry(namespace.clone()).or_default() += 1;
        table.flights.insert(id, Flight { namespace, waiter });
    }

    fn land(&self, id: ActivationId) {
        let mut table = self.lock();
        let Some(flight) = table.flights.remove(&id) else { return };
        if let Some(count) = table.by_namespace.get_mut(&flight.namespace) {
            *count -= 1;
            if *count == 0 {
                table.by_namespace.remove(&flight.namespace);
            }
        }
    }
}

impl AckSink for Flights {
    fn acknowledged(&self, acknowledgement: Acknowledgement) {
        match acknowledgement {
            Acknowledgement::Result { activation, .. } => {
                let waiter = self.lock().flights.get_mut(&activation.id).and_then(|flight| flight.waiter.take());
                // A caller that went away is no concern: the record is kept anyway.
                waiter.map(|waiter| waiter.send(activation));
            }
            // Whoever waits gets the `202` that they would get later.
            Acknowledgement::Recorded { activation, .. } => {
                let waiter = self.lock().flights.get_mut(&activation).and_then(|flight| flight.waiter.take());
                drop(waiter);
            }
            // Of an activation that an earlier life of this controller sent,
            // nothing is known here.
            Acknowledgement::Completion { activation, .. } => self.land(activation),
        }
    }
}

#[cfg(test)]
mod tests;
