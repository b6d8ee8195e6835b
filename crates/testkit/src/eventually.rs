//! Waiting for a state.

use std::time::{Duration, Instant, SystemTime};

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
pub(crate) fn nap() {
    pause(BETWEEN);
}

/// Waits for a while: where a recording says so, or between two tries. What
/// waits for a state waits with [`eventually`].
#[expect(clippy::disallowed_methods, reason = "the one place that may sleep")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Waits until a minute of the clock has just begun, since rates are counted by it.
pub fn wait_for_minute() {
    pause(Duration::from_secs(61) - Duration::from_secs(wall().as_secs() % 60));
}

/// Does what belongs into one minute of the clock, in the second half of it, so
/// that the next one is near; again if the minute ended meanwhile.
pub fn within_a_minute<T>(mut act: impl FnMut() -> T) -> T {
    loop {
        pause(Duration::from_secs(30).saturating_sub(Duration::from_secs(wall().as_secs() % 60)));
        let minute = wall().as_secs() / 60;
        let done = act();
        if wall().as_secs() / 60 == minute {
            return done;
        }
    }
}

/// What the clock on the wall says, since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock on the wall")]
#[must_use]
pub fn wall() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
