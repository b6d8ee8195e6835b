//! How an invoker is, as a controller sees it: OpenWhisk's state machine
//! (`InvokerSupervision.scala`), kept as a value.
//!
//! A ping says only that a process lives. Whether it can run anything is known
//! from the ends of its runs, of which the last ten are kept; and when nothing
//! is sent to it since it is not well, from test activations.
//!
//! Three things differ on purpose. Only pings keep an invoker from going
//! offline, and not every late completion does. One event asks for one test
//! activation at most: a second one at the same moment tells no more. And the
//! next tests come sooner than in a minute at first: the one that greets an
//! invoker which was away is easily lost to whoever read its topic meanwhile.

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
/// How long after the first test the next one is due; then twice as long each
/// time, up to what the settings say.
const TEST_AGAIN: Duration = Duration::from_secs(3);
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
    /// What passes between the last test and that one.
    test_pause: Duration,
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
            test_pause: TEST_AGAIN,
        }
    }

    pub fn state(&self) -> Health {
        self.state
    }

    /// So much time went by unnoticed until now: silence in it says nothing.
    pub fn skip(&mut self, gap: Duration, now: Duration) {
        // What was heard since is not heard in the future.
        self.heard = self.heard.saturating_add(gap).min(now);
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
            let pause = if entered { TEST_AGAIN } else { self.test_pause.saturating_mul(2) };
            self.test_pause = pause.min(test_every);
            self.test_at = now.saturating_add(self.test_pause);
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

#[cfg(test)]
mod tests {
    use End::{Success, SystemError as Error, Timeout};
    use Health::{Healthy, Offline, Unhealthy, Unresponsive};
    use Sign::{Ended, Tick};

    use super::*;

    const PING: Sign = Sign::Ping { enabled: true };
    const LEAVES: Sign = Sign::Ping { enabled: false };

    /// Plays signs at seconds, and compares the state after each and whether a
    /// test is wanted.
    #[track_caller]
    fn check(life: &[(u64, Sign, Health, bool)]) {
        let mut watch = Watch::unknown();
        for (number, (second, sign, state, test)) in life.iter().enumerate() {
            let seconds = Duration::from_secs;
            let wanted = watch.on(seconds(*second), *sign, seconds(10), seconds(60));
            assert_eq!((watch.state(), wanted), (*state, *test), "step {number}: {sign:?} at {second} s");
        }
    }

    #[test]
    fn one_that_joins_is_tested_before_it_is_used() {
        check(&[
            (0, PING, Unhealthy, true),
            (1, PING, Unhealthy, false),
            // The test ended well; another one is asked for, as OpenWhisk does.
            (2, Ended(Success), Healthy, true),
            (3, Ended(Success), Healthy, false),
        ]);
    }

    #[test]
    fn silence_of_ten_seconds_is_offline() {
        check(&[
            (0, PING, Unhealthy, true),
            (1, Ended(Success), Healthy, true),
            (9, Tick, Healthy, false),
            (9, PING, Healthy, false),
            // A completion is no sign of life: it may have been on its way for long.
            (18, Ended(Success), Healthy, false),
            (18, Tick, Healthy, false),
            (19, Tick, Offline, false),
            (20, Ended(Success), Offline, false),
            (90, Tick, Offline, false),
            (91, PING, Unhealthy, true),
        ]);
    }

    #[test]
    fn one_that_leaves_says_so() {
        check(&[
            (0, LEAVES, Offline, false),
            (1, PING, Unhealthy, true),
            (2, Ended(Success), Healthy, true),
            (3, LEAVES, Offline, false),
            (4, LEAVES, Offline, false),
            (5, PING, Unhealthy, true),
            (6, LEAVES, Offline, false),
        ]);
    }

    #[test]
    fn tests_come_again_ever_later_up_to_a_minute_as_long_as_it_is_not_well() {
        let mut watch = Watch::unknown();
        let mut tests = Vec::new();
        for second in 0..250 {
            for sign in [PING, Tick] {
                let seconds = Duration::from_secs;
                if watch.on(seconds(second), sign, seconds(10), seconds(60)) {
                    tests.push(second);
                }
            }
        }
        assert_eq!(tests, [0, 3, 9, 21, 45, 93, 153, 213]);
        check(&[
            (0, PING, Unhealthy, true),
            (3, Tick, Unhealthy, true),
            (4, Ended(Error), Unhealthy, false),
            (5, Ended(Success), Healthy, true),
            (6, Tick, Healthy, false),
        ]);
    }

    #[test]
    fn among_the_first_three_each_counts() {
        check(&[
            (0, PING, Unhealthy, true),
            (1, Ended(Success), Healthy, true),
            (2, Ended(Error), Unhealthy, true),
            (3, Ended(Timeout), Unresponsive, true),
            // The fourth end: one error or time-out more is tolerated.
            (4, Ended(Success), Healthy, false),
            (5, Ended(Error), Healthy, false),
        ]);
    }

    #[test]
    fn four_errors_of_the_last_ten_are_too_many() {
        let mut life = vec![(0, PING, Unhealthy, true), (1, Ended(Success), Healthy, true)];
        life.extend([(1, Ended(Success), Healthy, false); 9]);
        life.extend([(2, Ended(Error), Healthy, false); 3]);
        life.push((3, Ended(Error), Unhealthy, true));
        // Six of the last ten went well; each success asks for another test
        // until fewer than four errors are left. The oldest leave first.
        life.extend([(4, Ended(Success), Unhealthy, true); 6]);
        life.push((5, Ended(Success), Healthy, true));
        check(&life);
    }

    #[test]
    fn four_timeouts_of_the_last_ten_are_too_many() {
        let mut life = vec![(0, PING, Unhealthy, true), (1, Ended(Success), Healthy, true)];
        life.extend([(1, Ended(Success), Healthy, false); 9]);
        life.extend([(2, Ended(Timeout), Healthy, false); 3]);
        life.push((3, Ended(Timeout), Unresponsive, true));
        // Of one that does not answer in time, successes ask for no more tests.
        life.extend([(4, Ended(Success), Unresponsive, false); 6]);
        life.push((5, Ended(Success), Healthy, false));
        check(&life);
    }

    #[test]
    fn what_failed_before_it_went_offline_is_remembered() {
        let mut life = vec![(0, PING, Unhealthy, true)];
        life.extend([(1, Ended(Error), Unhealthy, false); 4]);
        life.push((2, LEAVES, Offline, false));
        life.push((3, PING, Unhealthy, true));
        life.extend([(4, Ended(Success), Unhealthy, true); 6]);
        life.push((5, Ended(Success), Healthy, true));
        check(&life);
    }
}
