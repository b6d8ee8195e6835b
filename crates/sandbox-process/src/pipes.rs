//! The server's ends of a container's four pipes.
//!
//! Reading is done in whichever task waits for the container, by plain `read`
//! calls between readiness events: a warm run costs one `write` and one
//! `read`, and no task but its own is woken. Bytes go straight to the
//! [`Intake`], through one scratch buffer for each thread, so that an idle
//! container holds no buffers.

use std::{
    cell::RefCell,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, ready},
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::{
    buffer::spare_capacity,
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
};
use tokio::io::{Interest, unix::AsyncFd};
use whisker_sandbox::Stream;

use crate::{intake::Intake, spawn};

/// Most that is read at once; what a pipe holds.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(SCRATCH_BYTES));
}

/// Our ends, registered with the runtime that made them.
pub(crate) struct Pipes {
    orders: AsyncFd<OwnedFd>,
    frames: Source,
    outputs: [(Stream, Source); 2],
}

/// The container's ends.
pub(crate) struct Ends {
    pub orders: OwnedFd,
    pub frames: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// A pipe that is read.
struct Source {
    pipe: AsyncFd<OwnedFd>,
    ended: AtomicBool,
}

/// What a look at the pipes came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Frames, perhaps the one that is waited for.
    Frames,
    /// Descriptor 3 was closed: there will be no more.
    End,
}

/// Makes the four pipes. `owner` gets the container's ends, so that its user
/// may open them again by their names in `/proc`.
pub(crate) fn make(owner: Option<u32>) -> io::Result<(Pipes, Ends)> {
    let pipe = || -> io::Result<(OwnedFd, OwnedFd)> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        if let Some(owner) = owner {
            let (user, group) = (rustix::fs::Uid::from_raw(owner), rustix::fs::Gid::from_raw(owner));
            rustix::fs::fchown(&read, Some(user), Some(group))?;
        }
        Ok((read, write))
    };
    let (orders, our_orders) = pipe()?;
    let (our_frames, frames) = pipe()?;
    let (our_stdout, stdout) = pipe()?;
    let (our_stderr, stderr) = pipe()?;
    set_nonblocking(&our_orders)?;
    let pipes = Pipes {
        orders: spawn::watch(our_orders, Interest::WRITABLE)?,
        frames: Source::new(our_frames)?,
        outputs: [(Stream::Stdout, Source::new(our_stdout)?), (Stream::Stderr, Source::new(our_stderr)?)],
    };
    Ok((pipes, Ends { orders, frames, stdout, stderr }))
}

impl Pipes {
    /// Writes as much of `line` as fits, from `*written` on.
    pub(crate) fn poll_write(
        &self,
        context: &mut Context<'_>,
        line: &[u8],
        written: &mut usize,
    ) -> Poll<io::Result<()>> {
        while *written < line.len() {
            let mut guard = ready!(self.orders.poll_write_ready(context))?;
            match rustix::io::write(guard.get_inner(), &line[*written..]) {
                Ok(count) => *written += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads whatever there is into `intake`. Ready when something came on
    /// descriptor 3; output alone is taken in passing.
    pub(crate) fn poll_read(&self, context: &mut Context<'_>, intake: &mut Intake) -> Poll<Heard> {
        if let Poll::Ready(heard) = self.frames.poll(context, |bytes| intake.frames(bytes)) {
            // What was written before the frame was written belongs to it,
            // but is not waited for: `drain` takes it, off the hot path.
            return Poll::Ready(if heard { Heard::Frames } else { Heard::End });
        }
        for (stream, source) in &self.outputs {
            while let Poll::Ready(true) = source.poll(context, |bytes| intake.raw(*stream, bytes, now_us())) {}
        }
        Poll::Pending
    }

    /// Reads what lies in the pipes now, ready or not, but no more than a
    /// flooding child could have written before.
    pub(crate) fn drain(&self, intake: &mut Intake) {
        self.frames.drain(|bytes| intake.frames(bytes));
        for (stream, source) in &self.outputs {
            source.drain(|bytes| intake.raw(*stream, bytes, now_us()));
        }
    }
}

impl Source {
    fn new(pipe: OwnedFd) -> io::Result<Source> {
        set_nonblocking(&pipe)?;
        Ok(Source { pipe: spawn::watch(pipe, Interest::READABLE)?, ended: AtomicBool::new(false) })
    }

    /// One read, if there is anything: whether bytes came, or the end.
    fn poll(&self, context: &mut Context<'_>, take: impl FnMut(&[u8])) -> Poll<bool> {
        if self.ended.load(Ordering::Relaxed) {
            return Poll::Ready(false);
        }
        let mut take = take;
        loop {
            let Ok(mut guard) = ready!(self.pipe.poll_read_ready(context)) else {
                // The runtime is shutting down.
                return Poll::Ready(false);
            };
            match read(guard.get_inner().as_fd(), &mut take) {
                Ok(0) => {
                    self.ended.store(true, Ordering::Relaxed);
                    return Poll::Ready(false);
                }
                Ok(count) => {
                    // A short read emptied the pipe: the next event will tell
                    // of more, and a read that finds nothing is saved.
                    if count < SCRATCH_BYTES {
                        guard.clear_ready();
                    }
                    return Poll::Ready(true);
                }
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR) => {}
                Err(_) => return Poll::Ready(false),
            }
        }
    }

    fn drain(&self, mut take: impl FnMut(&[u8])) {
        // Two pipefuls: what was there, and some that came meanwhile.
        let mut left = 2 * SCRATCH_BYTES;
        while left > 0 && !self.ended.load(Ordering::Relaxed) {
            match read(self.pipe.get_ref().as_fd(), &mut take) {
                Ok(0) => self.ended.store(true, Ordering::Relaxed),
                Ok(count) => left = left.saturating_sub(count),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

fn read(pipe: BorrowedFd<'_>, take: &mut impl FnMut(&[u8])) -> Result<usize, Errno> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        let count = rustix::io::read(pipe, spare_capacity(scratch))?;
        take(scratch);
        Ok(count)
    })
}

fn set_nonblocking(pipe: &OwnedFd) -> io::Result<()> {
    Ok(fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?)
}

/// The date of a line that bypassed its launcher: when it was read.
#[expect(clippy::disallowed_methods, reason = "log lines carry a date")]
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
