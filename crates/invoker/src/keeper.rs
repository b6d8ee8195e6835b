//! Containers: the pool is told what happened, and its orders are carried out.
//!
//! The pool is asked under a short lock by whoever has news, so that a warm
//! run is decided where its message was received and needs no other task to
//! be woken. Orders that take time become tasks.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::time::{self, Instant};
use whisker_entity::Status;
use whisker_pool::{Counts, Event, Order, Pool, Reason, Refusal, Shape, SlotId, Ticket};
use whisker_sandbox::{Container, Error, Start};

use crate::{
    engine::{Engine, guarded},
    outcome::Outcome,
    run::Job,
    words,
};

/// How long a destruction may take before someone should look.
const SLOW_REMOVAL: Duration = Duration::from_secs(30);

/// The pool and the containers it speaks of.
pub(crate) struct State {
    pool: Pool<Box<Job>>,
    containers: HashMap<SlotId, Arc<dyn Container>>,
}

impl State {
    pub fn new(pool: Pool<Box<Job>>) -> Self {
        Self { pool, containers: HashMap::new() }
    }
}

/// One run for one container.
pub(crate) struct Assignment {
    pub slot: SlotId,
    pub container: Arc<dyn Container>,
    pub ticket: Ticket<Box<Job>>,
    pub reason: Reason,
}

/// An order with the container that it is about.
enum Task {
    Start(SlotId, Shape),
    Run(Assignment),
    /// A run for a container that is not there.
    Return(SlotId, Ticket<Box<Job>>),
    Pause(SlotId, Option<Arc<dyn Container>>),
    Remove(SlotId, Option<Arc<dyn Container>>),
    Refuse(Ticket<Box<Job>>, Refusal),
}

impl Engine {
    /// Tells the pool what happened and sees to what it orders.
    pub fn tell(self: &Arc<Self>, event: Event<Box<Job>>) {
        for task in self.ask(None, event) {
            self.carry_out(task);
        }
    }

    /// The same, for the task that just ended a run in `slot`: a further run
    /// in it is returned, to be done without another task.
    #[must_use]
    pub fn tell_and_go_on(self: &Arc<Self>, slot: SlotId, event: Event<Box<Job>>) -> Option<Assignment> {
        let mut mine = None;
        for task in self.ask(None, event) {
            match task {
                Task::Run(assignment) if assignment.slot == slot && mine.is_none() => mine = Some(assignment),
                task => self.carry_out(task),
            }
        }
        mine
    }

    pub fn counts(&self) -> Counts {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner).pool.counts()
    }

    /// Shows how full it is.
    pub fn show_counts(&self) {
        self.meters.show(self.counts());
        self.meters.spool_records.set(self.spool.len() as f64);
        self.meters.spool_bytes.set(self.spool.bytes() as f64);
    }

    /// Destroys every container, whatever runs in it. Their runs end by that,
    /// and the pool hears of it from these.
    pub fn destroy_all(self: &Arc<Self>) {
        let state = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        for container in state.containers.values() {
            let container = container.clone();
            self.tasks.spawn(async move { container.destroy().await });
        }
    }

    fn ask(&self, started: Option<(SlotId, Arc<dyn Container>)>, event: Event<Box<Job>>) -> Vec<Task> {
        // Nothing in here panics half-way through a change.
        let mut state = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let State { pool, containers } = &mut *state;
        containers.extend(started);
        let orders = pool.on(self.now(), event);
        // The pool orders nothing of a container that did not start or that it
        // has let go. Should it, no run is lost by that.
        let with_container = |order| match order {
            Order::Start { slot, shape } => Task::Start(slot, shape),
            Order::Run { slot, ticket, reason } => match containers.get(&slot).cloned() {
                Some(container) => Task::Run(Assignment { slot, container, ticket, reason }),
                None => Task::Return(slot, ticket),
            },
            Order::Pause(slot) => Task::Pause(slot, containers.get(&slot).cloned()),
            Order::Remove(slot) => Task::Remove(slot, containers.remove(&slot)),
            Order::Refuse { ticket, refusal } => Task::Refuse(ticket, refusal),
        };
        orders.into_iter().map(with_container).collect()
    }

    fn carry_out(self: &Arc<Self>, task: Task) {
        let engine = self.clone();
        match task {
            Task::Start(slot, shape) => drop(self.tasks.spawn(async move { engine.start(slot, shape).await })),
            Task::Run(assignment) => drop(self.tasks.spawn(engine.run(assignment))),
            Task::Return(slot, ticket) => self.tell(Event::Returned { slot, ticket }),
            Task::Pause(slot, Some(container)) => {
                drop(self.tasks.spawn(async move { engine.pause(slot, container).await }));
            }
            Task::Pause(slot, None) => self.tell(Event::Died(slot)),
            Task::Remove(slot, container) => {
                drop(self.tasks.spawn(async move { engine.remove(slot, container).await }));
            }
            Task::Refuse(ticket, refusal) => {
                drop(self.tasks.spawn(async move { engine.refuse(ticket, refusal).await }))
            }
        }
    }

    async fn start(self: Arc<Self>, slot: SlotId, shape: Shape) {
        let began = Instant::now();
        let start = Start { kind: shape.kind.to_string(), memory_mb: shape.memory_mb, concurrent: shape.concurrent };
        let started = time::timeout(self.config.start_timeout, guarded(self.sandbox.start(start))).await;
        let blamed = match started {
            Ok(Some(Ok(container))) => {
                self.meters.start.record(began.elapsed().as_secs_f64());
                self.tasks.spawn(self.clone().watch(slot, container.clone()));
                for task in self.ask(Some((slot, container)), Event::Started(slot)) {
                    self.carry_out(task);
                }
                return;
            }
            Ok(Some(Err(Error::Image(fault)))) => {
                tracing::warn!(kind = %shape.kind, %fault, "A user's image could not be started");
                Some(Outcome::error(Status::DeveloperError, &words::image(&fault)))
            }
            Ok(Some(Err(Error::Unavailable { kind, reason }))) => {
                tracing::warn!(kind, reason, "A kind of action cannot run here");
                Some(Outcome::whisk_error(&words::unavailable(&kind, &reason)))
            }
            Ok(Some(Err(error))) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(kind = %shape.kind, memory_mb = shape.memory_mb, error, "A container could not be started");
                None
            }
            Ok(None) => None,
            Err(_) => {
                let after_ms = self.config.start_timeout.as_millis() as u64;
                tracing::error!(kind = %shape.kind, after_ms, "A container did not start in time");
                None
            }
        };
        self.meters.failed_starts.increment(1);
        // Where there is something to blame, trying again is in vain.
        for task in self.ask(None, Event::NotStarted { slot, hopeless: blamed.is_some() }) {
            match (task, &blamed) {
                // Only runs that waited for this very kind are refused so now.
                (Task::Refuse(ticket, Refusal::NotStarted), Some(outcome)) => {
                    drop(self.tasks.spawn(self.clone().blame(ticket, outcome.response.clone())));
                }
                (task, _) => self.carry_out(task),
            }
        }
    }

    /// Waits for a container's end. One small task for each container, which
    /// sleeps all its life.
    async fn watch(self: Arc<Self>, slot: SlotId, container: Arc<dyn Container>) {
        container.died().await;
        self.tell(Event::Died(slot));
    }

    async fn pause(self: Arc<Self>, slot: SlotId, container: Arc<dyn Container>) {
        let event = match guarded(container.pause()).await {
            Some(Ok(())) => Event::Paused(slot),
            Some(Err(Error::Gone)) | None => Event::Died(slot),
            Some(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "A container could not be paused and is removed");
                Event::Died(slot)
            }
        };
        self.tell(event);
    }

    async fn remove(self: Arc<Self>, slot: SlotId, container: Option<Arc<dyn Container>>) {
        if let Some(container) = container {
            let mut gone = std::pin::pin!(guarded(container.destroy()));
            // Its memory is not free before it is gone, however long that
            // takes; someone should know when it takes long.
            while time::timeout(SLOW_REMOVAL, &mut gone).await.is_err() {
                tracing::error!("A container resists its removal; its memory stays in use");
            }
        }
        self.tell(Event::Removed(slot));
    }
}
