//! What is under way, and who waits for it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use whisker_entity::{Activation, ActivationId, EntityName};

/// Everything under way. An entry leaves with its completion, which the bus
/// owes for everything it took, or when that is not waited for any longer; so
/// this is bounded by what the bus holds, or by what placement takes.
#[derive(Default)]
pub(crate) struct Flights(Mutex<Table>);

#[derive(Default)]
struct Table {
    flights: HashMap<ActivationId, Flight>,
    by_namespace: HashMap<EntityName, u64>,
}

struct Flight {
    namespace: EntityName,
    waiter: Option<oneshot::Sender<Heard>>,
}

/// What a caller that waits is told.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The outcome.
    Finished(Arc<Activation>),
    /// That there is one, to be read from its record.
    Recorded,
    /// That the message got nowhere.
    Undelivered,
}

impl Flights {
    /// No code that holds the lock can panic, so a poisoned one is as good.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn depart(&self, id: ActivationId, namespace: EntityName, waiter: Option<oneshot::Sender<Heard>>) {
        let mut table = self.lock();
        *table.by_namespace.entry(namespace.clone()).or_default() += 1;
        table.flights.insert(id, Flight { namespace, waiter });
    }

    /// Ends one. Whoever still waits for it hears that nothing comes.
    pub fn land(&self, id: ActivationId) {
        let mut table = self.lock();
        let Some(flight) = table.flights.remove(&id) else { return };
        if let Some(count) = table.by_namespace.get_mut(&flight.namespace) {
            *count -= 1;
            if *count == 0 {
                table.by_namespace.remove(&flight.namespace);
            }
        }
    }

    /// Tells whoever waits. A caller that went away is no concern: the record is
    /// kept anyway.
    pub fn tell(&self, id: ActivationId, heard: Heard) {
        let waiter = self.lock().flights.get_mut(&id).and_then(|flight| flight.waiter.take());
        waiter.map(|waiter| waiter.send(heard));
    }

    pub fn of(&self, namespace: &EntityName) -> u64 {
        self.lock().by_namespace.get(namespace).copied().unwrap_or(0)
    }

    pub fn total(&self) -> usize {
        self.lock().flights.len()
    }
}
