//! The loop: messages in, shutdown out.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{self, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;
use whisker_bus::{ActivationMessage, Attempt, Delivery, InvokerBus, Redelivered};
use whisker_entity::{Activation, Millis, Status};
use whisker_pool::Event;
use whisker_sandbox::Sandbox;
use whisker_secrets::Secrets;
use whisker_store::{Activations, Entities};

use crate::{
    Config, Error, Spool,
    engine::{Engine, Permit},
    outcome::Outcome,
    record::{self, Times},
    resolve::Resolved,
    run::Job,
    words,
};

/// The wall clock. Read where records are dated, and nowhere else.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// What an invoker works with.
pub struct Parts {
    /// Where messages come from.
    pub bus: Arc<dyn InvokerBus>,
    /// Where actions and their code are.
    pub entities: Arc<dyn Entities>,
    /// Where records go.
    pub activations: Arc<dyn Activations>,
    /// Where code runs.
    pub sandbox: Arc<dyn Sandbox>,
    /// What arguments are unlocked with.
    pub secrets: Arc<Secrets>,
    /// Where records wait for the store.
    pub spool: Spool,
    /// The time of day.
    pub clock: Clock,
}

/// An invoker, not yet running.
pub struct Invoker {
    engine: Arc<Engine>,
}

impl Invoker {
    /// Puts it together. Starts nothing.
    pub fn new(config: Config, parts: Parts) -> Self {
        Self { engine: Arc::new(Engine::new(config, parts)) }
    }

    /// Tells how busy it is, also while it runs.
    pub fn load(&self) -> Load {
        Load { engine: Arc::downgrade(&self.engine) }
    }

    /// Clears away what a former life left, then takes messages until `cancel`
    /// (or until the bus is closed). Then lets what runs end, within
    /// [`Config::stop_grace`], kills the rest, removes every container, and
    /// writes the records that the store takes.
    ///
    /// Dropped before its end it leaves its tasks behind.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), Error> {
        self.run_until(cancel, CancellationToken::new()).await
    }

    /// The same; what runs is killed at `hurry`, if its grace is not over by
    /// then.
    pub async fn run_until(self, cancel: CancellationToken, hurry: CancellationToken) -> Result<(), Error> {
        let engine = self.engine;
        engine.sandbox.sweep().await.map_err(Error::Sweep)?;
        let end_ticks = CancellationToken::new();
        let end_writer = CancellationToken::new();
        let mut receiver = spawn(receive(engine.clone()));
        let mut ticker = spawn(tick(engine.clone(), end_ticks.clone()));
        let writer_engine = engine.clone();
        let writer_cancel = end_writer.clone();
        let mut writer = spawn(async move { writer_engine.write_out(writer_cancel).await });

        let outcome = tokio::select! {
            () = cancel.cancelled() => Ok(()),
            ended = &mut receiver => ended.map_err(|_| Error::Task("receiving messages")),
            _ = &mut ticker => Err(Error::Task("timers")),
            _ = &mut writer => Err(Error::Task("writing records")),
        };
        engine.stop.cancel();
        if !receiver.is_finished() {
            let _ = receiver.await;
        }
        shut_down(&engine, hurry).await;
        end_ticks.cancel();
        end_writer.cancel();
        for task in [ticker, writer] {
            if !task.is_finished() {
                let _ = task.await;
            }
        }
        outcome
    }
}

/// How busy an invoker is.
#[derive(Clone)]
pub struct Load {
    engine: Weak<Engine>,
}

impl Load {
    /// The memory of containers that have runs, in MB.
    pub fn busy_mb(&self) -> u64 {
        self.engine.upgrade().map_or(0, |engine| engine.counts().busy_mb)
    }
}

fn spawn(future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(future)
}

/// Takes messages, as long as there is room for what becomes of them.
async fn receive(engine: Arc<Engine>) {
    let mut stopped = std::pin::pin!(engine.stop.cancelled());
    loop {
        let delivery = async {
            engine.spool.has_room(engine.config.spool_limit_bytes).await;
            engine.next().await
        };
        tokio::select! {
            biased;
            () = &mut stopped => return,
            delivery = delivery => match delivery {
                Some((delivery, permit)) => engine.take(delivery, permit),
                None => return,
            },
        }
    }
}

/// Lets the pool see to what is due. One timer for all containers: a pause
/// that comes a quarter of a second late harms no one, and runs neither set
/// nor cancel timers.
async fn tick(engine: Arc<Engine>, end: CancellationToken) {
    let mut interval = time::interval(engine.config.tick);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            _ = interval.tick() => {}
        }
        engine.tell(Event::Tick);
        engine.show_counts();
    }
}

async fn shut_down(engine: &Arc<Engine>, hurry: CancellationToken) {
    let Config { stop_grace, kill_grace, max_in_flight, .. } = engine.config;
    engine.tell(Event::Close);
    // Every message that was taken holds a permit until its record is spooled.
    let over = |grace: Duration| time::timeout(grace, engine.in_flight.acquire_many(max_in_flight));
    let in_time = tokio::select! {
        ended = over(stop_grace) => ended.is_ok(),
        () = hurry.cancelled() => false,
    };
    if !in_time && over(Duration::ZERO).await.is_err() {
        let runs = max_in_flight as usize - engine.in_flight.available_permits();
        tracing::warn!(runs, grace_ms = stop_grace.as_millis() as u64, "Runs did not end in time and are killed");
        engine.kill();
        engine.destroy_all();
        if over(kill_grace).await.is_err() {
            tracing::error!("Killed runs did not end; they will be recorded as interrupted by the next life");
        }
    }
    engine.tasks.close();
    if time::timeout(kill_grace, engine.tasks.wait()).await.is_err() {
        tracing::error!("Containers are left behind; the next life clears them away");
    }
}

impl Engine {
    /// Takes one message.
    fn take(self: &Arc<Self>, delivery: Delivery, permit: Permit) {
        let Delivery { message, redelivered, earlier } = delivery;
        if !self.take_up(message.activation) {
            // As after each crash that left records in the spool.
            tracing::info!(activation.id = %message.activation, "A message that is here already is not taken again");
            return;
        }
        let engine = self.clone();
        match redelivered {
            Redelivered::AfterStart => {
                drop(self.tasks.spawn(async move { engine.recover(message, earlier, permit).await }));
            }
            Redelivered::No => match self.resolver.known(&message) {
                Some(resolved) => self.enter(message, resolved, earlier, permit),
                None => drop(self.tasks.spawn(async move { engine.resolve(message, earlier, permit).await })),
            },
        }
    }

    fn enter(
        self: &Arc<Self>,
        message: Arc<ActivationMessage>,
        resolved: Resolved,
        earlier: Vec<Attempt>,
        permit: Permit,
    ) {
        let job = Box::new(Job { message, action: resolved.action.clone(), earlier, permit });
        // The controller checked what was put; what is allowed may have become
        // less since.
        let allowed = self.config.allowance(&job.message.user.limits);
        if let Err(error) = allowed.actions.check(&resolved.action.limits) {
            let Outcome { response, .. } = Outcome::error(Status::ApplicationError, &error.to_string());
            let engine = self.clone();
            self.tasks.spawn(async move {
                let activation = record::of_unknown(&job.message, engine.wall(), response);
                let Job { message, action, earlier, .. } = &*job;
                let sequel = engine.sequel(message, action, earlier, Status::ApplicationError).await;
                engine.follow(*job, Arc::new(activation), sequel.without_another(), false).await;
            });
            return;
        }
        let want = job.want(resolved, &self.config.serial);
        self.tell(Event::Arrived { run: job, want });
    }

    async fn resolve(self: Arc<Self>, message: Arc<ActivationMessage>, earlier: Vec<Attempt>, permit: Permit) {
        match self.resolver.read(&message).await {
            Ok(resolved) => self.enter(message, resolved, earlier, permit),
            Err(Outcome { response, .. }) => {
                self.conclude(&message, record::of_unknown(&message, self.wall(), response)).await;
                drop(permit);
            }
        }
    }

    /// A former life had begun to run this one, and nobody knows how far it
    /// came: unless its record is there, that run was interrupted. It is
    /// followed by another where the action asks for that, and else recorded.
    async fn recover(self: Arc<Self>, message: Arc<ActivationMessage>, earlier: Vec<Attempt>, permit: Permit) {
        let id = message.activation;
        let mut pause = self.config.store_retry / 64;
        let record = loop {
            match self.recorded(&message).await {
                Ok(record) => break record,
                // It is there, and says nothing.
                Err(error @ whisker_store::Error::Corrupt(..)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(activation.id = %id, error, "A record cannot be read");
                    return self.spool.forget(id);
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(activation.id = %id, error, "The store cannot say whether it has a record");
                }
            }
            tokio::select! {
                () = time::sleep(pause) => pause = (pause * 2).min(self.config.store_retry),
                // The bus still has it.
                () = self.stop.cancelled() => return self.let_go(&[id]),
            }
        };
        if let Some(record) = record {
            self.spool.skip(Arc::new(record));
            return;
        }
        tracing::warn!(
            activation.id = %id,
            transaction.id = %message.transaction,
            action.name = %message.action,
            "A run of a former life was interrupted"
        );
        self.meters.interrupted.increment(1);
        let response = Outcome::whisk_error(words::INTERRUPTED).response;
        match self.resolver.read(&message).await {
            Ok(resolved) => {
                let job = Job { message, action: resolved.action, earlier, permit };
                let times = Times::none(self.wall());
                let activation = record::of_run(&job.message, &job.action, times, false, response);
                self.end(job, activation).await;
            }
            Err(_) => {
                self.conclude(&message, record::of_unknown(&message, self.wall(), response)).await;
                drop(permit);
            }
        }
    }

    /// The record of a message's activation, if the store has it.
    async fn recorded(&self, message: &ActivationMessage) -> Result<Option<Activation>, whisker_store::Error> {
        if self.activations.known(&message.user.namespace, &[message.activation]).await?.is_empty() {
            return Ok(None);
        }
        match self.activations.get(&message.user.namespace, message.activation).await {
            // Forgotten for its age in between.
            Err(whisker_store::Error::Missing) => Ok(None),
            found => found.map(Some),
        }
    }
}
