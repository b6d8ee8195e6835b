//! How an invoker is, as a controller sees it: OpenWhisk's state machine
//! (`InvokerSupervision.scala`), kept as a value.
//!
//! A ping says only that a process lives. Whether it can run anything is known
//! from the ends of its runs, of which the last ten are kept; and when nothing
//! is sent to it since it is not well, from test activations.
//!
//! Two things differ on purpose. Only pings keep an invoker from going
//! offline, and not every late completion does. And one event asks for one
//! test activation at most: a second one at the same moment tells no more.

use std::time::Duration;

/// What is known of an invoker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Health {
    /// It pings, and its runs end.
    Healthy,
    /// It pings, but is not known to run anything, or too much failed.
    Unhealthy,
    /// It pings, but too many of its runs were not heard of again.
    Unresponsive,
    /// It does not ping, or takes no work.
    Offline,
}

impl Health {
    /// Whether runs may be sent to it.
    pub fn is_usable(self) -> bool {
        self == Health::Healthy
    }

    /// OpenWhisk's word for it, which `GET /invokers` answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Healthy => "up",
            Health::Unhealthy => "unhealthy",
            Health::Unresponsive => "unresponsive",
            Health::Offline => "down",
        }
    }
}

/// How a run ended, as far as its invoker is to blame. What the user's code
/// did wrong is a success here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// The invoker did its part.
    Success,
    /// The platform failed.
    SystemError,
    /// Its completion did not come in time.
    Timeout,
}

/// What can be heard of an invoker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It pinged.
    Ping { enabled: bool },
    /// A run, or a test, ended.
    Ended(End),
    /// Time went by.
    Tick,
}

/// How many ends are kept.
const KEPT: usize = 10;
/// More errors, or time-outs, than this among them, and it is not used.
const TOLERATED: usize = 3;

/// Watches over one invoker.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    state: Health,
    /// The last ends, as a ring.
    ends: [End; KEPT],
    count: usize,
    next: usize,
    /// When it pinged last.
    heard: Duration,
    /// When the next test is due, in the states that have tests.
    test_at: Duration,
}

impl Watch {
    /// One of which only its number is known.
    pub fn unknown() -> Self {
        Self {
            state: Health::Offline,
            ends: [End::Success; KEPT],
            count: 0,
            next: 0,
            heard: Duration::ZERO,
            test_at: Duration::ZERO,
        }
    }

    pub fn state(&self) -> Health {
        self.state
    }

    /// So much time went by unnoticed: silence in it says nothing.
    pub fn skip(&mut self, gap: Duration) {
        self.heard = self.heard.saturating_add(gap);
    }

    /// Hears a sign, and says whether a test activation is wanted.
    pub fn on(&mut self, now: Duration, sign: Sign, offline_after: Duration, test_every: Duration) -> bool {
        let before = self.state;
        let mut test = false;
        match (self.state, sign) {
            (Health::Offline, Sign::Ping { enabled: true }) => {
                self.heard = now;
                self.state = Health::Unhealthy;
            }
            (Health::Offline, Sign::Ping { enabled: false } | Sign::Tick) => {}
            // What it ran before is counted, but does not bring it back.
            (Health::Offline, Sign::Ended(end)) => self.keep(end),
            (_, Sign::Ping { enabled: true }) => self.heard = now,
            (_, Sign::Ping { enabled: false }) => self.state = Health::Offline,
            (state, Sign::Ended(end)) => {
                self.keep(end);
                // The quicker errors leave the ring, the sooner it is used.
                test = state == Health::Unhealthy && end == End::Success;
                self.state = self.judged(state, end);
            }
            (_, Sign::Tick) if now >= self.heard.saturating_add(offline_after) => self.state = Health::Offline,
            (Health::Healthy, Sign::Tick) => {}
            (Health::Unhealthy | Health::Unresponsive, Sign::Tick) => test = now >= self.test_at,
        }
        let entered = self.state != before && matches!(self.state, Health::Unhealthy | Health::Unresponsive);
        if entered || (test && sign == Sign::Tick) {
            self.test_at = now.saturating_add(test_every);
        }
        test || entered
    }

    fn keep(&mut self, end: End) {
        self.ends[self.next] = end;
        self.next = (self.next + 1) % KEPT;
        self.count = (self.count + 1).min(KEPT);
    }

    /// The state after an end, of an invoker that pings.
    fn judged(&self, state: Health, end: End) -> Health {
        // The ring is filled from its beginning, so these are all there are.
        let count = |of: End| self.ends[..self.count].iter().filter(|end| **end == of).count();
        let primed = self.count > TOLERATED;
        match end {
            // One that is well is not blamed while its runs go well.
            End::Success if state == Health::Healthy => state,
            _ if count(End::SystemError) > TOLERATED => Health::Unhealthy,
            _ if count(End::Timeout) > TOLERATED => Health::Unresponsive,
            End::Success => Health::Healthy,
            // Among the first few, each counts.
            End::SystemError if !primed => Health::Unhealthy,
            End::Timeout if !primed => Health::Unresponsive,
            End::SystemError | End::Timeout => state,
        }
    }
}
