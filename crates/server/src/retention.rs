//! Forgetting old activation records, off everyone's path.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use whisker_entity::Millis;
use whisker_store::{Activations, Retention};

/// How often it is looked whether records are too old or too many.
const PERIOD: Duration = Duration::from_secs(60);
/// Pause between two steps, so that others' writes come in between.
const BREATH: Duration = Duration::from_millis(20);

/// Which records are kept; `None`: all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Older ones go.
    pub max_age: Option<Duration>,
    /// Beyond so many the oldest go.
    pub max_count: Option<u64>,
}

/// Prunes until cancelled, if anything is ever to go. `now` is the wall clock.
pub async fn run(
    activations: Arc<dyn Activations>,
    Kept { max_age, max_count }: Kept,
    now: fn() -> Millis,
    cancel: CancellationToken,
) {
    if max_age.is_none() && max_count.is_none() {
        return;
    }
    let mut tick = tokio::time::interval(PERIOD);
    let max_age_ms = max_age.map_or(u64::MAX, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    let max_count = max_count.unwrap_or(u64::MAX);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = tick.tick() => {}
        }
        let retention = Retention { not_before: now().saturating_sub(max_age_ms), max_count };
        let mut forgotten = 0;
        loop {
            match activations.prune(retention).await {
                Ok(0) => break,
                Ok(pruned) => forgotten += pruned,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "old records could not be forgotten");
                    break;
                }
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(BREATH) => {}
            }
        }
        if forgotten > 0 {
            tracing::info!(records = forgotten, "old activation records were forgotten");
        }
    }
}
