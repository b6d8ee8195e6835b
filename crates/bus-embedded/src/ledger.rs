//! Which messages there are, and what was promised about each: plain state
//! behind the bus's lock. Nothing here waits or writes; each function says
//! what has to be written.

use std::collections::{HashMap, VecDeque, hash_map};
use std::sync::Arc;

use tokio::time::Instant;
use whisker_bus::{ActivationMessage, Delivery, Redelivered};
use whisker_entity::ActivationId;
use whisker_journal::Token;

use crate::aside::{Aside, Share};

/// What a message counts for beside its arguments, in bytes.
const MESSAGE_BYTES: usize = 1024;

/// All messages whose records are not safe yet.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Accepted in an earlier life and not read from the journal yet. They
    /// are older than all that waits in `queue`.
    backlog: VecDeque<(ActivationId, Token, Redelivered)>,
    queue: VecDeque<Arc<ActivationMessage>>,
    /// Places in the queue that are taken: by what waits in it, and by what
    /// is being written to the journal first.
    taken: Load,
    held: HashMap<ActivationId, Held>,
    /// What waits for its next run or its letter. It has no place in the queue.
    aside: Aside,
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
    /// Appends under way that will make it accepted. While there is one a
    /// start has to be written too.
    securing: u32,
    started: bool,
    /// The journal's entry that says that it started.
    start: Option<Token>,
    /// Its record is safe. It is held on until no append is under way, since
    /// a message that outlived its start in the journal would run again.
    done: bool,
    /// What it counts for, in bytes.
    bytes: usize,
    /// The journal's entries of the runs of it that failed.
    attempts: Vec<Token>,
    /// The journal's entry of its dead letter.
    letter: Option<Token>,
    /// What it takes while it waits aside.
    share: Option<Share>,
}

impl Held {
    fn new(promise: Kept, bytes: usize) -> Self {
        let (attempts, letter, share) = (Vec::new(), None, None);
        Self { promise, securing: 0, started: false, start: None, done: false, bytes, attempts, letter, share }
    }
}

/// A message of an earlier life.
#[derive(Debug)]
pub(crate) struct Restored {
    pub id: ActivationId,
    pub token: Token,
    pub bytes: usize,
    /// The start of a run of which nothing more is known.
    pub start: Option<Token>,
    pub redelivered: Redelivered,
    pub attempts: Vec<Token>,
    pub wait: Wait,
}

/// What a restored message waits for.
#[derive(Debug)]
pub(crate) enum Wait {
    /// Its turn.
    Turn,
    /// Its next run, aside.
    Due(Share, Instant),
    /// Its dead letter, aside.
    Letter(Share, Token),
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
    Stored(Stored),
    /// Nothing before that, if nothing comes.
    Later(Instant),
    Nothing,
    Closed,
}

/// A message in the journal.
#[derive(Debug)]
pub(crate) struct Stored {
    pub token: Token,
    pub redelivered: Redelivered,
    pub attempts: Vec<Token>,
}

fn bytes_of(message: &ActivationMessage) -> usize {
    MESSAGE_BYTES + message.content.get().len()
}

impl Ledger {
    /// Takes a message of an earlier life up.
    pub fn restore(&mut self, restored: Restored) {
        let Restored { id, token, bytes, start, redelivered, attempts, wait } = restored;
        let started = redelivered == Redelivered::AfterStart;
        let mut held = Held { started, start, attempts, ..Held::new(Kept::Accepted(token), bytes) };
        match wait {
            Wait::Turn => self.backlog.push_back((id, token, redelivered)),
            Wait::Due(share, due) => {
                self.aside.add(&share);
                held.share = Some(share);
                self.aside.wait(id, due);
            }
            Wait::Letter(share, letter) => {
                self.aside.add(&share);
                (held.share, held.letter) = (Some(share), Some(letter));
                self.aside.letters.push_back(id);
            }
        }
        self.held.insert(id, held);
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
        vacant.insert(Held::new(promise, bytes_of(&message)));
        self.queue.push_back(message);
        true
    }

    /// What is due comes first: it has waited, and its pauses bound how much
    /// of it there is.
    pub fn next(&mut self, now: impl FnOnce() -> Instant) -> Next {
        if self.closed {
            return Next::Closed;
        }
        let soonest = self.aside.soonest();
        if let Some(due) = soonest
            && due <= now()
            && let Some(stored) = self.due()
        {
            return Next::Stored(stored);
        }
        while let Some((id, token, redelivered)) = self.backlog.pop_front() {
            // The record that an earlier life left may be safe by now.
            if let Some(held) = self.held.get(&id) {
                return Next::Stored(Stored { token, redelivered, attempts: held.attempts.clone() });
            }
        }
        match (self.queue.pop_front(), soonest) {
            (Some(message), _) => {
                self.free(&message);
                Next::Message(Delivery::first(message))
            }
            (None, Some(due)) => Next::Later(due),
            (None, None) => Next::Nothing,
        }
    }

    /// Takes the soonest out of those that wait for their time.
    fn due(&mut self) -> Option<Stored> {
        let id = self.aside.pop()?;
        let held = self.held.get_mut(&id)?;
        if let Some(share) = held.share.take() {
            self.aside.free(&share);
        }
        let Kept::Accepted(token) = held.promise else { return None };
        Some(Stored { token, redelivered: Redelivered::No, attempts: held.attempts.clone() })
    }

    /// Whether the message is in the journal, or just being put there because
    /// its caller stopped waiting.
    pub fn is_accepted(&self, id: ActivationId) -> bool {
        let accepted = |held: &Held| matches!(held.promise, Kept::Accepted(_)) || held.securing > 0;
        self.held.get(&id).is_some_and(accepted)
    }

    /// Takes a place aside for an accepted message, before its failed run is
    /// written; the run's number, from 1. `None` when it cannot wait there.
    pub fn reserve_aside(&mut self, id: ActivationId, mut share: Share, limit: Load) -> Option<u32> {
        let held = self.held.get_mut(&id)?;
        if !matches!(held.promise, Kept::Accepted(_)) || held.done || held.share.is_some() {
            return None;
        }
        share.bytes += held.bytes;
        if !self.aside.has_room(&share, limit) {
            return None;
        }
        self.aside.add(&share);
        held.share = Some(share);
        u32::try_from(held.attempts.len() + 1).ok()
    }

    /// Gives that place back.
    pub fn free_aside(&mut self, id: ActivationId) {
        if let Some(share) = self.held.get_mut(&id).and_then(|held| held.share.take()) {
            self.aside.free(&share);
        }
    }

    /// The failed run is written: the message waits until it is due. Returns
    /// what can be released.
    pub fn put_aside(&mut self, id: ActivationId, token: Token, due: Instant) -> Vec<Token> {
        let Some(held) = self.held.get_mut(&id) else { return vec![token] };
        held.attempts.push(token);
        held.started = false;
        let start = held.start.take();
        self.aside.wait(id, due);
        start.into_iter().collect()
    }

    /// The letter is written: the message waits until it is posted. Returns
    /// what can be released.
    pub fn bury(&mut self, id: ActivationId, token: Token) -> Vec<Token> {
        let Some(held) = self.held.get_mut(&id) else { return vec![token] };
        held.letter = Some(token);
        let unneeded = held.start.take().into_iter().chain(held.attempts.drain(..)).collect();
        self.aside.letters.push_back(id);
        unneeded
    }

    /// The next dead letter: the journal's entries of its message and of it.
    pub fn next_letter(&mut self) -> Option<(ActivationId, Token, Token)> {
        while let Some(id) = self.aside.letters.pop_front() {
            if let Some(Held { promise: Kept::Accepted(message), letter: Some(letter), .. }) = self.held.get(&id) {
                return Some((id, *message, *letter));
            }
        }
        None
    }

    /// Puts a letter behind the others.
    pub fn put_letter_back(&mut self, id: ActivationId) {
        if self.held.get(&id).is_some_and(|held| held.letter.is_some()) {
            self.aside.letters.push_back(id);
        }
    }

    /// Begins to turn a message that was sent into one that is accepted. What
    /// is to be written ends with [`Ledger::secured`], however it ends.
    pub fn secure(&mut self, id: ActivationId) -> Secure {
        let Some(held) = self.held.get_mut(&id).filter(|held| !held.done) else { return Secure::Nothing };
        let Kept::Sent(message) = &held.promise else { return Secure::Nothing };
        held.securing += 1;
        Secure::Write { message: Arc::clone(message), started: held.started }
    }

    /// The message is written, or could not be. Returns what can be released:
    /// this entry if another call wrote the message too, and all there is of
    /// it if its record was safe first.
    pub fn secured(&mut self, id: ActivationId, token: Option<Token>) -> Vec<Token> {
        let Some(held) = self.held.get_mut(&id) else { return token.into_iter().collect() };
        held.securing -= 1;
        let mut unneeded = Vec::new();
        match (&held.promise, token) {
            (Kept::Sent(_), Some(token)) => held.promise = Kept::Accepted(token),
            (Kept::Accepted(_), Some(token)) => unneeded.push(token),
            (_, None) => {}
        }
        if held.done && held.securing == 0 {
            unneeded.extend(self.forget(id));
        }
        unneeded
    }

    /// Notes a start. Returns whether it has to be written first, after how
    /// many failed runs, and then said with [`Ledger::started`].
    pub fn starting(&mut self, id: ActivationId) -> Option<u32> {
        let held = self.held.get_mut(&id)?;
        match held.promise {
            Kept::Sent(_) if held.securing == 0 => {
                held.started = true;
                None
            }
            Kept::Sent(_) | Kept::Accepted(_) if held.started => None,
            Kept::Sent(_) | Kept::Accepted(_) => u32::try_from(held.attempts.len()).ok(),
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
    pub fn done(&mut self, id: ActivationId) -> Vec<Token> {
        match self.held.get_mut(&id) {
            Some(held) if held.securing > 0 => {
                held.done = true;
                Vec::new()
            }
            Some(_) => self.forget(id),
            None => Vec::new(),
        }
    }

    /// Forgets a message; the journal's entries of it.
    fn forget(&mut self, id: ActivationId) -> Vec<Token> {
        let Some(Held { promise, start, attempts, letter, share, .. }) = self.held.remove(&id) else {
            return Vec::new();
        };
        if let Some(share) = share {
            self.aside.free(&share);
        }
        let message = match promise {
            Kept::Accepted(token) => Some(token),
            Kept::Sent(_) => None,
        };
        message.into_iter().chain(start).chain(attempts).chain(letter).collect()
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

    /// Messages that wait aside, for their next run or their dead letter.
    pub fn aside(&self) -> usize {
        self.aside.load().messages
    }

    /// Messages whose record is not safe yet, or their letter not posted.
    pub fn held(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use whisker_journal::{Config, Journal};

    use super::*;

    fn message() -> Arc<ActivationMessage> {
        let key = format!("u:{}", "k".repeat(64));
        let text = format!(
            r#"{{"transid":["t",0],"action":{{"path":"guest","name":"a","version":"0.0.1"}},"revision":null,
            "user":{{"subject":"guest","namespace":{{"name":"guest","uuid":"u"}},"authkey":{{"api_key":"{key}"}},
                "rights":[],"limits":{{}}}},
            "activationId":"00000000000000000000000000000001",
            "rootControllerIndex":{{"asString":"0","instanceType":"controller"}},"blocking":true,"content":{{}}}}"#
        );
        Arc::new(serde_json::from_str(&text).unwrap())
    }

    /// A ledger with one message that was merely sent, and is being secured.
    fn securing() -> (Ledger, ActivationId) {
        let (mut ledger, message) = (Ledger::default(), message());
        let id = message.activation;
        assert_eq!(ledger.reserve(&message, Load { messages: 1, bytes: 0 }), Ok(true));
        assert!(ledger.enqueue(message, None));
        assert!(matches!(ledger.secure(id), Secure::Write { started: false, .. }));
        (ledger, id)
    }

    #[test]
    fn what_is_done_while_it_is_secured_is_released_with_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(Config::new(folder.path())).unwrap();
        let token = || journal.append(0, b"").wait().unwrap();
        let (mut ledger, id) = securing();
        assert!(matches!(ledger.secure(id), Secure::Write { .. }), "twice at once");
        assert_eq!(ledger.starting(id), Some(0), "the message may be in the journal already");
        let start = token();
        assert_eq!(ledger.started(id, start), None);
        assert_eq!(ledger.done(id), []);
        let (first, second) = (token(), token());
        assert_eq!(ledger.secured(id, Some(first)), []);
        assert_eq!(ledger.secured(id, Some(second)), [second, first, start]);
        assert_eq!(ledger.held(), 0);
    }

    #[test]
    fn what_could_not_be_secured_is_merely_sent() {
        let (mut ledger, id) = securing();
        assert_eq!(ledger.secured(id, None), []);
        assert_eq!(ledger.starting(id), None, "nothing of it is in the journal");
        assert_eq!(ledger.done(id), []);
        assert_eq!(ledger.held(), 0);
    }
}
