//! Connections: accepted, bounded, served, and closed with patience.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use whisker_controller::Controller;

use crate::patience::Patient;

/// How long a client may take to send its headers, and how long a connection
/// may idle: it is closed after that, so that slow ones cost nothing.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of headers that are parsed at all; the API refuses fewer with words.
const HEADERS_MAX_BYTES: usize = 96 * 1024;
/// Pause after the kernel refused a connection, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An open port.
pub struct Listener {
    socket: TcpListener,
    connections: Arc<Semaphore>,
}

impl Listener {
    /// Opens the port. At most `connections_max` are served at once; the next
    /// ones wait in the kernel's queue.
    pub async fn bind(address: SocketAddr, connections_max: usize) -> anyhow::Result<Self> {
        let socket = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        Ok(Self { socket, connections: Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS))) })
    }

    /// Where it listens.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }

    /// Serves until cancelled, then lets requests that are under way finish,
    /// for as long as the caller waits.
    pub async fn run(self, controller: Arc<Controller>, cancel: CancellationToken) {
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
                Ok((stream, peer)) => {
                    let (controller, cancel) = (controller.clone(), cancel.clone());
                    tasks.spawn(async move {
                        serve(stream, peer, controller, cancel).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        tasks.close();
        tasks.wait().await;
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, controller: Arc<Controller>, cancel: CancellationToken) {
    // Answers are written whole: waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let controller = &controller;
        async move { Ok::<_, std::convert::Infallible>(controller.handle(request, peer.ip()).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .max_buf_size(HEADERS_MAX_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream)), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = cancel.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke");
    }
}
