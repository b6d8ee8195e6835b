//! One activation: initialise if cold, run to the deadline, tell the outcome,
//! collect the logs, leave the record.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
use whisker_bus::{Acknowledgement, ActivationMessage, Attempt};
use whisker_entity::{Action, Activation, ExecCode, MB, Response, Status};
use whisker_pool::{End, Event, Key, Reason, Refusal, Shape, SlotId, Ticket, Want};
use whisker_sandbox::{Container, Error, Init, Run};

use crate::{
    arguments::{self, Split},
    engine::{Engine, Permit, guarded},
    keeper::Assignment,
    outcome::Outcome,
    record::{self, Times},
    resolve::Resolved,
    trace::Marks,
    words,
};

/// A message with its action, on its way to a container.
pub(crate) struct Job {
    pub message: Arc<ActivationMessage>,
    pub action: Arc<Action>,
    /// Runs of it that failed.
    pub earlier: Vec<Attempt>,
    /// Its place among those in flight, until its record is spooled.
    pub permit: Permit,
}

/// What came of trying.
enum Performed {
    /// It ran, or failed for good.
    Over(Outcome, Times),
    /// The container was gone before user code saw the activation.
    Gone,
    /// Another invoker has the activation: user code did not see it here.
    Taken,
}

impl Job {
    /// Where it may run. Runs of `serial` kinds do not overlap.
    pub fn want(&self, resolved: Resolved, serial: &BTreeSet<String>) -> Want {
        let limits = &resolved.action.limits;
        let concurrency = if serial.contains(&*resolved.kind) { 1 } else { limits.concurrency };
        let key = Key {
            namespace: self.message.user.namespace.clone(),
            action: self.message.action.clone(),
            revision: resolved.revision,
            environment: arguments::environment_digest(&self.message.content, &self.message.init_args),
        };
        let shape = Shape { kind: resolved.kind, memory_mb: limits.memory, concurrent: concurrency > 1 };
        Want { key: Arc::new(key), shape, concurrency }
    }
}

impl Engine {
    /// Does a run, and those after it in the same container.
    pub async fn run(self: Arc<Self>, first: Assignment) {
        let mut next = Some(first);
        while let Some(assignment) = next {
            next = self.run_one(assignment).await;
        }
    }

    async fn run_one(self: &Arc<Self>, assignment: Assignment) -> Option<Assignment> {
        let Assignment { slot, container, ticket, reason } = assignment;
        self.meters.begins(reason);
        let performed = guarded(self.perform(slot, &*container, &ticket.run, reason)).await;
        let (mut outcome, times) = match performed {
            Some(Performed::Over(outcome, times)) => (outcome, times),
            Some(Performed::Gone) => return self.tell_and_go_on(slot, Event::Returned { slot, ticket }),
            Some(Performed::Taken) => {
                self.let_go(&[ticket.run.message.activation]);
                // What was not initialised is of no use to the action that it is kept for.
                let end = if matches!(reason, Reason::Warm | Reason::Paused) { End::Fit } else { End::Unfit };
                return self.tell_and_go_on(slot, Event::Ended { slot, end });
            }
            // A backend panicked.
            None => (Outcome::whisk_error(words::ABNORMAL_RUN), Times::none(self.wall())),
        };
        if self.is_killing() && outcome.end == End::Unfit && !outcome.timed_out {
            outcome = Outcome::whisk_error(words::INTERRUPTED);
            self.meters.interrupted.increment(1);
        }
        let job = *ticket.run;
        let tracing = self.tracing(&job.message, times.marks);
        let Job { message, action, earlier, .. } = &job;
        let status = outcome.response.status;
        let sequel = self.sequel(message, action, earlier, status).await;
        let mut activation = Arc::new(record::of_run(message, action, times, outcome.timed_out, outcome.response));
        let answered = !sequel.is_again();
        if answered {
            self.answer(message, &activation).await;
        }

        let limit_mb = action.limits.logs;
        let logs = guarded(container.logs(message.activation, u64::from(limit_mb) * MB)).await;
        let logs = logs.unwrap_or_else(|| whisker_sandbox::Logs { incomplete: true, ..Default::default() });
        let end = if logs.incomplete { End::Unfit } else { outcome.end };
        let next = self.tell_and_go_on(slot, Event::Ended { slot, end });
        if limit_mb > 0 {
            let lines = record::log_lines(logs, limit_mb, status, self.wall());
            if !lines.is_empty() {
                Arc::make_mut(&mut activation).logs = lines;
            }
        }
        self.follow(job, activation, sequel, answered).await;
        if let Some(tracing) = tracing {
            self.trace(&tracing, status, reason);
        }
        next
    }

    async fn perform(
        self: &Arc<Self>,
        slot: SlotId,
        container: &dyn Container,
        job: &Job,
        reason: Reason,
    ) -> Performed {
        let Job { message, action, .. } = job;
        let failed = |outcome| Performed::Over(outcome, Times::none(self.wall()));
        let limit_ms = action.limits.timeout;
        let deadline = Duration::from_millis(limit_ms);
        let mut init = None;
        let mut marks = Marks::default();
        if reason == Reason::Paused {
            match container.resume().await {
                Ok(()) => self.tell(Event::Resumed(slot)),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "A container could not be thawed; its run goes elsewhere");
                    return Performed::Gone;
                }
            }
        }
        let arguments = match self.arguments(message) {
            Ok(arguments) => arguments,
            Err(outcome) => return failed(outcome),
        };
        match reason {
            Reason::Warm | Reason::Paused => {}
            Reason::Cold | Reason::Prewarmed => {
                let code = match self.resolver.code(action).await {
                    Ok(code) => code,
                    Err(outcome) => return failed(outcome),
                };
                if let Err(end) = self.note_start(job).await {
                    return end;
                }
                let request = Init {
                    activation: message.activation,
                    name: action.name.to_string(),
                    main: action.exec.main().to_owned(),
                    code,
                    code_hash: action.exec.code().map(ExecCode::hash),
                    env: self.environment(job, arguments.env),
                };
                let (start, began) = (self.wall(), Instant::now());
                let mark = self.config.tracer.now();
                let end = container.init(request, deadline).await;
                let took = began.elapsed();
                marks.init = Some((mark, self.config.tracer.now()));
                self.meters.init.record(took.as_secs_f64());
                let times = Times { start, init_ms: Some(millis(took)), total_ms: millis(took), marks };
                match end {
                    Ok(end) => {
                        if let Some(outcome) = Outcome::of_init(end, limit_ms) {
                            return Performed::Over(outcome, times);
                        }
                    }
                    Err(Error::Gone) => return Performed::Gone,
                    Err(Error::Unavailable { kind, reason }) => {
                        let outcome = Outcome::whisk_error(&words::unavailable(&kind, &reason));
                        return Performed::Over(outcome, times);
                    }
                    Err(error) => {
                        return Performed::Over(self.backend_failed(job, &error, words::NOT_PROVISIONED), times);
                    }
                }
                self.tell(Event::Initialised(slot));
                init = Some((start, took));
            }
        }
        let allowed = self.config.allowance(&message.user.limits);
        let run = Run {
            activation: message.activation,
            value: arguments.value,
            context: self.context(job),
            result_limit_bytes: allowed.payload_bytes,
            truncation_bytes: allowed.truncation_bytes,
        };
        if init.is_none()
            && let Err(end) = self.note_start(job).await
        {
            return end;
        }
        let (run_start, began) = (self.wall(), Instant::now());
        let mark = self.config.tracer.now();
        let end = container.run(run, deadline).await;
        let took = began.elapsed();
        marks.run = Some((mark, self.config.tracer.now()));
        self.meters.run.record(took.as_secs_f64());
        let (start, init) = init.map_or((run_start, None), |(start, took)| (start, Some(took)));
        self.meters.wait.record(start.saturating_sub(message.began) as f64 / 1000.0);
        let total_ms = millis(took + init.unwrap_or_default());
        let times = Times { start, init_ms: init.map(millis), total_ms, marks };
        match end {
            Ok(end) => Performed::Over(Outcome::of_run(end, limit_ms, allowed.payload_bytes), times),
            Err(Error::Gone) => Performed::Gone,
            Err(error) => Performed::Over(self.backend_failed(job, &error, words::ABNORMAL_RUN), times),
        }
    }

    /// The arguments in clear, for user code and nobody else.
    fn arguments(&self, message: &ActivationMessage) -> Result<Split, Outcome> {
        let clear = arguments::unlock(&message.content, &message.locked_args, &self.secrets).map_err(|error| {
            let (id, transaction) = (message.activation, &message.transaction);
            let outcome = Outcome::error(Status::ApplicationError, &words::locked(&error.name));
            let error = &error as &dyn std::error::Error;
            tracing::warn!(activation.id = %id, transaction.id = %transaction, action.name = %message.action, error, "A run was not begun");
            outcome
        })?;
        Ok(arguments::split(&clear, &message.init_args))
    }

    /// Has the bus note, as late as can be, that user code is about to see the
    /// activation: from here on it is not run again after a crash.
    async fn note_start(&self, job: &Job) -> Result<(), Performed> {
        let id = job.message.activation;
        self.bus.starting(id).await.map_err(|error| match error {
            whisker_bus::Error::Taken => {
                tracing::debug!(activation.id = %id, "A run was not begun, since another invoker has it");
                Performed::Taken
            }
            error => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(activation.id = %id, error, "A run was not begun, since the bus could not take note of it");
                Performed::Over(Outcome::whisk_error(words::NOT_PROVISIONED), Times::none(self.wall()))
            }
        })
    }

    fn backend_failed(&self, job: &Job, error: &Error, words: &str) -> Outcome {
        if let Error::Unavailable { kind, reason } = error {
            return Outcome::whisk_error(&words::unavailable(kind, reason));
        }
        let (message, error) = (&job.message, error as &dyn std::error::Error);
        tracing::error!(
            activation.id = %message.activation,
            transaction.id = %message.transaction,
            action.name = %message.action,
            error,
            "A container failed its run"
        );
        Outcome::whisk_error(words)
    }

    /// What user code is told of its activation. Made when it is sent, since
    /// the deadline counts from then.
    fn context(&self, job: &Job) -> Vec<(&'static str, String)> {
        let Job { message, action, .. } = job;
        let deadline = self.wall() + action.limits.timeout;
        let mut context = vec![
            ("namespace", message.user.namespace.to_string()),
            ("action_name", format!("/{}", message.action)),
            ("action_version", message.version.to_string()),
            ("activation_id", message.activation.to_string()),
            ("transaction_id", message.transaction.to_string()),
            ("deadline", deadline.to_string()),
        ];
        // Actions from before the annotation existed rely on the key.
        if action.annotations.is_truthy("provide-api-key", true) {
            context.push(("api_key", message.user.key.expose()));
        }
        context
    }

    fn environment(&self, job: &Job, mut env: BTreeMap<String, String>) -> BTreeMap<String, String> {
        for (key, value) in self.context(job) {
            env.insert(format!("__OW_{}", key.to_ascii_uppercase()), value);
        }
        env
    }

    /// Ends a run that no container took.
    pub async fn refuse(self: Arc<Self>, ticket: Ticket<Box<Job>>, refusal: Refusal) {
        let job = *ticket.run;
        let words = match refusal {
            // The bus still has it, for another life or another invoker.
            Refusal::Closed => return self.let_go(&[job.message.activation]),
            Refusal::QueueFull => words::TOO_MANY_WAIT,
            Refusal::TooLarge | Refusal::NotStarted => words::NOT_PROVISIONED,
        };
        let response = Outcome::whisk_error(words).response;
        let activation = record::of_run(&job.message, &job.action, Times::none(self.wall()), false, response);
        self.end(job, activation).await;
    }

    /// Ends a run of a kind, or an image, that cannot be started.
    pub async fn blame(self: Arc<Self>, ticket: Ticket<Box<Job>>, response: Response) {
        let job = *ticket.run;
        let activation = record::of_run(&job.message, &job.action, Times::none(self.wall()), false, response);
        self.end(job, activation).await;
    }

    /// Ends an activation whose action is not known, and so not what should
    /// follow.
    pub async fn conclude(&self, message: &ActivationMessage, activation: Activation) {
        let activation = Arc::new(activation);
        self.answer(message, &activation).await;
        self.leave(message, activation).await;
    }

    /// Sends the outcome to whoever waits for it.
    pub async fn answer(&self, message: &ActivationMessage, activation: &Arc<Activation>) {
        if !message.blocking {
            return;
        }
        let result = Acknowledgement::Result {
            controller: message.controller.clone(),
            transaction: message.transaction.clone(),
            began: message.began,
            activation: activation.clone(),
        };
        self.acknowledge(result).await;
    }

    /// Leaves the record in the spool, then says that the run is over.
    pub async fn leave(&self, message: &ActivationMessage, activation: Arc<Activation>) {
        let system_error = activation.response.status == Status::WhiskError;
        self.config.events.ended(&activation, &message.user, self.wall());
        if message.user.limits.store_activations == Some(false) {
            self.spool.skip(activation);
        } else {
            self.spool.append(activation, self.config.spool_memory_bytes).await;
        }
        self.complete(message, system_error).await;
    }

    /// Says that a run is over and its place free.
    pub async fn complete(&self, message: &ActivationMessage, system_error: bool) {
        let completion = Acknowledgement::Completion {
            controller: message.controller.clone(),
            transaction: message.transaction.clone(),
            began: message.began,
            activation: message.activation,
            system_error,
            invoker: self.config.id,
        };
        self.acknowledge(completion).await;
    }

    async fn acknowledge(&self, acknowledgement: Acknowledgement) {
        if let Err(error) = self.bus.acknowledge(acknowledgement).await {
            // The record tells whoever asks; the controller frees the place
            // when it has waited long enough.
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "A controller was not told of an outcome");
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
