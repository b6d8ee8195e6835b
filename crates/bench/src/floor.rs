//! The floor: the same job without a platform, as bold as it can be had.
//!
//! A process of its own, since the server is one too, with the same HTTP
//! library on the same runtime. A request's body goes as one line to a child
//! process that runs the same function, and the answer comes back as one line:
//! no credentials, no action, no record, no logs, no isolation, no limits. The
//! child blocks in `read`, which no runtime can that runs asynchronous code.

pub mod bare;
mod children;
mod journal;

use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use anyhow::Context;
use bytes::Bytes;
use clap::ValueEnum;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, runtime, sync::oneshot};

use children::Children;
use journal::Journal;

/// Which floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Answers at once.
    Hello,
    /// One Node.js child.
    Node,
    /// Four of them.
    Node4,
    /// One Python child.
    Python,
    /// Four of them.
    Python4,
    /// Appends the body to a file before it answers 202.
    Write,
    /// The same, synced to disk, in groups.
    Sync,
}

/// What a request is answered from.
enum Work {
    Nothing,
    Children(Children),
    Journal(Journal),
}

impl Work {
    fn start(kind: Kind) -> anyhow::Result<Self> {
        Ok(match kind {
            Kind::Hello => Work::Nothing,
            Kind::Node => Work::Children(Children::start(&bare::NODE, 1)?),
            Kind::Node4 => Work::Children(Children::start(&bare::NODE, 4)?),
            Kind::Python => Work::Children(Children::start(&bare::PYTHON, 1)?),
            Kind::Python4 => Work::Children(Children::start(&bare::PYTHON, 4)?),
            Kind::Write => Work::Journal(Journal::start(false)?),
            Kind::Sync => Work::Journal(Journal::start(true)?),
        })
    }

    async fn answer(&self, request: Request<Incoming>) -> anyhow::Result<Response<Full<Bytes>>> {
        let body = request.into_body().collect().await?.to_bytes();
        let (status, answer) = match self {
            Work::Nothing => (StatusCode::OK, Bytes::from_static(b"{}")),
            Work::Children(children) => (StatusCode::OK, children.run(&body).await?),
            Work::Journal(journal) => {
                journal.append(body).await?;
                (StatusCode::ACCEPTED, Bytes::from_static(b"{}"))
            }
        };
        let mut response = Response::new(Full::new(answer));
        *response.status_mut() = status;
        Ok(response)
    }
}

/// Serves until standard input ends; says first where it listens.
#[expect(clippy::print_stdout, reason = "the bench waits for this line")]
pub fn serve(kind: Kind) -> anyhow::Result<()> {
    runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let work = Arc::new(Work::start(kind)?);
        println!("{}", listener.local_addr()?);
        let (ended, end) = oneshot::channel();
        std::thread::spawn(move || {
            // Whatever ends the bench ends this pipe.
            let _ = std::io::stdin().lines().next();
            let _ = ended.send(());
        });
        tokio::spawn(accept(listener, work));
        let _ = end.await;
        Ok(())
    })
}

async fn accept(listener: TcpListener, work: Arc<Work>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let work = work.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| work.answer(request));
            let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            if let Err(error) = served {
                eprintln!("the floor broke: {error:?}");
            }
        });
    }
}

/// A floor that runs; it ends with this value.
pub struct Floor {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Floor {
    /// Starts one.
    pub fn start(kind: Kind) -> anyhow::Result<Self> {
        let value = kind.to_possible_value().context("every kind has a name")?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve-floor", value.get_name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("it is piped")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().parse().context("the floor did not start")?;
        Ok(Self { child, address })
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
