//! The answer to an append, and the name it gives to an entry.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::error::Error;
use crate::journal::Shared;

/// Names an entry of one journal. Tokens grow in the order in which entries
/// were accepted, and are never used again, restarts included, while an entry
/// with a smaller one lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub(crate) u64);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An append under way: a future of the entry's token. In mode `Process` it is
/// ready when it is made.
///
/// Dropped before it answered, it withdraws the entry: nobody would hold the
/// token that releases it.
#[must_use = "an append that nobody waits for is withdrawn"]
pub struct Append {
    state: State,
    shared: Arc<Shared>,
}

pub(crate) type Answer = Result<Token, Error>;

enum State {
    Ready(Answer),
    Waiting(oneshot::Receiver<Answer>),
    Taken,
}

impl Append {
    pub(crate) fn ready(shared: Arc<Shared>, answer: Answer) -> Append {
        Append { state: State::Ready(answer), shared }
    }

    pub(crate) fn waiting(shared: Arc<Shared>, answer: oneshot::Receiver<Answer>) -> Append {
        Append { state: State::Waiting(answer), shared }
    }

    /// Waits on this thread. In mode `Process` it never does wait.
    ///
    /// # Panics
    ///
    /// Inside an async task in mode `Power`: such a caller awaits the future.
    pub fn wait(mut self) -> Result<Token, Error> {
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Ready(answer) => answer,
            State::Waiting(answer) => answer.blocking_recv().unwrap_or(Err(Error::Closed)),
            State::Taken => Err(Error::Closed),
        }
    }
}

impl Future for Append {
    type Output = Result<Token, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Waiting(answer) = &mut self.state {
            let Poll::Ready(answer) = Pin::new(answer).poll(context) else {
                return Poll::Pending;
            };
            self.state = State::Ready(answer.unwrap_or(Err(Error::Closed)));
        }
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Ready(answer) => Poll::Ready(answer),
            State::Waiting(_) | State::Taken => Poll::Ready(Err(Error::Closed)),
        }
    }
}

impl Drop for Append {
    fn drop(&mut self) {
        let answer = match std::mem::replace(&mut self.state, State::Taken) {
            State::Ready(answer) => Some(answer),
            State::Waiting(mut answer) => {
                // After this the answer either arrived or finds nobody, in
                // which case the writer releases the entry.
                answer.close();
                answer.try_recv().ok()
            }
            State::Taken => None,
        };
        if let Some(Ok(token)) = answer {
            self.shared.release(&[token.0]);
        }
    }
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Ready(_) => "ready",
            State::Waiting(_) => "waiting",
            State::Taken => "taken",
        };
        f.debug_tuple("Append").field(&state).finish()
    }
}
