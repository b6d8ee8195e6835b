//! The decision, once a run has ended.

use std::time::Duration;

use whisker_dice::Dice;
use whisker_entity::{ActivationId, Millis, Status};

use crate::Policy;

/// A run that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Of which activation: what the spread of pauses is made of.
    pub activation: ActivationId,
    /// Which run of it, from 1.
    pub number: u32,
    /// How it ended.
    pub outcome: Status,
    /// When the activation was asked for.
    pub began: Millis,
    /// The time now.
    pub now: Millis,
}

/// What becomes of the activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It succeeded.
    Succeeded,
    /// It runs again.
    Again {
        /// When.
        at: Millis,
    },
    /// It failed for good.
    Failed(Reason),
}

/// Why a failed activation does not run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Nobody asked for it.
    NotAsked,
    /// Not after this outcome.
    Outcome,
    /// It ran as often as was asked.
    Count,
    /// It would be too old by then.
    Age,
    /// The platform has no room for more that wait.
    NoRoom,
}

impl Reason {
    /// The word that records and dead letters have for it.
    pub fn word(self) -> &'static str {
        match self {
            Reason::NotAsked => "no retries asked for",
            Reason::Outcome => "not retried after this outcome",
            Reason::Count => "retries exhausted",
            Reason::Age => "too old",
            Reason::NoRoom => "too many retries wait",
        }
    }
}

/// Whether an activation runs again.
pub fn decide(policy: Option<&Policy>, attempt: &Attempt) -> Verdict {
    if attempt.outcome == Status::Success {
        return Verdict::Succeeded;
    }
    let Some(policy) = policy else { return Verdict::Failed(Reason::NotAsked) };
    if !policy.on.contains(attempt.outcome) {
        return Verdict::Failed(Reason::Outcome);
    }
    if attempt.number > policy.count {
        return Verdict::Failed(Reason::Count);
    }
    // A clock that was set back must not make anything younger than it is.
    let now = attempt.now.max(attempt.began);
    let at = now.saturating_add(millis(pause(policy, attempt)));
    if at > attempt.began.saturating_add(millis(policy.max_age)) {
        return Verdict::Failed(Reason::Age);
    }
    Verdict::Again { at }
}

/// Twice as long each time, up to the longest; somewhere in the upper half of
/// that, so that what failed together does not come back together.
fn pause(policy: &Policy, attempt: &Attempt) -> Duration {
    let doublings = attempt.number.saturating_sub(1).min(31);
    let whole = policy.backoff.saturating_mul(1 << doublings).min(policy.max_backoff.max(policy.backoff));
    let half = whole / 2;
    half + half.mul_f64(spread(attempt))
}

/// From 0 to 1, as good as chance and the same each time: ids have 80 random
/// bits, which are a seed for each attempt.
fn spread(attempt: &Attempt) -> f64 {
    let bytes = attempt.activation.to_bytes();
    let low = bytes.iter().skip(8).fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
    Dice(low.wrapping_add(u64::from(attempt.number))).uniform()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Outcomes;

    fn policies() -> impl Strategy<Value = Policy> {
        let on = (any::<bool>(), any::<bool>(), any::<bool>());
        let on = on.prop_map(|(application, developer, platform)| Outcomes { application, developer, platform });
        (0..=10_u32, 100..3_600_000_u64, 100..3_600_000_u64, 1_000..86_400_000_u64, on).prop_map(
            |(count, backoff, max_backoff, max_age, on)| Policy {
                count,
                backoff: Duration::from_millis(backoff),
                max_backoff: Duration::from_millis(max_backoff),
                max_age: Duration::from_millis(max_age),
                on,
            },
        )
    }

    fn outcomes() -> impl Strategy<Value = Status> {
        prop::sample::select(vec![
            Status::Success,
            Status::ApplicationError,
            Status::DeveloperError,
            Status::WhiskError,
        ])
    }

    fn attempts() -> impl Strategy<Value = Attempt> {
        (any::<u128>(), 1..14_u32, outcomes(), 0..u64::MAX, any::<i32>()).prop_map(
            |(random, number, outcome, began, later)| Attempt {
                activation: ActivationId::new(0, random),
                number,
                outcome,
                began,
                // Clocks are set back, too.
                now: began.saturating_add_signed(later.into()),
            },
        )
    }

    proptest! {
        #[test]
        fn a_retry_is_asked_for_in_time_and_not_at_once(policy in policies(), attempt in attempts()) {
            match decide(Some(&policy), &attempt) {
                Verdict::Succeeded => prop_assert_eq!(attempt.outcome, Status::Success),
                Verdict::Again { at } => {
                    prop_assert!(policy.on.contains(attempt.outcome));
                    prop_assert!(attempt.number <= policy.count);
                    prop_assert!(at <= attempt.began.saturating_add(millis(policy.max_age)));
                    let pause = at - attempt.now.max(attempt.began);
                    let (least, most) = (millis(policy.backoff) / 2, millis(policy.backoff.max(policy.max_backoff)));
                    prop_assert!((least..=most).contains(&pause), "{} of {}..={}", pause, least, most);
                }
                Verdict::Failed(reason) => {
                    prop_assert_ne!(attempt.outcome, Status::Success);
                    let fits = match reason {
                        Reason::Outcome => !policy.on.contains(attempt.outcome),
                        Reason::Count => attempt.number > policy.count,
                        Reason::Age => attempt.number <= policy.count,
                        Reason::NotAsked | Reason::NoRoom => false,
                    };
                    prop_assert!(fits, "{:?}", reason);
                }
            }
        }

        #[test]
        fn every_activation_ends(policy in policies(), mut attempt in attempts()) {
            attempt.number = 1;
            let mut runs = 1;
            while let Verdict::Again { at } = decide(Some(&policy), &attempt) {
                prop_assert!(at >= attempt.now.max(attempt.began));
                attempt = Attempt { number: attempt.number + 1, now: at, ..attempt };
                runs += 1;
            }
            prop_assert!(runs <= policy.count + 1);
        }

        #[test]
        fn without_a_policy_nothing_runs_again(attempt in attempts()) {
            let again = matches!(decide(None, &attempt), Verdict::Again { .. });
            prop_assert!(!again);
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_spread() {
        let policy = Policy { count: 10, max_backoff: Duration::from_secs(8), ..Policy::default() };
        let pause = |number, random| {
            let activation = ActivationId::new(0, random);
            let attempt = Attempt { activation, number, outcome: Status::DeveloperError, began: 0, now: 0 };
            match decide(Some(&policy), &attempt) {
                Verdict::Again { at } => at,
                other => panic!("{other:?}"),
            }
        };
        for (number, whole) in [(1, 1000), (2, 2000), (3, 4000), (4, 8000), (10, 8000)] {
            let pauses: Vec<u64> = (0..200).map(|random| pause(number, random)).collect();
            assert!(pauses.iter().all(|pause| (whole / 2..=whole).contains(pause)), "{pauses:?}");
            let mean = pauses.iter().sum::<u64>() / 200;
            assert!((whole * 70 / 100..whole * 80 / 100).contains(&mean), "{number}: {mean}");
        }
    }
}
