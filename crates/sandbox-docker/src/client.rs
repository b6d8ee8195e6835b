//! HTTP to one container.
//!
//! A connection is kept for the next request for a second only: a server may
//! close an idle one whenever it likes, and a request that crosses its closing
//! on the way is lost. A new one costs a tenth of a millisecond.

use std::{
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http_body_util::BodyExt as _;
use hyper::{
    Method, Request, Response,
    body::{Body as _, Incoming},
    client::conn::http1::{self, SendRequest},
    header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{self, Instant},
};

use crate::content::{Body, Content};

/// How long an idle connection is trusted.
const TRUSTED: Duration = Duration::from_secs(1);

/// Idle connections of one container; more are closed.
const MOST_IDLE: usize = 64;

/// What is read, and thrown away, of an answer that is too long, so that its
/// connection can be used again and its length is known. Beyond that the
/// connection is closed.
const DRAINED_BYTES: u64 = 8 << 20;

/// How long one attempt to connect may take: longer than a packet is sent again.
const CONNECT: Duration = Duration::from_secs(2);

/// One container's HTTP server.
pub(crate) struct Client {
    /// None, if the container ended before it had one.
    address: Option<SocketAddr>,
    host: HeaderValue,
    idle: Mutex<Vec<(SendRequest<Body>, Instant)>>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: u16,
    /// All of it, or its beginning.
    pub body: Vec<u8>,
    /// How long it is, or how much of it was seen.
    pub length_bytes: u64,
    /// Whether the body is whole.
    pub whole: bool,
}

/// How much of an answer is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// Longest answer that is kept whole.
    pub whole_bytes: u64,
    /// What is kept of a longer one.
    pub beginning_bytes: u64,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// No connection: nothing was sent.
    Unreachable(io::Error),
    /// The connection broke.
    Broken,
}

impl Client {
    pub(crate) fn new(address: Option<SocketAddr>) -> Client {
        // Digits, dots and a colon.
        let host = address.and_then(|address| HeaderValue::from_str(&address.to_string()).ok());
        let host = host.unwrap_or_else(|| HeaderValue::from_static("action"));
        Client { address, host, idle: Mutex::default() }
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn post(&self, path: &'static str, content: &Content, limit: Limit) -> Result<Reply, Unanswered> {
        let mut request = self.request(path, content);
        while let Some(mut kept) = self.take_idle() {
            match kept.try_send_request(request).await {
                Ok(response) => return self.read(kept, response, limit).await,
                // Closed in the meantime: nothing was sent.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Unanswered::Broken),
                },
            }
        }
        let mut fresh = self.connect().await.map_err(Unanswered::Unreachable)?;
        match fresh.send_request(request).await {
            Ok(response) => self.read(fresh, response, limit).await,
            Err(_) => Err(Unanswered::Broken),
        }
    }

    /// Closes idle connections: a frozen container's server will not be there
    /// to keep them.
    pub(crate) fn hang_up(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(SendRequest<Body>, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_idle(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.idle();
        while let Some((connection, since)) = idle.pop() {
            if connection.is_ready() && since.elapsed() < TRUSTED {
                return Some(connection);
            }
        }
        None
    }

    fn request(&self, path: &'static str, content: &Content) -> Request<Body> {
        let mut request = Request::new(content.body());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static(path);
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content.media_type()));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(content.length()));
        request
    }

    async fn connect(&self) -> io::Result<SendRequest<Body>> {
        let address = self.address.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let stream = time::timeout(CONNECT, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // Ends with the connection, which ends with its sender.
        tokio::spawn(async move {
            // Whoever sent the request hears of the error.
            let _ = connection.await;
        });
        Ok(sender)
    }

    async fn read(
        &self,
        connection: SendRequest<Body>,
        response: Response<Incoming>,
        limit: Limit,
    ) -> Result<Reply, Unanswered> {
        let (head, mut incoming) = response.into_parts();
        let announced = incoming.size_hint().exact();
        let mut reply = Reply { status: head.status.as_u16(), body: Vec::new(), length_bytes: 0, whole: true };
        if let Some(length) = announced.filter(|length| *length <= limit.whole_bytes) {
            reply.body.reserve_exact(usize::try_from(length).unwrap_or_default());
        }
        reply.whole = announced.is_none_or(|length| length <= limit.whole_bytes);
        let mut drained = true;
        while let Some(frame) = incoming.frame().await {
            let Ok(data) = frame.map_err(|_| Unanswered::Broken)?.into_data() else { continue };
            reply.length_bytes += data.len() as u64;
            reply.whole &= reply.length_bytes <= limit.whole_bytes;
            let room = if reply.whole { limit.whole_bytes } else { limit.beginning_bytes };
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            reply.body.truncate(room);
            reply.body.extend_from_slice(&data[..data.len().min(room - reply.body.len())]);
            if !reply.whole && reply.length_bytes > limit.whole_bytes + DRAINED_BYTES {
                drained = false;
                break;
            }
        }
        if !reply.whole {
            reply.length_bytes = announced.unwrap_or(reply.length_bytes);
            reply.body.shrink_to_fit();
        }
        if drained {
            let mut idle = self.idle();
            if idle.len() < MOST_IDLE {
                idle.push((connection, Instant::now()));
            }
        }
        Ok(reply)
    }
}
