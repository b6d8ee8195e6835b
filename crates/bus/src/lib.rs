//! The bus: how an accepted activation gets from a controller to an invoker,
//! and its outcome back.
//!
//! *Accepted* has one meaning everywhere: the message is durable. A message
//! that was accepted is delivered until an invoker says that its record is
//! safe ([`InvokerBus::done`]), across crashes of either side. One that was
//! only sent is delivered at most once and may die with the process: its
//! sender still holds the client's connection and owes nothing else.
//!
//! The two sides are two traits because no one uses both: what crosses the
//! wire are [`ActivationMessage`]s one way and [`Acknowledgement`]s the other.
//! Both have OpenWhisk's JSON shapes.

mod ack;
mod attempt;
mod error;
mod event;
mod instance;
mod message;
mod ping;
mod transid;

use std::sync::Arc;

use async_trait::async_trait;
use whisker_entity::ActivationId;

pub use ack::{AckMessage, AckResponse, Acknowledgement};
pub use attempt::{Attempt, Due, Letter};
pub use error::Error;
pub use event::{ActivationEvent, Event, EventBody, MetricEvent, MetricName};
pub use instance::{Incarnation, InvokerInstance};
pub use message::{ActivationMessage, ControllerId, InvokerId};
pub use ping::{CacheInvalidation, CacheKey, ControllerPing, InvokerPing, News};

/// What is promised about a message when [`ControllerBus::send`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// It is under way; it dies with the process. For a caller that waits.
    Sent,
    /// It is durable: it will end in a record whatever is killed.
    Accepted,
}

/// The controller's side.
#[async_trait]
pub trait ControllerBus: Send + Sync + 'static {
    /// Hands a message to an invoker's queue.
    ///
    /// Fails with [`Error::Full`] when that queue is at its bound, and with
    /// [`Error::Unavailable`] when it cannot be made durable: in both cases
    /// the message will not be delivered.
    async fn send(&self, to: InvokerId, message: Arc<ActivationMessage>, promise: Promise) -> Result<(), Error>;

    /// Turns [`Promise::Sent`] into [`Promise::Accepted`] for a message whose
    /// caller stopped waiting. Nothing to do, and no error, when its record is
    /// safe already.
    async fn secure(&self, activation: ActivationId) -> Result<(), Error>;

    /// Says where acknowledgements go. Called once, before the first `send`.
    fn subscribe(&self, sink: Arc<dyn AckSink>);

    /// Says where news of the others go. Called once. A bus of one process has
    /// none.
    fn follow(&self, _sink: Arc<dyn NewsSink>) {}

    /// Tells the other controllers that this one lives. Under way when it
    /// returns, like the next one in a second.
    async fn ping(&self, _ping: &ControllerPing) -> Result<(), Error> {
        Ok(())
    }

    /// Tells the other controllers that something changed that they may have
    /// read. Returns once that is durable.
    async fn invalidate(&self, _invalidation: &CacheInvalidation) -> Result<(), Error> {
        Ok(())
    }
}

/// Takes acknowledgements as they arrive. Called on the bus's own task, so it
/// must be quick and must not block.
pub trait AckSink: Send + Sync {
    /// One has arrived.
    fn acknowledged(&self, acknowledgement: Acknowledgement);

    /// A message that was merely sent is known to have got nowhere: nothing
    /// will come of it. [`ControllerBus::secure`] of it fails.
    fn undelivered(&self, _activation: ActivationId) {}
}

/// Takes news as they arrive, on the bus's own task: quick, never blocking.
pub trait NewsSink: Send + Sync {
    /// Something has arrived.
    fn heard(&self, news: News);
}

/// The invoker's side.
#[async_trait]
pub trait InvokerBus: Send + Sync + 'static {
    /// The next message, oldest first; `None` once the bus is closed. Dropping
    /// the future loses nothing.
    async fn receive(&self) -> Option<Delivery>;

    /// Notes that the run is about to start. Returns once that is as durable
    /// as the message itself: after a crash it is delivered again as
    /// [`Redelivered::AfterStart`], and so never runs twice unasked.
    ///
    /// [`Error::Taken`] where another invoker was quicker, or the bus cannot say
    /// whether one was: the run must not begin, and the message is no longer
    /// this receiver's, unless it is received again. Nobody is to hear of it
    /// from here, neither by an acknowledgement nor by a record.
    async fn starting(&self, activation: ActivationId) -> Result<(), Error>;

    /// Tells the controllers, and the other invokers, that this one lives.
    /// Under way when it returns, like the next one in a second. A bus of one
    /// process has nobody to tell.
    async fn ping(&self, _ping: &InvokerPing) -> Result<(), Error> {
        Ok(())
    }

    /// Sends an outcome back to the controller that the message came from.
    async fn acknowledge(&self, acknowledgement: Acknowledgement) -> Result<(), Error>;

    /// The records of these activations are safe: their messages may be
    /// forgotten. Saying it twice, or of unknown ones, is fine.
    async fn done(&self, activations: &[ActivationId]) -> Result<(), Error>;

    /// Whether a message is promised to end in a record by now. Only those are
    /// run again or leave a dead letter: of the others somebody hears at once.
    async fn is_accepted(&self, _activation: ActivationId) -> bool {
        false
    }

    /// Puts an accepted message that was received aside, until it is due, with
    /// a failed run added to its history. Returns once that is as durable as
    /// the message itself. `false` where it cannot be: of a message that was
    /// not accepted, or since too many wait. It is with its receiver then, as
    /// before. A bus that keeps nothing need not have this.
    async fn retry(&self, _message: &ActivationMessage, _attempt: Attempt, _due: Due) -> Result<bool, Error> {
        Ok(false)
    }

    /// The record of this activation is safe, and a trigger is to hear of its
    /// failure: the message is kept until that was done. Returns once that is
    /// durable.
    async fn bury(&self, activation: ActivationId, _letter: Letter) -> Result<(), Error> {
        self.done(&[activation]).await
    }
}

/// The way of user events to whoever wants them.
#[async_trait]
pub trait EventBus: Send + Sync + 'static {
    /// Sends one. Under way when it returns, and lost if it fails: nobody's
    /// activation waits for it. A bus of one process has nobody to tell.
    async fn tell(&self, _event: &Event) -> Result<(), Error> {
        Ok(())
    }
}

/// Dead letters on their way to whoever fires triggers. Each is given out until
/// it is posted, across crashes too.
#[async_trait]
pub trait Letters: Send + Sync + 'static {
    /// The next one, with the message that it is about; `None` once the bus is
    /// closed. Dropping the future loses nothing.
    async fn next_letter(&self) -> Option<(Arc<ActivationMessage>, Letter)>;

    /// It could not be posted now: it comes again, after the others.
    fn put_back(&self, activation: ActivationId);

    /// Its trigger was fired, or never will be. The message is forgotten.
    fn posted(&self, activation: ActivationId);
}

/// A message and its history.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The message.
    pub message: Arc<ActivationMessage>,
    /// Whether an earlier life of an invoker had it.
    pub redelivered: Redelivered,
    /// Runs of it that failed, the first one first; a run that was interrupted
    /// since is not among them.
    pub earlier: Vec<Attempt>,
}

impl Delivery {
    /// A message that nobody had before.
    pub fn first(message: Arc<ActivationMessage>) -> Delivery {
        Delivery { message, redelivered: Redelivered::No, earlier: Vec::new() }
    }
}

/// What an earlier life did with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redelivered {
    /// Nothing: this is its first delivery, or no run had started.
    No,
    /// A run had started and its record is not known to be safe.
    AfterStart,
}
