//! HTTP/2 on one connection, with the bounds that HTTP/1.1 has.
//!
//! The library knows no time limit for headers, idling or an answer that is
//! not taken, since on a connection of many streams none of these is one
//! thing. So each request is an [`Exchange`] in the connection's [`Traffic`],
//! which is looked at now and then:
//!
//! | what the client does | what becomes of the connection |
//! | --- | --- |
//! | nothing, or never ends its headers | told to go after [`QUIET`], cut after [`GOODBYE`] more |
//! | does not take an answer | cut after [`PATIENCE`] |
//! | abandons requests as fast as it makes them | cut at [`ABANDONED_MAX`] between two looks |

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Request, Response,
    body::{Body, Frame, Incoming, SizeHint},
    header::{self, HeaderValue},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// Requests under way on one connection; a client that follows the protocol
/// waits before it sends more, and of another's they are refused.
const STREAMS_MAX: u32 = 100;
/// Time without a request after which a connection is told to go.
const QUIET: Duration = Duration::from_secs(8);
/// How long a client that was told to go may still begin something: what it
/// sent before it heard of that is answered.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long a client may leave a piece of an answer untaken.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer that are handed over at a time.
const PIECE_BYTES: usize = 64 * 1024;
/// Requests that a client may abandon between two looks.
const ABANDONED_MAX: usize = 100;
/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Serves a connection to its end. Once cancelled, requests that are under way
/// finish and no others begin.
pub async fn serve<S, F, R>(stream: S, headers_max_bytes: u32, handle: F, cancel: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let traffic = Arc::new(Traffic::default());
    let serving = traffic.clone();
    let service = service_fn(move |request| {
        let (exchange, handle) = (serving.begin(), handle.clone());
        async move {
            let answer = handle(as_http1(request)).await;
            Ok::<_, Infallible>(answer.map(|body| Piecewise::new(body, exchange)))
        }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(headers_max_bytes)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let judged = traffic.judge(QUIET);
    tokio::pin!(judged);
    let mut leaving = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke");
                }
                return;
            }
            () = cancel.cancelled(), if !leaving => {
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
            verdict = judged.as_mut() => match verdict {
                Verdict::Quiet if !leaving => {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                    judged.set(traffic.judge(GOODBYE));
                }
                verdict => {
                    tracing::debug!(?verdict, "a connection is cut");
                    return;
                }
            },
        }
    }
}

/// A request as it would be in HTTP/1.1: web actions are told of headers, and
/// know `host` and one line of cookies.
fn as_http1(mut request: Request<Incoming>) -> Request<Incoming> {
    if let Some(authority) = request.uri().authority().map(|authority| authority.as_str().to_owned()) {
        // The authority is what the client asked for, whatever else it says.
        if let Ok(host) = HeaderValue::from_str(&authority) {
            request.headers_mut().insert(header::HOST, host);
        }
    }
    join_cookies(request.headers_mut());
    request
}

/// HTTP/2 lets a client spread its cookies over lines (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

/// The requests of a connection.
#[derive(Default)]
struct Traffic {
    exchanges: Mutex<Vec<Weak<Exchange>>>,
    begun: AtomicUsize,
    abandoned: AtomicUsize,
    too_many: Notify,
}

/// One request, until all of its answer was handed over.
struct Exchange {
    traffic: Arc<Traffic>,
    stage: Mutex<Stage>,
}

#[derive(Clone, Copy)]
enum Stage {
    /// It is being served: whoever serves it has limits of their own.
    Served,
    /// A piece of its answer was handed over at this time.
    Answered(Instant),
}

/// Why a connection has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Quiet,
    Stalled,
    Flooding,
}

impl Traffic {
    fn begin(self: &Arc<Self>) -> Arc<Exchange> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let exchange = Arc::new(Exchange { traffic: self.clone(), stage: Mutex::new(Stage::Served) });
        let mut exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        // Streams are bounded, and so is what is kept of those that ended.
        if exchanges.len() >= 2 * STREAMS_MAX as usize {
            exchanges.retain(|exchange| exchange.strong_count() > 0);
        }
        exchanges.push(Arc::downgrade(&exchange));
        exchange
    }

    /// Looks until there is something to say; after so long without a request
    /// there is.
    async fn judge(&self, quiet: Duration) -> Verdict {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut quiet_since = Instant::now();
        let mut begun_before = self.begun.load(Ordering::Relaxed);
        loop {
            tokio::select! {
                _ = look.tick() => {}
                () = self.too_many.notified() => return Verdict::Flooding,
            }
            self.abandoned.store(0, Ordering::Relaxed);
            let begun = self.begun.load(Ordering::Relaxed);
            let under_way = {
                let mut exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
                exchanges.retain(|exchange| exchange.strong_count() > 0);
                exchanges.iter().filter_map(Weak::upgrade).collect::<Vec<_>>()
            };
            if under_way.iter().any(|exchange| exchange.is_stalled()) {
                return Verdict::Stalled;
            }
            if begun != begun_before || !under_way.is_empty() {
                (begun_before, quiet_since) = (begun, Instant::now());
            } else if quiet_since.elapsed() >= quiet {
                return Verdict::Quiet;
            }
        }
    }
}

impl Exchange {
    fn stage(&self) -> Stage {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progressed(&self) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = Stage::Answered(Instant::now());
    }

    fn is_stalled(&self) -> bool {
        matches!(self.stage(), Stage::Answered(since) if since.elapsed() >= PATIENCE)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Nobody but the client ends a request that is being served.
        if matches!(self.stage(), Stage::Served)
            && self.traffic.abandoned.fetch_add(1, Ordering::Relaxed) + 1 >= ABANDONED_MAX
        {
            self.traffic.too_many.notify_one();
        }
    }
}

/// The body of an answer, handed over piece by piece, so that it is seen
/// whether the client takes it.
struct Piecewise {
    left: Bytes,
    long: bool,
    exchange: Arc<Exchange>,
}

impl Piecewise {
    fn new(body: Full<Bytes>, exchange: Arc<Exchange>) -> Self {
        exchange.progressed();
        let left = whole(body);
        Self { long: left.len() > PIECE_BYTES, left, exchange }
    }
}

/// The one piece that such a body is, which is always there.
fn whole(mut body: Full<Bytes>) -> Bytes {
    let mut context = Context::from_waker(std::task::Waker::noop());
    match Pin::new(&mut body).poll_frame(&mut context) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        Poll::Ready(_) | Poll::Pending => Bytes::new(),
    }
}

impl Body for Piecewise {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        self.exchange.progressed();
        let length = self.left.len().min(PIECE_BYTES);
        let rest = self.left.split_off(length);
        let piece = std::mem::replace(&mut self.left, rest);
        // The last piece of a long answer, which may wait in the connection
        // for long, would keep all of it in memory.
        let piece = if self.left.is_empty() && self.long { Bytes::copy_from_slice(&piece) } else { piece };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

#[cfg(test)]
mod tests;
