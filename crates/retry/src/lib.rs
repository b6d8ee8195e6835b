//! Whether a failed activation runs again, when, and who hears of it when it
//! does not: what an action's annotations ask for, and the decision.
//!
//! | annotation | says |
//! | --- | --- |
//! | `whisker-retries` | how often, after what pauses, for how long, after which outcomes |
//! | `whisker-dead-letter` | which trigger is fired when none of that helped |
//!
//! The names are ours alone: OpenWhisk takes any annotation, and a `retries`
//! that somebody's tool writes today must not make an action run four times.
//! The terms are those of AWS Lambda's asynchronous invocations, which most
//! people have met: a number of *re*tries, a greatest age, a destination.
//!
//! Here is no clock, no dice and nothing that waits: the time and what chance
//! is made of come in, a [`Verdict`] goes out.

mod annotation;
mod decide;

pub use annotation::{DEAD_LETTER, Invalid, Outcomes, Policy, RETRIES, dead_letter};
pub use decide::{Attempt, Reason, Verdict, decide};
