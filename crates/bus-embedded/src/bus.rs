//! The two sides of the bus, on one ledger and one journal.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use whisker_bus::{
    AckSink, Acknowledgement, ActivationMessage, Attempt, ControllerBus, Delivery, Due, Error, InvokerBus, InvokerId,
    Letter, Letters, Promise,
};
use whisker_entity::ActivationId;
use whisker_journal::{Journal, Recovery, Token};

use crate::aside::Share;
use crate::config::Config;
use crate::entry;
use crate::ledger::{Ledger, Load, Next, Refusal, Secure, Stored};
use crate::restore::restore;

/// The bus in one process: give an `Arc` of it to either side.
pub struct EmbeddedBus {
    ledger: Mutex<Ledger>,
    /// Wakes the invoker when there is something in an empty queue.
    arrived: Notify,
    journal: Journal,
    /// Wakes whoever posts dead letters.
    lettered: Notify,
    sink: OnceLock<Arc<dyn AckSink>>,
    limit: Load,
    aside_limit: Load,
}

/// What an earlier life left, and what was found on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Accepted, and no run had started.
    pub queued: usize,
    /// Accepted, a run had started, and its record is not known to be safe.
    pub interrupted: usize,
    /// Accepted, failed, and due again some time.
    pub waiting: usize,
    /// Failed for good, and a trigger is to hear of it.
    pub letters: usize,
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
    /// Those of them that wait aside, for their next run or their dead letter.
    pub aside: usize,
    /// What the journal holds.
    pub journal: whisker_journal::Stats,
}

impl EmbeddedBus {
    /// Opens the journal and takes up what an earlier life left.
    pub fn open(config: Config) -> Result<(EmbeddedBus, Recovered), whisker_journal::Error> {
        let aside_bytes = usize::try_from(config.journal.max_live_bytes / 2).unwrap_or(usize::MAX);
        let (journal, recovery) = Journal::open(config.journal)?;
        let mut recovered = Recovered { journal: recovery, ..Recovered::default() };
        let ledger = restore(&journal, &mut recovered, config.now)?;
        let bus = EmbeddedBus {
            ledger: Mutex::new(ledger),
            arrived: Notify::new(),
            journal,
            lettered: Notify::new(),
            sink: OnceLock::new(),
            limit: Load { messages: config.queue_messages, bytes: config.queue_bytes },
            aside_limit: Load { messages: config.aside_messages, bytes: aside_bytes },
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
        self.lettered.notify_waiters();
    }

    /// How much there is.
    pub fn depth(&self) -> Depth {
        let (queued, held, aside) = {
            let ledger = self.ledger();
            (ledger.queued(), ledger.held(), ledger.aside())
        };
        Depth { queued, held, aside, journal: self.journal.stats() }
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

    fn read<T>(&self, token: Token, parse: impl FnOnce(&[u8]) -> serde_json::Result<T>) -> Option<T> {
        let read = self.journal.read(token).map_err(unavailable);
        match read.and_then(|entry| parse(&entry.payload).map_err(unavailable)) {
            Ok(read) => Some(read),
            Err(error) => {
                tracing::error!(
                    journal.token = %token,
                    error = &error as &dyn std::error::Error,
                    "What was accepted cannot be read; it stays in the journal"
                );
                None
            }
        }
    }

    fn stored(&self, Stored { token, redelivered, attempts }: Stored) -> Option<Delivery> {
        let message = Arc::new(self.read(token, entry::parse)?);
        let earlier = attempts.into_iter().filter_map(|token| self.read(token, entry::parse_attempt)).collect();
        Some(Delivery { message, redelivered, earlier })
    }

    /// Takes a place aside for a message, and writes what sets it aside.
    async fn set_aside(
        &self,
        activation: ActivationId,
        written: impl FnOnce(u32) -> serde_json::Result<(u8, Vec<u8>)>,
        namespace: whisker_entity::EntityName,
    ) -> Result<Option<Token>, Error> {
        let share = Share { namespace, bytes: 0 };
        let Some(number) = self.ledger().reserve_aside(activation, share, self.aside_limit) else { return Ok(None) };
        let place = PlaceAside { bus: self, activation: Some(activation) };
        let token = self.write(written(number).map_err(unavailable)?).await?;
        place.fill();
        Ok(Some(token))
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

/// A place aside that is given back unless the message comes to it.
struct PlaceAside<'a> {
    bus: &'a EmbeddedBus,
    activation: Option<ActivationId>,
}

impl PlaceAside<'_> {
    fn fill(mut self) {
        self.activation = None;
    }
}

impl Drop for PlaceAside<'_> {
    fn drop(&mut self) {
        if let Some(activation) = self.activation {
            self.bus.ledger().free_aside(activation);
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
            let next = self.ledger().next(Instant::now);
            match next {
                Next::Message(delivery) => return Some(delivery),
                Next::Stored(stored) => {
                    if let Some(delivery) = self.stored(stored) {
                        return Some(delivery);
                    }
                }
                Next::Later(due) => tokio::select! {
                    () = arrived => {}
                    () = sleep_until(due) => {}
                },
                Next::Nothing => arrived.await,
                Next::Closed => return None,
            }
        }
    }

    async fn starting(&self, activation: ActivationId) -> Result<(), Error> {
        let write = self.ledger().starting(activation);
        if let Some(number) = write {
            let token = self.write(entry::started(activation, number)).await?;
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
        // All entries of a message go with one write: a start without its
        // message is nothing, but a message without its start runs again.
        self.release(tokens);
        Ok(())
    }

    async fn is_accepted(&self, activation: ActivationId) -> bool {
        self.ledger().is_accepted(activation)
    }

    async fn retry(&self, message: &ActivationMessage, attempt: Attempt, due: Due) -> Result<bool, Error> {
        let activation = message.activation;
        if !self.ledger().is_accepted(activation) {
            return Ok(false);
        }
        // Its caller may have stopped waiting this moment, and be promised it.
        self.secure(activation).await?;
        let written = |number| entry::failed(activation, number, due.at, &attempt);
        let namespace = message.user.namespace.clone();
        let Some(token) = self.set_aside(activation, written, namespace).await? else { return Ok(false) };
        let unneeded = self.ledger().put_aside(activation, token, Instant::now() + due.after);
        self.release(unneeded);
        self.arrived.notify_one();
        Ok(true)
    }

    async fn bury(&self, activation: ActivationId, letter: Letter) -> Result<(), Error> {
        let namespace = letter.trigger.path.namespace.clone();
        let written = |_| entry::letter(activation, &letter);
        let Some(token) = self.set_aside(activation, written, namespace).await? else {
            let error = Error::Full(self.aside_limit.messages);
            self.done(&[activation]).await?;
            return Err(error);
        };
        let unneeded = self.ledger().bury(activation, token);
        self.release(unneeded);
        self.lettered.notify_one();
        Ok(())
    }
}

#[async_trait]
impl Letters for EmbeddedBus {
    async fn next_letter(&self) -> Option<(Arc<ActivationMessage>, Letter)> {
        loop {
            let lettered = self.lettered.notified();
            if self.ledger().is_closed() {
                return None;
            }
            let next = self.ledger().next_letter();
            match next {
                Some((_, message, letter)) => {
                    let message = self.read(message, entry::parse);
                    if let (Some(message), Some(letter)) = (message, self.read(letter, entry::parse_letter)) {
                        return Some((Arc::new(message), letter));
                    }
                }
                None => lettered.await,
            }
        }
    }

    fn put_back(&self, activation: ActivationId) {
        self.ledger().put_letter_back(activation);
        self.lettered.notify_one();
    }

    fn posted(&self, activation: ActivationId) {
        let unneeded = self.ledger().done(activation);
        self.release(unneeded);
    }
}
