//! A thread that makes processes.
//!
//! "Kill the child when its parent dies" is, in Linux, a matter of the thread
//! that made it. The runtime's threads come and go, so this one, which lives
//! as long as the sandbox, makes all containers. It also keeps what blocks
//! (folders, cgroups, the clone itself) away from the threads that answer.

use std::{io, thread};

use tokio::sync::{mpsc, oneshot};

type Job = Box<dyn FnOnce() + Send>;

/// Starts that may wait for their turn; more wait for room here.
const WAITING: usize = 64;

/// A handle on the thread, which ends after the last handle and job.
#[derive(Debug, Clone)]
pub(crate) struct Maker {
    jobs: mpsc::Sender<Job>,
}

impl Maker {
    pub(crate) fn start(name: &str) -> io::Result<Maker> {
        let (jobs, mut waiting) = mpsc::channel::<Job>(WAITING);
        let work = move || {
            while let Some(job) = waiting.blocking_recv() {
                job();
            }
        };
        thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Maker { jobs })
    }

    /// Runs `job` on the thread. It is run to its end even if the caller goes
    /// away; its result is dropped then.
    pub(crate) async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (reply, result) = oneshot::channel();
        let job = move || {
            // Nobody to tell means that the caller went away.
            let _ = reply.send(job());
        };
        let gone = || io::Error::other("the thread that makes processes is gone");
        self.jobs.send(Box::new(job)).await.map_err(|_| gone())?;
        result.await.map_err(|_| gone())
    }

    /// Leaves `job` for when there is time; dropped if too many wait.
    pub(crate) fn post(&self, job: impl FnOnce() + Send + 'static) {
        let _ = self.jobs.try_send(Box::new(job));
    }
}
