//! For this seam's users and its backends: a sandbox without processes, and
//! the tests that every backend must pass, the fake included.

pub mod contract;
mod fake;

pub use contract::{Programs, Subject};
pub use fake::{Act, ActEnd, Event, Fake, FakeContainer, Seen};
