//! The two sides of the bus, on one ledger and one journal.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;
use whisker_bus::{
    AckSink, Acknowledgement, ActivationMessage, ControllerBus, Delivery, Error, InvokerBus, InvokerId, Promise,
    Redelivered,
};
use whisker_entity::ActivationId;
use whisker_journal::{Journal, Recovery, Token};

use crate::config::Config;
use crate::entry::{self, Entry};
use crate::ledger::{Ledger, Load, Next, Refusal, Secure};

/// The bus in one process: give an `Arc` of it to either side.
pub struct EmbeddedBus {
    ledger: Mutex<Ledger>,
    /// Wakes the invoker when there is something in an empty queue.
    arrived: Notify,
    journal: Journal,
    sink: OnceLock<Arc<dyn AckSink>>,
    limit: Load,
}

/// What an earlier life left, and what was found on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Accepted, and no run had started.
    pub queued: usize,
    /// Accepted, a run had started, and its record is not known to be safe.
    pub interrupted: usize,
    /// Entries that this version cannot read. They stay in the journal.
    pub unreadable: usize,
    /// What the journal says about torn or damaged files.
    pub journal: Recovery,
}

/// How much there is on the bus at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Messages that wait for the invoker.
    pub queued: usize,
    /// Messages whose records are not safe yet, the waiting ones included.
    pub held: usize,
    /// What the journal holds.
    pub journal: whisker_journal::Stats,
}

impl EmbeddedBus {
    /// Opens the journal and takes up what an earlier life left.
    pub fn open(config: Config) -> Result<(EmbeddedBus, Recovered), whisker_journal::Error> {
        let (journal, recovery) = Journal::open(config.journal)?;
        let mut recovered = Recovered { journal: recovery, ..Recovered::default() };
        let ledger = restore(&journal, &mut recovered)?;
        let bus = EmbeddedBus {
            ledger: Mutex::new(ledger),
            arrived: Notify::new(),
            journal,
            sink: OnceLock::new(),
            limit: Load { messages: config.queue_messages, bytes: config.queue_bytes },
        };
        Ok((bus, recovered))
    }

    /// Stops the bus: nothing is taken any more, and `receive` answers `None`
    /// at once, whatever waits. Messages that were accepted wait in the
    /// journal for the next life. Runs that go on may still be acknowledged
    /// and done.
    pub fn close(&self) {
        self.ledger().close();
        self.arrived.notify_waiters();
    }

    /// How much there is.
    pub fn depth(&self) -> Depth {
        let (queued, held) = {
            let ledger = self.ledger();
            (ledger.queued(), ledger.held())
        };
        Depth { queued, held, journal: self.journal.stats() }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // No function of the ledger panics half-way through a change.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self, (tag, payload): (u8, impl AsRef<[u8]>)) -> Result<Token, Error> {
        self.journal.append(tag, payload.as_ref()).await.map_err(unavailable)
    }

    /// Writes a message before it goes into the queue.
    async fn accept(&self, message: &ActivationMessage) -> Result<Token, Error> {
        self.write(entry::message(message, false).map_err(unavailable)?).await
    }

    fn release(&self, tokens: impl IntoIterator<Item = Token>) {
        self.journal.release_all(tokens);
    }

    fn stored(&self, token: Token, redelivered: Redelivered) -> Option<Delivery> {
        let read = self.journal.read(token).map_err(unavailable);
        match read.and_then(|entry| entry::parse(&entry.payload).map_err(unavailable)) {
            Ok(message) => Some(Delivery { message: Arc::new(message), redelivered }),
            Err(error) => {
                tracing::error!(
                    journal.token = %token,
                    error = &error as &dyn std::error::Error,
                    "An accepted message cannot be read; it stays in the journal"
                );
                None
            }
        }
    }
}

impl std::fmt::Debug for EmbeddedBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedBus").field("depth", &self.depth()).finish_non_exhaustive()
    }
}

fn unavailable(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Unavailable(Some(Box::new(source)))
}

/// A place in the queue that is given back unless the message comes to it,
/// even when the sender is dropped while the message is being written.
struct Place<'a> {
    bus: &'a EmbeddedBus,
    message: Option<Arc<ActivationMessage>>,
}

impl Place<'_> {
    /// Whether the message is in the queue now.
    fn fill(mut self, token: Option<Token>) -> bool {
        let Some(message) = self.message.take() else { return false };
        let enqueued = self.bus.ledger().enqueue(message, token);
        if enqueued {
            self.bus.arrived.notify_one();
        } else {
            self.bus.release(token);
        }
        enqueued
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(message) = &self.message {
            self.bus.ledger().free(message);
        }
    }
}

/// An append that makes a message accepted. The ledger hears of its end, even
/// when the caller is dropped while the message is being written: the append
/// is withdrawn then.
struct Securing<'a> {
    bus: &'a EmbeddedBus,
    activation: ActivationId,
    token: Option<Token>,
}

impl Drop for Securing<'_> {
    fn drop(&mut self) {
        let unneeded = self.bus.ledger().secured(self.activation, self.token);
        self.bus.release(unneeded);
    }
}

#[async_trait]
impl ControllerBus for EmbeddedBus {
    async fn send(&self, _: InvokerId, message: Arc<ActivationMessage>, promise: Promise) -> Result<(), Error> {
        let id = message.activation;
        let reserved = self.ledger().reserve(&message, self.limit);
        let enqueued = match reserved {
            Err(Refusal::Full) => return Err(Error::Full(self.limit.messages)),
            Err(Refusal::Closed) => return Err(Error::Unavailable(None)),
            Ok(false) => false,
            Ok(true) => {
                let place = Place { bus: self, message: Some(Arc::clone(&message)) };
                let token = match promise {
                    Promise::Sent => None,
                    Promise::Accepted => Some(self.accept(&message).await?),
                };
                place.fill(token)
            }
        };
        match promise {
            _ if enqueued => Ok(()),
            _ if self.ledger().is_closed() => Err(Error::Unavailable(None)),
            // It is here already: one delivery is enough.
            Promise::Sent => Ok(()),
            Promise::Accepted => self.secure(id).await,
        }
    }

    async fn secure(&self, activation: ActivationId) -> Result<(), Error> {
        let order = self.ledger().secure(activation);
        let Secure::Write { message, started } = order else { return Ok(()) };
        let mut securing = Securing { bus: self, activation, token: None };
        securing.token = Some(self.write(entry::message(&message, started).map_err(unavailable)?).await?);
        Ok(())
    }

    fn subscribe(&self, sink: Arc<dyn AckSink>) {
        if self.sink.set(sink).is_err() {
            tracing::error!("A second sink subscribed to the bus; acknowledgements go to the first");
        }
    }
}

#[async_trait]
impl InvokerBus for EmbeddedBus {
    async fn receive(&self) -> Option<Delivery> {
        loop {
            // Made before the look, so that closing between both is noticed.
            let arrived = self.arrived.notified();
            let next = self.ledger().next();
            match next {
                Next::Message(delivery) => return Some(delivery),
                Next::Stored(token, redelivered) => {
                    if let Some(delivery) = self.stored(token, redelivered) {
                        return Some(delivery);
                    }
                }
                Next::Nothing => arrived.await,
                Next::Closed => return None,
            }
        }
    }

    async fn starting(&self, activation: ActivationId) -> Result<(), Error> {
        let write = self.ledger().starting(activation);
        if write {
            let token = self.write(entry::started(activation)).await?;
            let unneeded = self.ledger().started(activation, token);
            self.release(unneeded);
        }
        Ok(())
    }

    async fn acknowledge(&self, acknowledgement: Acknowledgement) -> Result<(), Error> {
        // Without a sink there is no controller, and so nobody who waits.
        if let Some(sink) = self.sink.get() {
            sink.acknowledged(acknowledgement);
        }
        Ok(())
    }

    async fn done(&self, activations: &[ActivationId]) -> Result<(), Error> {
        let tokens: Vec<Token> = {
            let mut ledger = self.ledger();
            activations.iter().flat_map(|id| ledger.done(*id)).collect()
        };
        // Both entries of a message go with one write: a start without its
        // message is nothing, but a message without its start runs again.
        self.release(tokens);
        Ok(())
    }
}

/// Reads the live entries of the journal into a ledger.
fn restore(journal: &Journal, recovered: &mut Recovered) -> Result<Ledger, whisker_journal::Error> {
    let mut messages: Vec<(ActivationId, Token, Redelivered)> = Vec::new();
    let mut starts = HashMap::new();
    let mut seen = HashMap::new();
    let mut unneeded = Vec::new();
    for live in &recovered.journal.live {
        let token = live.token;
        match entry::read(live.tag, &journal.read(token)?.payload) {
            Some(Entry::Message { id, redelivered }) => match seen.entry(id) {
                Slot::Vacant(first) => {
                    first.insert(messages.len());
                    messages.push((id, token, redelivered));
                }
                // Written twice, and one of them not withdrawn in time. The
                // first keeps its turn; a start that either knows of counts.
                Slot::Occupied(first) => {
                    if redelivered == Redelivered::AfterStart {
                        messages[*first.get()].2 = redelivered;
                    }
                    unneeded.push(token);
                }
            },
            Some(Entry::Started { id }) => match starts.entry(id) {
                Slot::Vacant(first) => drop(first.insert(token)),
                Slot::Occupied(_) => unneeded.push(token),
            },
            None => {
                recovered.unreadable += 1;
                tracing::error!(
                    journal.token = %token,
                    "The journal of the bus has an entry that this version cannot read"
                );
            }
        }
    }
    let mut ledger = Ledger::default();
    for (id, token, redelivered) in messages {
        let start = starts.remove(&id);
        let redelivered = if start.is_some() { Redelivered::AfterStart } else { redelivered };
        match redelivered {
            Redelivered::No => recovered.queued += 1,
            Redelivered::AfterStart => recovered.interrupted += 1,
        }
        ledger.restore(id, token, start, redelivered);
    }
    unneeded.extend(starts.into_values());
    journal.release_all(unneeded);
    Ok(ledger)
}
