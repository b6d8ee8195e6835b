//! A container from the daemon's side: what it writes, when it dies, and that it
//! is removed.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bollard::{
    container::{AttachContainerResults, LogOutput},
    models::ContainerInspectResponse,
    query_parameters::{KillContainerOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder},
};
use futures::StreamExt as _;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    time::{self, Instant},
};
use whisker_sandbox::Stream;

use crate::{
    daemon::{Daemon, Failed, LONG, SHORT},
    output::Output,
};

/// How long the daemon may take to say that a process died of its memory, once
/// it said that it died.
const MEMORY_NOTICE: Duration = Duration::from_secs(2);
/// Time between two looks at that.
const LOOK: Duration = Duration::from_millis(20);
/// Exit status of what was killed outright.
const KILLED: i64 = 128 + 9;

/// How often a daemon that does not answer is asked again to remove a container,
/// with doubling pauses: some minutes in all. After that the next life's sweep
/// has to do it.
const REMOVALS: u32 = 10;
const REMOVAL_PAUSE: Duration = Duration::from_millis(500);

/// How a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Life {
    /// It runs, or is about to.
    Alive,
    /// Its first process ended, with this status.
    Dead {
        /// As the daemon tells it.
        status: i64,
    },
    /// Nothing is left of it.
    Buried,
}

/// A container.
pub(crate) struct Body {
    daemon: Arc<Daemon>,
    id: String,
    life: watch::Sender<Life>,
    killed: AtomicBool,
    burying: AtomicBool,
    output: Mutex<Output>,
    /// Something was written.
    wrote: Notify,
    /// When, in milliseconds since `began`; 0 for never.
    wrote_ms: AtomicU64,
    began: Instant,
    ended: watch::Sender<bool>,
    runtime: Handle,
}

impl Body {
    pub(crate) fn new(daemon: Arc<Daemon>, id: String, output: Output) -> Arc<Body> {
        Arc::new(Body {
            daemon,
            id,
            life: watch::Sender::new(Life::Alive),
            killed: AtomicBool::new(false),
            burying: AtomicBool::new(false),
            output: Mutex::new(output),
            wrote: Notify::new(),
            wrote_ms: AtomicU64::new(0),
            began: Instant::now(),
            ended: watch::Sender::new(false),
            runtime: Handle::current(),
        })
    }

    pub(crate) fn life(&self) -> Life {
        *self.life.borrow()
    }

    /// Waits until it is at least that far.
    pub(crate) async fn until(&self, reached: impl Fn(Life) -> bool) {
        // The sender is ours: it cannot go away.
        let _ = self.life.subscribe().wait_for(|life| reached(*life)).await;
    }

    pub(crate) async fn until_dead(&self) {
        self.until(|life| life != Life::Alive).await;
    }

    pub(crate) fn output(&self) -> MutexGuard<'_, Output> {
        // Output stays whole whatever panicked elsewhere.
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `enough` says so, until nothing was written for `quiet`, or
    /// until `limit` is over; whether there was enough.
    pub(crate) async fn gather(&self, enough: impl Fn(&Output) -> bool, quiet: Duration, limit: Duration) -> bool {
        let began = Instant::now();
        loop {
            let wrote = self.wrote.notified();
            if enough(&self.output()) {
                return true;
            }
            let last = self.began + Duration::from_millis(self.wrote_ms.load(Ordering::Relaxed));
            let until = (last.max(began) + quiet).min(began + limit);
            tokio::select! {
                () = wrote => {}
                () = time::sleep_until(until) => {
                    let last = self.began + Duration::from_millis(self.wrote_ms.load(Ordering::Relaxed));
                    if Instant::now() >= (last.max(began) + quiet).min(began + limit) {
                        return enough(&self.output());
                    }
                }
            }
        }
    }

    /// Waits until something was written at all, until it ended, or for so long.
    pub(crate) async fn until_written(&self, limit: Duration) {
        let waited = time::timeout(limit, async {
            loop {
                let wrote = self.wrote.notified();
                if self.wrote_ms.load(Ordering::Relaxed) > 0 || *self.ended.borrow() {
                    return;
                }
                wrote.await;
            }
        });
        // In vain, then.
        let _ = waited.await;
    }

    /// Lines for its log that it did not write itself.
    pub(crate) fn note(&self, stream: Stream, text: &str) {
        let mut output = self.output();
        for line in text.lines() {
            output.push(stream, format!("{line}\n").as_bytes(), now_us());
        }
    }

    /// Waits until no more output can come.
    pub(crate) async fn until_output_ended(&self) {
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// Reads the container's output to its end.
    pub(crate) async fn read_output(self: Arc<Self>, mut attached: AttachContainerResults) {
        while let Some(Ok(piece)) = attached.output.next().await {
            let (stream, message) = match piece {
                LogOutput::StdOut { message } | LogOutput::Console { message } => (Stream::Stdout, message),
                LogOutput::StdErr { message } => (Stream::Stderr, message),
                LogOutput::StdIn { .. } => continue,
            };
            self.output().push(stream, &message, now_us());
            let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.wrote_ms.store(since.max(1), Ordering::Relaxed);
            self.wrote.notify_waiters();
        }
        self.output().end(now_us());
        self.ended.send_replace(true);
        self.wrote.notify_waiters();
    }

    /// Waits for the container's death, and tells it. A daemon that cannot say
    /// whether it lives has lost it, as far as we are concerned.
    pub(crate) async fn watch(self: Arc<Self>) {
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        let mut waiting = self.daemon.streams().wait_container(&self.id, Some(options));
        let status = match waiting.next().await {
            Some(Ok(ended)) => ended.status_code,
            Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => code,
            Some(Err(_)) | None => match self.inspect().await.ok().and_then(|seen| seen.state) {
                Some(state) => state.exit_code.unwrap_or(-1),
                None => -1,
            },
        };
        self.life.send_if_modified(|life| {
            let news = *life == Life::Alive;
            if news {
                *life = Life::Dead { status };
            }
            news
        });
    }

    pub(crate) async fn inspect(&self) -> Result<ContainerInspectResponse, Failed> {
        self.daemon.call(SHORT, |docker| docker.inspect_container(&self.id, None)).await
    }

    pub(crate) async fn pause(&self) -> Result<(), Failed> {
        self.daemon.call(SHORT, |docker| docker.pause_container(&self.id)).await
    }

    pub(crate) async fn resume(&self) -> Result<(), Failed> {
        self.daemon.call(SHORT, |docker| docker.unpause_container(&self.id)).await
    }

    /// Whether a dead container died of its memory. The daemon hears of that on
    /// another way than of the death, and sometimes later.
    pub(crate) async fn ran_out_of_memory(&self) -> bool {
        let patience = Instant::now() + MEMORY_NOTICE;
        loop {
            match self.inspect().await.ok().and_then(|seen| seen.state) {
                Some(state) if state.oom_killed == Some(true) => return true,
                Some(state) if state.exit_code != Some(KILLED) => return false,
                Some(_) if self.killed.load(Ordering::Acquire) || Instant::now() > patience => return false,
                Some(_) => time::sleep(LOOK).await,
                None => return false,
            }
        }
    }

    /// Ends every process of it, at once. What it wrote can still be read.
    pub(crate) fn kill(self: &Arc<Self>) {
        if self.killed.swap(true, Ordering::AcqRel) || self.life() != Life::Alive {
            return;
        }
        let body = self.clone();
        self.runtime.spawn(async move {
            let options = KillContainerOptionsBuilder::new().signal("KILL").build();
            let killed = body.daemon.call(LONG, |docker| docker.kill_container(&body.id, Some(options))).await;
            match killed {
                // Dead or gone already.
                Ok(()) | Err(Failed::Refused { status: 404 | 409, .. }) => {}
                // Frozen ones do not die of it everywhere.
                Err(failed) => {
                    tracing::warn!(error = %failed, "a container could not be killed and is removed");
                    body.bury();
                }
            }
        });
    }

    /// Has it removed, with all that runs in it; [`until`](Self::until) tells
    /// when that is done.
    pub(crate) fn bury(self: &Arc<Self>) {
        self.killed.store(true, Ordering::Release);
        if self.burying.swap(true, Ordering::AcqRel) {
            return;
        }
        let body = self.clone();
        self.runtime.spawn(async move {
            if let Err(failed) = remove(&body.daemon, &body.id).await {
                tracing::error!(error = %failed, "a container could not be removed; the next start will try again");
            }
            body.life.send_replace(Life::Buried);
        });
    }
}

/// Removes a container, whatever runs in it. One that is not there is removed.
pub(crate) async fn remove(daemon: &Daemon, id: &str) -> Result<(), Failed> {
    let mut pause = REMOVAL_PAUSE;
    let mut attempt = 1;
    loop {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match daemon.call(LONG, |docker| docker.remove_container(id, Some(options))).await {
            Ok(()) => return Ok(()),
            Err(failed) if failed.is_missing() => return Ok(()),
            Err(failed) if attempt == REMOVALS => return Err(failed),
            // Among others 409: its removal is under way already.
            Err(_) => {
                time::sleep(pause).await;
                pause *= 2;
                attempt += 1;
            }
        }
    }
}

/// The date of a line: when it was read.
#[expect(clippy::disallowed_methods, reason = "log lines carry a date")]
fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
