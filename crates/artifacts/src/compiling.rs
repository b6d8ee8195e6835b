//! What is said of source that did not become a program, whoever compiled it.

use std::time::Duration;

use crate::Refusal;

/// As much of a compiler's output is kept; the rest is read and forgotten.
pub const SAID_BYTES: u64 = 64 * 1024;

/// How long it is remembered that a compiler ran out of time: the host may
/// have been busy.
pub const TRY_AGAIN: Duration = Duration::from_secs(60);

/// How long a container waits for its code to be ready, others' turns included.
/// Whoever makes it goes on, so that the next start may find it.
pub const READY_WAIT: Duration = Duration::from_secs(600);

/// What OpenWhisk says of code that does not compile; what the compiler said
/// is in the log.
const NOT_BUILT: &str = "The action failed to generate or locate a binary. See logs for details.";

impl Refusal {
    /// A compiler said this, or ended without a program.
    pub fn not_built(said: &str) -> Refusal {
        Refusal::new(NOT_BUILT).with_details(said)
    }

    /// A compiler was not done in time. Forgotten after [`TRY_AGAIN`].
    pub fn late(limit: Duration, said: &str) -> Refusal {
        let words = format!("The action was not compiled within {} seconds.", limit.as_secs());
        Refusal { lasts: Some(TRY_AGAIN), ..Refusal::new(words).with_details(said) }
    }

    /// A compiler took more memory than it has.
    pub fn starved(memory_mb: u32, said: &str) -> Refusal {
        Refusal::new(format!("Compiling the action took more than {memory_mb} MB of memory.")).with_details(said)
    }
}
