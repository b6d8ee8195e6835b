//! What an action's code becomes before it runs: an archive unpacked, a
//! program compiled. Done once for each version of the code, kept on disk
//! under a name made of what went in, and shared by all containers that run it.
//!
//! - [`archive`] looks through archives and unpacks them, within limits.
//! - [`Artifacts`] keeps what was made, within a bound, and makes what is
//!   missing once however many ask.
//!
//! It knows neither containers nor languages: whoever asks says how the thing
//! is made, and mounts what comes of it.

pub mod archive;
mod artifacts;
mod compiling;
mod disk;
mod key;

pub use artifacts::{Artifacts, Failure, Held, Refusal};
pub use compiling::{READY_WAIT, SAID_BYTES, TRY_AGAIN};
pub use key::Key;
