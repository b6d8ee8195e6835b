//! Where user code runs: the seam between the invoker, which decides what
//! runs, and a backend, which isolates it.
//!
//! A [`Sandbox`] makes [`Container`]s. A container is started for a runtime
//! kind with a memory limit, is initialised once with one action's code, and
//! then runs that action any number of times. It serves one namespace in its
//! life. The invoker's `pool` decides when each of these happens; a backend
//! decides nothing but how.
//!
//! What a user's function does wrong (it throws, hangs, exits, answers
//! nonsense) is a value here: [`InitEnd`] and [`RunEnd`]. [`Error`] means that
//! the platform failed.
//!
//! Why a container is not told to "invoke" in one call: initialisation and
//! each run have their own time limit and their own failure texts, and the
//! outcome must go back to the caller before logs are collected.

mod container;
mod error;
mod log;
#[cfg(feature = "testing")]
pub mod testing;

pub use container::{
    Code, CodeIdentity, Container, Ended, Init, InitEnd, Run, RunEnd, Sandbox, Start, black_box, image_of,
};
pub use error::{Error, ImageFault};
pub use log::{LogLine, Logs, Stream};
