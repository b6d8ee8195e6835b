//! An append log without format: what is written at least before a `202`.

use std::{fs::File, io::Write, thread};

use anyhow::Context;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

/// Bodies that wait to be written; senders wait when it is full.
const WAITING: usize = 1024;

/// One file with one thread that writes to it, a group at a time.
pub struct Journal {
    queue: mpsc::Sender<(Bytes, oneshot::Sender<()>)>,
}

impl Journal {
    /// Opens one, in a temporary folder.
    pub fn start(sync: bool) -> anyhow::Result<Self> {
        let file = tempfile::tempfile()?;
        let (queue, waiting) = mpsc::channel(WAITING);
        thread::spawn(move || write(file, waiting, sync));
        Ok(Self { queue })
    }

    /// Returns when the body is written, or synced.
    pub async fn append(&self, body: Bytes) -> anyhow::Result<()> {
        let (written, when_written) = oneshot::channel();
        self.queue.send((body, written)).await.ok().context("the log's thread ended")?;
        when_written.await.context("the log cannot be written")
    }
}

fn write(mut file: File, mut waiting: mpsc::Receiver<(Bytes, oneshot::Sender<()>)>, sync: bool) {
    let mut group = Vec::new();
    while waiting.blocking_recv_many(&mut group, WAITING) > 0 {
        let bytes: Vec<u8> = group.iter().flat_map(|(body, _)| body.iter().copied()).collect();
        if file.write_all(&bytes).is_err() || (sync && file.sync_data().is_err()) {
            return;
        }
        for (_, written) in group.drain(..) {
            let _ = written.send(());
        }
    }
}
