//! Memory for bodies, which all requests take from as their bytes arrive.
//!
//! Nothing is taken for bytes that were only announced: whoever announces much
//! and sends nothing would keep everybody else waiting. So bodies that grow
//! side by side can use all of it up and wait for each other. One at a time
//! then goes on beyond it, so that all of them end.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Counted in units, since a semaphore counts to 2^29 at most everywhere.
pub const UNIT_BYTES: u64 = 64 * 1024;

/// The memory. Small bodies are not counted: their number is bounded by that
/// of connections.
pub struct Room {
    units: Semaphore,
    beyond: Semaphore,
}

/// What one body holds of it, until dropped.
pub struct Share<'a> {
    room: &'a Room,
    held: Option<SemaphorePermit<'a>>,
    beyond: Option<SemaphorePermit<'a>>,
}

impl Room {
    /// With all of it free.
    pub fn new(total_bytes: u64) -> Self {
        let units = usize::try_from(total_bytes / UNIT_BYTES + 1);
        Self { units: Semaphore::new(units.unwrap_or(Semaphore::MAX_PERMITS)), beyond: Semaphore::new(1) }
    }

    /// For a body of which nothing has come.
    pub fn share(&self) -> Share<'_> {
        Share { room: self, held: None, beyond: None }
    }
}

impl Share<'_> {
    /// Waits until the body may have so many bytes in all.
    pub async fn grow(&mut self, bytes: u64) {
        let held = self.held.as_ref().map_or(0, SemaphorePermit::num_permits);
        let wanted = usize::try_from(bytes / UNIT_BYTES).unwrap_or(usize::MAX);
        if wanted <= held || self.beyond.is_some() {
            return;
        }
        let missing = u32::try_from(wanted - held).unwrap_or(u32::MAX);
        // Neither is ever closed.
        tokio::select! {
            biased;
            Ok(more) = self.room.units.acquire_many(missing) => match &mut self.held {
                Some(held) => held.merge(more),
                none => *none = Some(more),
            },
            Ok(beyond) = self.room.beyond.acquire() => self.beyond = Some(beyond),
            else => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, task::Context};

    use super::*;

    fn waits(future: impl Future<Output = ()>) -> bool {
        pin!(future).poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending()
    }

    #[tokio::test]
    async fn bodies_that_wait_for_each_other_all_end() {
        let room = Room::new(4 * UNIT_BYTES);
        let mut bodies = [room.share(), room.share(), room.share()];
        for body in &mut bodies {
            body.grow(UNIT_BYTES).await;
        }
        let [first, second, third] = &mut bodies;
        first.grow(3 * UNIT_BYTES).await;
        second.grow(9 * UNIT_BYTES).await;
        assert!(second.beyond.is_some(), "one goes beyond");
        assert!(waits(third.grow(2 * UNIT_BYTES)), "and only one");
        second.grow(u64::MAX).await;
        let [first, second, mut third] = bodies;
        drop(second);
        third.grow(9 * UNIT_BYTES).await;
        drop((first, third));
        assert_eq!((room.units.available_permits(), room.beyond.available_permits()), (5, 1));
    }

    #[tokio::test]
    async fn what_has_not_come_takes_nothing() {
        let room = Room::new(UNIT_BYTES);
        let mut many: Vec<_> = (0..100).map(|_| room.share()).collect();
        for body in &mut many {
            body.grow(UNIT_BYTES - 1).await;
        }
        assert_eq!(room.units.available_permits(), 2);
    }
}
