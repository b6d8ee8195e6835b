//! Containers that were made before anybody asked, without a runtime in them.
//!
//! Most of a start is bubblewrap's: namespaces, mounts and filters take it longer
//! than any runtime but Node.js and Java takes to load. None of that depends on
//! what will run. So a few containers are kept in which a shell waits, that with
//! which compiled actions begin anyway; whoever starts a container takes one of
//! the right size, and has the shell become the launcher that is wanted. Another
//! is made in its place a moment later.
//!
//! They are of the sizes that were asked for last. More starts at a time than
//! there are spares, or one of a size that was not asked for lately, make their
//! containers as if there were none.

use std::{
    collections::VecDeque,
    future::poll_fn,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::Notify, task::spawn_blocking, time};
use whisker_frame::order;

use crate::{
    catalog::Launch,
    keeper::Life,
    parts::{Parts, Raised},
    thread::Maker,
    workshop,
};

/// What waits in a spare, below `runtimes/`.
pub(crate) const WAITER: &str = "actionloop/start.sh";

/// Memory of the first spares, in MB: what an action gets that asks for nothing.
const FIRST_MB: u32 = 256;

/// For so long none is made after one was asked for, or made: who starts needs
/// the processors.
const REST: Duration = Duration::from_millis(50);

/// Those of one sandbox.
pub(crate) struct Spares {
    state: Mutex<State>,
    /// Something was taken, or they were closed.
    changed: Notify,
}

struct State {
    /// Memory of the last starts, in MB: as many as spares are kept.
    wanted: VecDeque<u32>,
    ready: Vec<Spare>,
    closed: bool,
}

/// A container whose shell waits. Dropping it ends it.
pub(crate) struct Spare {
    memory_mb: u32,
    /// `None` once it became another's.
    raised: Option<Raised>,
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(raised) = &self.raised {
            raised.body.bury();
        }
    }
}

impl Spares {
    pub(crate) fn new(count: usize) -> Arc<Spares> {
        let wanted = std::iter::repeat_n(FIRST_MB, count).collect();
        let state = State { wanted, ready: Vec::with_capacity(count), closed: false };
        Arc::new(Spares { state: Mutex::new(state), changed: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of this size, if there is one.
    pub(crate) fn take(&self, memory_mb: u32) -> Option<Spare> {
        let mut state = self.state();
        state.wanted.pop_front()?;
        state.wanted.push_back(memory_mb);
        let taken = state.take(memory_mb);
        drop(state);
        self.changed.notify_one();
        taken
    }

    /// Ends all of them; no more are made.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.ready.clear();
        drop(state);
        self.changed.notify_one();
    }
}

impl State {
    fn take(&mut self, memory_mb: u32) -> Option<Spare> {
        self.ready.retain(|spare| spare.is_alive());
        let at = self.ready.iter().position(|spare| spare.memory_mb == memory_mb)?;
        Some(self.ready.remove(at))
    }

    /// The size of one that is missing. What is there beyond need is dropped.
    fn missing(&mut self) -> Option<u32> {
        let mut wanted = self.wanted.clone();
        self.ready.retain(|spare| {
            let at = wanted.iter().position(|size| spare.is_alive() && *size == spare.memory_mb);
            at.map(|at| wanted.remove(at)).is_some()
        });
        wanted.pop_back()
    }
}

/// Makes what is missing, one after the other, until they are closed. Meanwhile
/// it does not hold the sandbox, which may end.
pub(crate) async fn keep(spares: Arc<Spares>, parts: Weak<Parts>, maker: Maker) {
    loop {
        let missing = {
            let mut state = spares.state();
            if state.closed {
                return;
            }
            state.missing()
        };
        let Some(memory_mb) = missing else {
            spares.changed.notified().await;
            time::sleep(REST).await;
            continue;
        };
        let Some(parts) = parts.upgrade() else { return };
        let raised = Raised::new(&parts, &maker, move |parts, outfit| parts.make_spare(memory_mb, outfit)).await;
        drop(parts);
        match raised {
            Ok(raised) => {
                let spare = Spare { memory_mb, raised: Some(raised) };
                let mut state = spares.state();
                if !state.closed {
                    state.ready.push(spare);
                }
            }
            Err(error) => {
                // Whoever needs a container makes one, and hears what is wrong.
                tracing::debug!(error = &error as &dyn std::error::Error, "a spare container could not be made");
                spares.changed.notified().await;
            }
        }
        time::sleep(REST).await;
    }
}

impl Spare {
    fn is_alive(&self) -> bool {
        self.raised.as_ref().is_some_and(|raised| raised.body.life() == Life::Alive)
    }

    /// Has the shell become a launcher, for which this folder was prepared.
    /// `None` if that does not go.
    pub(crate) async fn become_launcher(mut self, launch: &Launch, prepared: Option<PathBuf>) -> Option<Raised> {
        let raised = self.raised.as_ref()?;
        if let (Some(from), Some(to)) = (prepared, raised.prepared.clone()) {
            let shared = spawn_blocking(move || workshop::share(&from, &to, false)).await;
            shared.ok()?.ok()?;
        }
        let is_waiter = launch.launcher == WAITER && launch.environment.is_empty();
        if !is_waiter {
            let line = order::launcher(launch.environment.iter(), launch.command(self.memory_mb));
            let mut written = 0;
            poll_fn(|context| raised.pipes.poll_write(context, &line, &mut written)).await.ok()?;
        }
        self.raised.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(spares: &Spares) -> Vec<u32> {
        spares.state().wanted.iter().copied().collect()
    }

    #[test]
    fn the_sizes_of_the_last_starts_are_kept() {
        let spares = Spares::new(2);
        assert_eq!(spares.state().missing(), Some(FIRST_MB));
        for size in [512, 128, 1024] {
            assert!(spares.take(size).is_none());
        }
        assert_eq!(wanted(&spares), [128, 1024]);
        assert_eq!(spares.state().missing(), Some(1024), "the last one first");
    }

    #[test]
    fn none_are_kept_where_none_are_wanted() {
        let spares = Spares::new(0);
        assert!(spares.take(256).is_none());
        assert_eq!(spares.state().missing(), None);
    }
}
