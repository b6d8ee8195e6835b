//! One container as its users see it.
//!
//! A run of an ordinary container does its own writing and reading, in the
//! task that called it, and nothing else runs for the container meanwhile. In
//! a concurrent one runs overlap, so that one task reads for all of them and
//! lines are written one after the other.
//!
//! A container that broke its word (a deadline passed, descriptor 3 closed, a
//! line half written) is *spent*: it is stopped, and never runs again. The
//! [`keeper`](crate::keeper) sees to its end.

use std::{
    future::poll_fn,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync, time};
use whisker_artifacts::{Failure, Held, READY_WAIT, Refusal};
use whisker_entity::ActivationId;
use whisker_frame::order;
use whisker_sandbox::{Code, Container, Ended, Error, Init, InitEnd, Logs, Run, RunEnd, Stream};

use crate::{
    catalog::Launch,
    intake::{Intake, ResultLimit},
    keeper::{Body, Life},
    parts::Raised,
    pipes::{Heard, Pipes, now_us},
    workshop::{self, Workshop},
};

/// How long a container may take to be gone once its descriptor 3 is closed,
/// before it is made to.
const GRACE: Duration = Duration::from_millis(250);

/// How long the last words of a stopped container are waited for.
const STOPPED_WAIT: Duration = Duration::from_secs(10);

/// A handle on a container; dropping it ends the container.
pub(crate) struct ProcessContainer {
    inside: Arc<Inside>,
}

/// What the container's own tasks share with the handle.
pub(crate) struct Inside {
    pipes: Pipes,
    intake: Mutex<Intake>,
    body: Arc<Body>,
    concurrent: bool,
    spent: AtomicBool,
    /// Held while a line is written to a concurrent container.
    writing: sync::Mutex<()>,
    action: Action,
    source: Source,
    /// What it has of the workshop's, for as long as it lives.
    held: OnceLock<Arc<Held>>,
}

/// Where its code comes from.
pub(crate) struct Source {
    pub launch: Launch,
    pub workshop: Workshop,
    /// Whether it gets files of its own, rather than shares them.
    pub copies: bool,
}

/// Where code goes.
pub(crate) struct Action {
    /// The folder on the host.
    pub folder: PathBuf,
    /// The same folder as the launcher sees it.
    pub inside: String,
}

/// Why an exchange did not come to an answer.
enum Broken {
    /// Not a byte was taken: the run did not start.
    Unheard,
    /// The container stopped talking.
    Silent,
}

impl ProcessContainer {
    pub(crate) fn new(raised: Raised, intake: Intake, concurrent: bool, source: Source) -> ProcessContainer {
        let Raised { pipes, body, action, .. } = raised;
        let inside = Arc::new(Inside {
            pipes,
            intake: Mutex::new(intake),
            body,
            concurrent,
            spent: AtomicBool::new(false),
            writing: sync::Mutex::new(()),
            action,
            source,
            held: OnceLock::new(),
        });
        if concurrent {
            // Ends with the pipe, which ends with the container, which ends
            // with this handle.
            tokio::spawn(read_for_all(inside.clone()));
        }
        ProcessContainer { inside }
    }
}

impl Drop for ProcessContainer {
    fn drop(&mut self) {
        self.inside.body.bury();
    }
}

/// The reading task of a concurrent container.
async fn read_for_all(inside: Arc<Inside>) {
    poll_fn(|context| {
        let mut intake = inside.intake();
        loop {
            match inside.pipes.poll_read(context, &mut intake) {
                Poll::Ready(Heard::Frames) => {}
                Poll::Ready(Heard::End) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    inside.spent.store(true, Ordering::Release);
    inside.intake().wake_all();
}

/// Marks the container spent when an exchange is dropped half done: what its
/// other end makes of that cannot be known.
struct Unfinished<'a> {
    inside: &'a Inside,
    run: Option<ActivationId>,
}

impl Unfinished<'_> {
    fn finished(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(run) = self.run {
            self.inside.intake().forget_run(run);
        }
        self.inside.stop();
    }
}

impl Inside {
    fn intake(&self) -> MutexGuard<'_, Intake> {
        // Parsers stay whole whatever panicked elsewhere.
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never to be used again, and stopped at once. What it had written can
    /// still be read.
    fn stop(&self) {
        self.spent.store(true, Ordering::Release);
        self.body.kill();
    }

    fn usable(&self) -> Result<(), Error> {
        if self.spent.load(Ordering::Acquire) || self.body.life() != Life::Alive {
            return Err(Error::Gone);
        }
        Ok(())
    }

    /// Writes `line` and waits for what `take` looks for.
    async fn exchange<T>(
        &self,
        line: &[u8],
        mut take: impl FnMut(&mut Intake, Option<&std::task::Waker>) -> Option<T>,
    ) -> Result<T, Broken> {
        let mut written = 0;
        if self.concurrent {
            let turn = self.writing.lock().await;
            let wrote = poll_fn(|context| self.pipes.poll_write(context, line, &mut written)).await;
            drop(turn);
            wrote.map_err(|_| if written == 0 { Broken::Unheard } else { Broken::Silent })?;
            return poll_fn(|context| {
                if let Some(end) = take(&mut self.intake(), Some(context.waker())) {
                    return Poll::Ready(Ok(end));
                }
                // Set before waiters are woken, so looked at after.
                match self.spent.load(Ordering::Acquire) {
                    true => Poll::Ready(Err(Broken::Silent)),
                    false => Poll::Pending,
                }
            })
            .await;
        }
        poll_fn(|context| {
            // Reading goes on while a long line is written, or two full pipes
            // would wait for each other.
            if written < line.len()
                && let Poll::Ready(Err(_)) = self.pipes.poll_write(context, line, &mut written)
            {
                return Poll::Ready(Err(if written == 0 { Broken::Unheard } else { Broken::Silent }));
            }
            let mut intake = self.intake();
            loop {
                match self.pipes.poll_read(context, &mut intake) {
                    Poll::Ready(heard) => {
                        if let Some(end) = take(&mut intake, None) {
                            return Poll::Ready(Ok(end));
                        }
                        if heard == Heard::End {
                            return Poll::Ready(Err(Broken::Silent));
                        }
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    /// Why a container stopped talking.
    async fn post_mortem(&self) -> Ended {
        self.spent.store(true, Ordering::Release);
        if time::timeout(GRACE, self.body.until(Life::Dead)).await.is_err() {
            // It lives, but closed the only way to say anything.
            self.body.kill();
            return Ended::Exited;
        }
        if self.body.memory_kills() > 0 { Ended::OutOfMemory } else { Ended::Exited }
    }

    /// Puts the code where the launcher will find it, unless that takes it as
    /// text.
    async fn place(&self, init: &Init) -> Result<Option<String>, Failure> {
        let Some(held) = self.source.workshop.code(&self.source.launch, init).await? else { return Ok(None) };
        let (from, to, copies) = (held.clone(), self.action.folder.clone(), self.source.copies);
        let shared = tokio::task::spawn_blocking(move || workshop::share(from.folder(), &to, copies)).await;
        shared.unwrap_or_else(|ended| Err(io::Error::other(ended)))?;
        // Nobody else sets it: code is placed once.
        let _ = self.held.set(held);
        Ok(Some(self.action.inside.clone()))
    }

    /// Has the code made ready, in time that is not the action's.
    async fn ready(&self, init: &Init) -> Result<Result<Option<String>, InitEnd>, Error> {
        let failure = match time::timeout(READY_WAIT, self.place(init)).await {
            Ok(Ok(folder)) => return Ok(Ok(folder)),
            Ok(Err(failure)) => failure,
            Err(_) => io::Error::from(io::ErrorKind::TimedOut).into(),
        };
        match failure {
            Failure::Refused(Refusal { words, details, .. }) => {
                self.intake().raw(Stream::Stderr, details.as_bytes(), now_us());
                Ok(Err(InitEnd::Failed((*words).into())))
            }
            Failure::Host(error) if error.kind() == io::ErrorKind::Unsupported => {
                Err(Error::Unavailable { kind: self.source.launch.kind.clone(), reason: error.to_string() })
            }
            Failure::Host(error) => {
                Err(Error::host("make the action's code ready")(io::Error::new(error.kind(), error.to_string())))
            }
        }
    }

    async fn load(&self, init: &Init, folder: Option<String>) -> Result<InitEnd, Error> {
        if self.source.launch.handover {
            return self.exchange_init(&order::handover(&init.env, &self.action.inside)).await;
        }
        let text = match &init.code {
            Code::Text(text) if folder.is_none() => Some(&**text),
            Code::Text(_) | Code::Binary(_) => None,
        };
        let line = order::init(order::Init {
            activation: init.activation,
            name: &init.name,
            main: &init.main,
            code: text,
            folder: folder.as_deref(),
            concurrent: self.concurrent,
            env: &init.env,
        });
        let line = line.map_err(io::Error::from).map_err(Error::host("write an initialisation"))?;
        self.exchange_init(&line).await
    }

    async fn exchange_init(&self, line: &[u8]) -> Result<InitEnd, Error> {
        match self.exchange(line, Intake::take_init).await {
            Ok(end) => Ok(end),
            Err(Broken::Unheard | Broken::Silent) => {
                let ended = self.post_mortem().await;
                self.isolation_failed()?;
                Ok(InitEnd::Ended(ended))
            }
        }
    }

    /// A container that ends without a word, but for a complaint of the
    /// isolation, never got as far as user code.
    fn isolation_failed(&self) -> Result<(), Error> {
        let mut intake = self.intake();
        self.pipes.drain(&mut intake);
        let complaint = intake.complaint().trim();
        if intake.any_frame() || !complaint.starts_with("bwrap: ") {
            return Ok(());
        }
        Err(Error::host("set up the container's isolation")(io::Error::other(complaint.to_owned())))
    }
}

#[async_trait]
impl Container for ProcessContainer {
    async fn init(&self, init: Init, deadline: Duration) -> Result<InitEnd, Error> {
        let inside = &*self.inside;
        // A container that died while it waited says in `load` what it died of.
        inside.intake().expect_init(init.activation);
        let unfinished = Unfinished { inside, run: None };
        let end = match inside.ready(&init).await {
            Ok(Ok(folder)) => match time::timeout(deadline, inside.load(&init, folder)).await {
                Ok(end) => end,
                Err(_) => {
                    inside.stop();
                    Ok(InitEnd::Ended(Ended::TimedOut))
                }
            },
            Ok(Err(refused)) => Ok(refused),
            Err(error) => Err(error),
        };
        unfinished.finished();
        end
    }

    async fn run(&self, run: Run, deadline: Duration) -> Result<RunEnd, Error> {
        let inside = &*self.inside;
        inside.usable()?;
        let context = run.context.iter().map(|(name, text)| (name, text));
        let line = order::run(run.value.get(), context, run.activation)
            .map_err(io::Error::from)
            .map_err(Error::host("write a run"))?;
        let id = run.activation;
        {
            let mut intake = inside.intake();
            if intake.owner().is_some_and(|owner| owner != id) {
                // The logs of the run before were not asked for yet; what it
                // wrote past the launcher must not become this one's.
                inside.pipes.drain(&mut intake);
            }
            let (limit_bytes, truncation_bytes) = (run.result_limit_bytes, run.truncation_bytes);
            intake.expect_run(id, ResultLimit { limit_bytes, truncation_bytes });
        }
        let unfinished = Unfinished { inside, run: Some(id) };
        let exchange = inside.exchange(&line, |intake, waker| intake.take_run(id, waker));
        let end = match time::timeout(deadline, exchange).await {
            Ok(Ok(end)) => Ok(end),
            Ok(Err(Broken::Unheard)) => {
                inside.stop();
                Err(Error::Gone)
            }
            Ok(Err(Broken::Silent)) => Ok(RunEnd::Ended(inside.post_mortem().await)),
            Err(_) => {
                inside.intake().forget_run(id);
                inside.stop();
                Ok(RunEnd::Ended(Ended::TimedOut))
            }
        };
        unfinished.finished();
        end
    }

    async fn logs(&self, activation: ActivationId, limit_bytes: u64) -> Logs {
        let inside = &*self.inside;
        if inside.spent.load(Ordering::Acquire) {
            // What a stopped container wrote last is in the pipes once it is
            // gone, which takes a moment.
            let _ = time::timeout(STOPPED_WAIT, inside.body.until(Life::Dead)).await;
        }
        let mut intake = inside.intake();
        inside.pipes.drain(&mut intake);
        intake.take_logs(activation, limit_bytes, now_us())
    }

    async fn pause(&self) -> Result<(), Error> {
        self.inside.usable()?;
        self.inside.body.freeze(true).await.map_err(Error::host("pause a container"))
    }

    async fn resume(&self) -> Result<(), Error> {
        self.inside.usable()?;
        self.inside.body.freeze(false).await.map_err(Error::host("resume a container"))
    }

    async fn destroy(&self) {
        self.inside.spent.store(true, Ordering::Release);
        self.inside.body.bury();
        self.inside.body.until(Life::Buried).await;
    }

    async fn died(&self) {
        self.inside.body.until(Life::Dead).await;
    }
}
