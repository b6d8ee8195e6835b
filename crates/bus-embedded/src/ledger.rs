//! Which messages there are, and what was promised about each: plain state
//! behind the bus's lock. Nothing here waits or writes; each function says
//! what has to be written.

use std::collections::{HashMap, VecDeque, hash_map};
use std::sync::Arc;

use whisker_bus::{ActivationMessage, Delivery, Redelivered};
use whisker_entity::ActivationId;
use whisker_journal::Token;

/// What a message counts for beside its arguments, in bytes.
const MESSAGE_BYTES: usize = 1024;

/// All messages whose records are not safe yet.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Accepted in an earlier life and not read from the journal yet. They
    /// are older than all that waits in `queue`.
    backlog: VecDeque<(Token, Redelivered)>,
    queue: VecDeque<Arc<ActivationMessage>>,
    /// Places in the queue that are taken: by what waits in it, and by what
    /// is being written to the journal first.
    taken: Load,
    held: HashMap<ActivationId, Held>,
    closed: bool,
}

/// Messages, and the bytes that they count for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub messages: usize,
    pub bytes: usize,
}

/// A message on its way, or running, or waiting for its record.
#[derive(Debug)]
struct Held {
    promise: Kept,
    /// An append is under way that will make it accepted. From then on a
    /// start has to be written too.
    securing: bool,
    started: bool,
    /// The journal's entry that says that it started.
    start: Option<Token>,
}

#[derive(Debug)]
enum Kept {
    /// In memory, whole, should its caller stop waiting.
    Sent(Arc<ActivationMessage>),
    /// In the journal.
    Accepted(Token),
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Closed,
}

/// What a caller of [`Ledger::secure`] has to do.
#[derive(Debug)]
pub(crate) enum Secure {
    Nothing,
    /// Write it, and then say so.
    Write {
        message: Arc<ActivationMessage>,
        started: bool,
    },
}

/// What comes next out of the queue.
#[derive(Debug)]
pub(crate) enum Next {
    Message(Delivery),
    /// To be read from the journal first.
    Stored(Token, Redelivered),
    Nothing,
    Closed,
}

/// The journal's entries of one message: none, one, or two.
pub(crate) type Tokens = [Option<Token>; 2];

fn bytes_of(message: &ActivationMessage) -> usize {
    MESSAGE_BYTES + message.content.get().len()
}

impl Ledger {
    /// Takes a message of an earlier life up.
    pub fn restore(&mut self, id: ActivationId, token: Token, start: Option<Token>, redelivered: Redelivered) {
        let started = redelivered == Redelivered::AfterStart;
        self.held.insert(id, Held { promise: Kept::Accepted(token), securing: false, started, start });
        self.backlog.push_back((token, redelivered));
    }

    /// Takes a place in the queue for a message, before it is written.
    /// `Ok(false)` when the message is here already.
    pub fn reserve(&mut self, message: &ActivationMessage, limit: Load) -> Result<bool, Refusal> {
        if self.closed {
            return Err(Refusal::Closed);
        }
        if self.held.contains_key(&message.activation) {
            return Ok(false);
        }
        let bytes = self.taken.bytes + bytes_of(message);
        // One message alone is taken whatever its size.
        if self.taken.messages >= limit.messages || (self.taken.messages > 0 && bytes > limit.bytes) {
            return Err(Refusal::Full);
        }
        self.taken.messages += 1;
        self.taken.bytes = bytes;
        Ok(true)
    }

    /// Gives a place back that [`Ledger::reserve`] took.
    pub fn free(&mut self, message: &ActivationMessage) {
        self.taken.messages -= 1;
        self.taken.bytes -= bytes_of(message);
    }

    /// Puts a message into the place that was taken for it; `token` if it was
    /// written. `false` when there is nowhere to put it any more.
    pub fn enqueue(&mut self, message: Arc<ActivationMessage>, token: Option<Token>) -> bool {
        let vacant = match self.held.entry(message.activation) {
            hash_map::Entry::Vacant(vacant) if !self.closed => vacant,
            // Closed meanwhile, or sent a second time at the same moment.
            _ => {
                self.free(&message);
                return false;
            }
        };
        let promise = token.map_or_else(|| Kept::Sent(Arc::clone(&message)), Kept::Accepted);
        vacant.insert(Held { promise, securing: false, started: false, start: None });
        self.queue.push_back(message);
        true
    }

    pub fn next(&mut self) -> Next {
        if self.closed {
            return Next::Closed;
        }
        if let Some((token, redelivered)) = self.backlog.pop_front() {
            return Next::Stored(token, redelivered);
        }
        let Some(message) = self.queue.pop_front() else { return Next::Nothing };
        self.free(&message);
        Next::Message(Delivery { message, redelivered: Redelivered::No })
    }

    /// Begins to turn a message that was sent into one that is accepted.
    pub fn secure(&mut self, id: ActivationId) -> Secure {
        let Some(held) = self.held.get_mut(&id) else { return Secure::Nothing };
        let Kept::Sent(message) = &held.promise else { return Secure::Nothing };
        held.securing = true;
        Secure::Write { message: Arc::clone(message), started: held.started }
    }

    /// The message is written. Returns the token if nobody needs it: the
    /// record was safe first, or another call wrote the message too.
    pub fn secured(&mut self, id: ActivationId, token: Token) -> Option<Token> {
        match self.held.get_mut(&id) {
            Some(held) if matches!(held.promise, Kept::Sent(_)) => {
                held.promise = Kept::Accepted(token);
                None
            }
            _ => Some(token),
        }
    }

    /// Notes a start. Returns whether it has to be written first, and then
    /// said with [`Ledger::started`].
    pub fn starting(&mut self, id: ActivationId) -> bool {
        let Some(held) = self.held.get_mut(&id) else { return false };
        match held.promise {
            Kept::Sent(_) if !held.securing => {
                held.started = true;
                false
            }
            Kept::Sent(_) | Kept::Accepted(_) => !held.started,
        }
    }

    /// The start is written. Returns the token if nobody needs it.
    pub fn started(&mut self, id: ActivationId, token: Token) -> Option<Token> {
        match self.held.get_mut(&id) {
            Some(held) if held.start.is_none() => {
                held.started = true;
                held.start = Some(token);
                None
            }
            _ => Some(token),
        }
    }

    /// The record is safe. Returns what can be released.
    pub fn done(&mut self, id: ActivationId) -> Tokens {
        match self.held.remove(&id) {
            Some(Held { promise: Kept::Accepted(token), start, .. }) => [Some(token), start],
            Some(Held { promise: Kept::Sent(_), start, .. }) => [None, start],
            None => [None, None],
        }
    }

    /// From now on nothing goes in or comes out. What was accepted is in the
    /// journal; what was sent dies with the process, as promised.
    pub fn close(&mut self) {
        self.closed = true;
        for message in std::mem::take(&mut self.queue) {
            self.free(&message);
        }
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Messages that wait, those of an earlier life included.
    pub fn queued(&self) -> usize {
        self.queue.len() + self.backlog.len()
    }

    /// Messages whose record is not safe yet.
    pub fn held(&self) -> usize {
        self.held.len()
    }
}
