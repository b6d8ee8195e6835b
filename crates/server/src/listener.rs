//! Connections: accepted, bounded, served, and closed with patience.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::AsFd as _,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::Incoming,
    header::{self, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use whisker_controller::Controller;

use crate::{
    addresses::Addresses,
    http2,
    one_length::OneLength,
    patience::Patient,
    proxies::Proxies,
    tls::{Accepted, Tls},
};

/// How long a client may take to send its headers, and how long a connection
/// may idle: it is closed after that, so that slow ones cost nothing. Proxies
/// must let theirs go sooner (deploy/nginx).
const HEADERS_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a server that ends keeps a proxy's idle connection, which serves
/// one more request: closed from here while the proxy sends a POST, nobody could
/// repeat that. NGINX lets its idle ones go after 5 s (deploy/nginx). Others
/// have no second server to ask, and are closed at once.
const PROXY_LETS_GO: Duration = Duration::from_secs(6);
/// Bytes of headers that are parsed at all; the API refuses fewer with words.
const HEADERS_MAX_BYTES: u32 = 96 * 1024;
/// Pause after the kernel refused a connection, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections that wait in the kernel to be accepted. Those of more wait at
/// their clients, who try again with growing pauses.
const BACKLOG: u32 = 4096;

/// What an address with too many connections is told, and for how long.
const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const TELLING: Duration = Duration::from_secs(1);

/// Whatever answers requests: the API, or what stands there until that is ready.
pub trait Answers: Send + Sync + 'static {
    /// Answers one, of this client.
    fn answer(
        &self,
        request: Request<Incoming>,
        client: IpAddr,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send + '_;

    /// Whether a request to this path is answered here, or better by another
    /// server, if there is one. May wait a little to find out.
    fn takes<'a>(&'a self, _path: &'a str) -> impl Future<Output = bool> + Send + 'a {
        std::future::ready(true)
    }
}

/// The connection is closed without an answer: a proxy asks the next server
/// then, and leaves this one alone for a while.
#[derive(Debug, thiserror::Error)]
#[error("a proxy is to ask another server")]
struct TurnedAway;

impl Answers for Controller {
    async fn answer(&self, request: Request<Incoming>, client: IpAddr) -> Response<Full<Bytes>> {
        self.handle(request, client).await
    }
}

/// An open port.
pub struct Listener {
    socket: TcpListener,
    connections: Arc<Semaphore>,
    addresses: Addresses,
    tls: Option<Tls>,
    proxies: Arc<Proxies>,
}

impl Listener {
    /// Opens the port. At most `connections_max` are served at once; the next
    /// ones wait in the kernel's queue. Of one address there are at most
    /// `per_address`; the next ones are answered 429, or, before a handshake,
    /// closed.
    pub async fn bind(address: SocketAddr, connections_max: usize, per_address: usize) -> anyhow::Result<Self> {
        let socket = open(address).with_context(|| format!("cannot listen on {address}"))?;
        let connections = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        let addresses = Addresses::new(per_address);
        Ok(Self { socket, connections, addresses, tls: None, proxies: Arc::default() })
    }

    /// With a handshake before everything else, if there is a certificate.
    pub fn secured(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// Takes the word of these proxies for who their clients are.
    pub fn behind(self, proxies: Proxies) -> Self {
        Self { proxies: Arc::new(proxies), ..self }
    }

    /// Where it listens.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }

    /// Serves until cancelled, then refuses connections and lets requests that
    /// are under way finish, for as long as the caller waits.
    pub async fn run<A: Answers>(self, answers: Arc<A>, cancel: CancellationToken) {
        let tasks = TaskTracker::new();
        loop {
            let place = tokio::select! {
                () = cancel.cancelled() => break,
                place = self.connections.clone().acquire_owned() => place,
            };
            // The semaphore is never closed.
            let Ok(place) = place else { break };
            let accepted = tokio::select! {
                () = cancel.cancelled() => break,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.take(stream, peer, place, &tasks, &answers, &cancel),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // The kernel took these already, maybe with a request: a reset would
        // leave a proxy not knowing whether it was carried out.
        while let Ok(place) = self.connections.clone().try_acquire_owned()
            && let Some((stream, peer)) = self.waiting()
        {
            self.take(stream, peer, place, &tasks, &answers, &cancel);
        }
        // Closed before the requests end, or whoever connects meanwhile would
        // wait for nothing; refused, a proxy asks the next server.
        drop(self.socket);
        tasks.close();
        tasks.wait().await;
    }

    /// One that waits in the kernel, which is asked itself: the runtime hears of
    /// them a little later.
    fn waiting(&self) -> Option<(TcpStream, SocketAddr)> {
        let socket = std::net::TcpListener::from(self.socket.as_fd().try_clone_to_owned().ok()?);
        let (stream, peer) = socket.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(stream).ok()?, peer))
    }

    /// Has a connection served, or refused if there are too many of its address.
    fn take<A: Answers>(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
        tasks: &TaskTracker,
        answers: &Arc<A>,
        cancel: &CancellationToken,
    ) {
        let proxy = self.proxies.trusts(peer.ip());
        let seat = if proxy { Some(self.addresses.uncounted()) } else { self.addresses.seat(peer.ip()) };
        let Some(seat) = seat else {
            metrics::counter!("listener_refused_total").increment(1);
            let tell = self.tls.is_none();
            tasks.spawn(async move {
                if tell {
                    refuse(stream).await;
                }
                drop(place);
            });
            return;
        };
        let (answers, proxies) = (answers.clone(), self.proxies.clone());
        let entry = Arc::new(Entry { answers, proxies, peer, proxy, tls: self.tls.clone() });
        let cancel = cancel.clone();
        tasks.spawn(async move {
            entry.serve(stream, cancel).await;
            drop((seat, place));
        });
    }
}

/// An open port, which may have been in use a moment ago.
fn open(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Tells a connection that there are too many of its address.
async fn refuse(mut stream: TcpStream) {
    let telling = async {
        stream.write_all(TOO_MANY).await?;
        stream.shutdown().await
    };
    // It is closed in any case.
    let _ = tokio::time::timeout(TELLING, telling).await;
}

/// What every request of a connection is answered by.
struct Entry<A> {
    answers: Arc<A>,
    proxies: Arc<Proxies>,
    peer: SocketAddr,
    /// Whether the peer is a proxy whose word is taken.
    proxy: bool,
    tls: Option<Tls>,
}

impl<A: Answers> Entry<A> {
    /// Serves a connection to its end.
    async fn serve(self: Arc<Self>, stream: TcpStream, cancel: CancellationToken) {
        // Answers are written whole: waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return self.http1(Patient::new(stream), cancel).await };
        let accepted = tokio::select! {
            // Nothing was asked yet.
            () = cancel.cancelled() => return,
            accepted = tls.accept(stream) => accepted,
        };
        match accepted {
            Ok(Accepted { stream, http2: false }) => self.http1(Patient::new(stream), cancel).await,
            Ok(Accepted { stream, http2: true }) => {
                let entry = self.clone();
                let answer = move |request| {
                    let entry = entry.clone();
                    async move { entry.answer_anyone(request).await }
                };
                http2::serve(Patient::new(stream), HEADERS_MAX_BYTES, answer, cancel).await;
            }
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "a handshake failed"),
        }
    }

    async fn http1(&self, stream: impl AsyncRead + AsyncWrite + Unpin, cancel: CancellationToken) {
        let service = service_fn(|request| async {
            let answer = self.answer(request).await;
            answer.map(|answer| if cancel.is_cancelled() { farewell(answer) } else { answer })
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS_TIMEOUT)
            .max_buf_size(HEADERS_MAX_BYTES as usize)
            .serve_connection(TokioIo::new(OneLength::new(stream)), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.leave(&cancel) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke");
        }
    }

    /// Waits until a connection that idles is closed from here.
    async fn leave(&self, cancel: &CancellationToken) {
        cancel.cancelled().await;
        if self.proxy {
            tokio::time::sleep(PROXY_LETS_GO).await;
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, TurnedAway> {
        if self.proxy && !self.answers.takes(request.uri().path()).await {
            return Err(TurnedAway);
        }
        Ok(self.answer_anyone(request).await)
    }

    async fn answer_anyone(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let client = self.proxies.client(self.peer.ip(), request.headers());
        self.answers.answer(request, client).await
    }
}

/// Says that this is the connection's last answer.
fn farewell(mut answer: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::net::Ipv4Addr;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    struct Pong;

    impl Answers for Pong {
        async fn answer(&self, _: Request<Incoming>, _: IpAddr) -> Response<Full<Bytes>> {
            Response::new("pong".into())
        }
    }

    #[tokio::test]
    async fn what_a_proxy_sent_before_the_end_is_answered() {
        let proxies = Proxies::new(vec!["127.0.0.1".parse().unwrap()]);
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), 100, 100).await.unwrap().behind(proxies);
        let mut waiting = Vec::new();
        for _ in 0..20 {
            let mut stream = TcpStream::connect(listener.address().unwrap()).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: api.test\r\n\r\n").await.unwrap();
            waiting.push(stream);
        }
        let cancel = CancellationToken::new();
        cancel.cancel();
        let running = tokio::spawn(listener.run(Arc::new(Pong), cancel));
        for mut stream in waiting {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.contains("connection: close") && answer.ends_with("pong"), "{answer}");
        }
        running.await.unwrap();
    }
}
