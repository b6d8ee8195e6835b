//! A connection whose other end must take what is written to it.
//!
//! Headers and bodies that come slowly have their limits, but an answer waits
//! for its reader, and one that never reads would keep its connection, and the
//! place of another, for ever.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// How long it may take to write [`PORTION_BYTES`], or what is left of an
/// answer if that is less, from when the other end first made us wait.
const PATIENCE: Duration = Duration::from_secs(30);
/// Small enough for a telephone far from anywhere: 2 KB a second.
const PORTION_BYTES: usize = 64 * 1024;

/// A stream that breaks with `TimedOut` when its reader is too slow.
pub struct Patient<S> {
    stream: S,
    waiting: Option<Waiting>,
}

struct Waiting {
    over: Pin<Box<Sleep>>,
    taken_bytes: usize,
}

impl<S> Patient<S> {
    /// With this stream, to which nothing was written yet.
    pub fn new(stream: S) -> Self {
        Self { stream, waiting: None }
    }

    fn judge(&mut self, context: &mut Context<'_>, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let Poll::Ready(wrote) = wrote else {
            let new = || Waiting { over: Box::pin(sleep(PATIENCE)), taken_bytes: 0 };
            let waiting = self.waiting.get_or_insert_with(new);
            ready!(waiting.over.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        };
        if let (Some(waiting), Ok(bytes)) = (&mut self.waiting, &wrote) {
            waiting.taken_bytes += bytes;
            if waiting.taken_bytes >= PORTION_BYTES {
                self.waiting = None;
            }
        }
        Poll::Ready(wrote)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.judge(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Asked for when all of an answer was written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.waiting = None;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::Instant,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_never_reads_is_left() {
        let (ours, _theirs) = duplex(1000);
        let began = Instant::now();
        let broken = Patient::new(ours).write_all(&[0; 1001]).await.unwrap_err();
        assert_eq!((broken.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, PATIENCE.as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_is_not_enough_and_a_portion_in_time_is() {
        for (step, enough) in [(1, false), (PORTION_BYTES / 2, true)] {
            let (ours, mut theirs) = duplex(1000);
            let reader = tokio::spawn(async move {
                let mut bytes = vec![0; step];
                while theirs.read_exact(&mut bytes).await.is_ok() {
                    sleep(PATIENCE / 3).await;
                }
            });
            let mut ours = Patient::new(ours);
            let wrote = ours.write_all(&vec![0; 5 * PORTION_BYTES]).await;
            assert_eq!(wrote.is_ok(), enough, "{step}");
            drop(ours);
            reader.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_between_answers_is_no_slowness() {
        let (ours, mut theirs) = duplex(1000);
        let mut ours = Patient::new(ours);
        for _ in 0..3 {
            let mut answer = [0; 1500];
            let (wrote, read) = tokio::join!(ours.write_all(&[0; 1500]), theirs.read_exact(&mut answer));
            wrote.and(read.map(drop)).unwrap();
            ours.flush().await.unwrap();
            sleep(2 * PATIENCE).await;
        }
    }
}
