//! Waiting for a state.

use std::time::{Duration, Instant};

/// Time between two looks: short against anything a person would notice.
const BETWEEN: Duration = Duration::from_millis(20);

/// Looks until there is something to see, and answers it. `Err` says what was
/// there instead; after `within` the test fails with the last such words.
#[track_caller]
pub fn eventually<T>(within: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(seen) => return seen,
            Err(last) if start.elapsed() > within => panic!("not within {within:?}; last seen: {last}"),
            Err(_) => nap(),
        }
    }
}

/// The time between two looks.
#[expect(clippy::disallowed_methods, reason = "the one place that may sleep")]
pub(crate) fn nap() {
    std::thread::sleep(BETWEEN);
}
