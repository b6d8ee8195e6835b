//! Processes that run the function, each for one request at a time.

use std::{
    process::Stdio,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::Semaphore,
};

use super::bare::Program;

struct Pipes {
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    _child: Child,
}

/// Some of them.
pub struct Children {
    idle: Mutex<Vec<Pipes>>,
    places: Semaphore,
}

impl Children {
    /// Starts them.
    pub fn start(program: &Program, count: usize) -> anyhow::Result<Self> {
        let start = |_| -> anyhow::Result<Pipes> {
            let mut child = Command::new(program.binary)
                .args(program.arguments())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .with_context(|| format!("cannot start {}", program.binary))?;
            let orders = child.stdin.take().context("it is piped")?;
            let answers = BufReader::new(child.stdout.take().context("it is piped")?);
            Ok(Pipes { orders, answers, _child: child })
        };
        let idle = Mutex::new((0..count).map(start).collect::<Result<_, _>>()?);
        Ok(Self { idle, places: Semaphore::new(count) })
    }

    /// One line there, one line back.
    pub async fn run(&self, body: &[u8]) -> anyhow::Result<Bytes> {
        let _place = self.places.acquire().await?;
        let mut child = self.lock().pop().context("there is one for each place")?;
        child.orders.write_all(&[body, b"\n"].concat()).await?;
        let mut answer = Vec::with_capacity(256);
        if child.answers.read_until(b'\n', &mut answer).await? == 0 {
            bail!("a child ended");
        }
        self.lock().push(child);
        Ok(answer.into())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Pipes>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
