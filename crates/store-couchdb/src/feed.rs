//! Hearing of what other servers write: CouchDB's feed of changes.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::{
    sync::broadcast::{self, Sender},
    task::JoinHandle,
    time::{sleep, timeout},
};
use whisker_entity::QualifiedName;
use whisker_store::{Change, Changes};

use crate::database::Database;

/// Changes kept for who hears slowly; those who miss some hear `Anything`.
const KEPT: usize = 1_024;
/// How often CouchDB says that it is still there, in ms.
const HEARTBEAT_MS: u64 = 2_000;
/// Silence after which the feed counts as lost.
const SILENCE: Duration = Duration::from_millis(3 * HEARTBEAT_MS);
/// Longest line; CouchDB's have some hundred bytes.
const LINE_MAX: usize = 64 * 1024;
/// Pauses between two attempts to hear again.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The changes of one database, for any number of listeners. It is opened by
/// the first.
pub(crate) struct Feed {
    database: Database,
    sender: Sender<Change>,
    /// Whether an id names what changed, as an entity's does.
    by_name: bool,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Feed {
    pub fn new(database: Database, by_name: bool) -> Self {
        Self { database, sender: broadcast::channel(KEPT).0, by_name, task: Mutex::new(None) }
    }

    pub fn changes(&self) -> Changes {
        let receiver = self.sender.subscribe();
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.is_none() {
            *task = Some(tokio::spawn(hear(self.database.clone(), self.by_name, self.sender.clone())));
        }
        receiver.into()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

/// Hears for ever. Whatever was written while nobody heard, before the feed
/// was open or after it was lost, is told as `Anything` once it is open.
async fn hear(database: Database, by_name: bool, sender: Sender<Change>) {
    let mut pause = PAUSE_MIN;
    loop {
        match database.changes(HEARTBEAT_MS).await {
            Ok(feed) => {
                let _ = sender.send(Change::Anything);
                pause = PAUSE_MIN;
                forward(feed, by_name, &sender).await;
                tracing::warn!("the feed of CouchDB's changes was lost");
            }
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "no feed of CouchDB's changes"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Tells what comes, until it ends.
async fn forward(mut feed: Incoming, by_name: bool, sender: &Sender<Change>) {
    let mut line = Vec::new();
    while let Ok(Some(Ok(frame))) = timeout(SILENCE, feed.frame()).await {
        let Ok(data) = frame.into_data() else { continue };
        for byte in data {
            if byte != b'\n' {
                line.push(byte);
                if line.len() > LINE_MAX {
                    return;
                }
                continue;
            }
            if let Some(change) = read(&line, by_name) {
                // Nobody may be listening any more.
                let _ = sender.send(change);
            }
            line.clear();
        }
    }
}

/// What a line says; heartbeats and design documents say nothing.
fn read(line: &[u8], by_name: bool) -> Option<Change> {
    #[derive(Deserialize)]
    struct Line {
        id: String,
    }
    let id = serde_json::from_slice::<Line>(line).ok()?.id;
    if id.starts_with("_design/") {
        return None;
    }
    let name = by_name.then(|| QualifiedName::parse(&id).ok()).flatten();
    Some(name.map_or(Change::Anything, Change::Document))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn lines_name_what_changed() {
        let named = Change::Document("ns/pkg/a".parse().unwrap());
        for (line, by_name, change) in [
            (r#"{"seq":"5-g1AAA","id":"ns/pkg/a","changes":[{"rev":"2-x"}]}"#, true, Some(named)),
            (r#"{"seq":5,"id":"guest","changes":[],"deleted":true}"#, false, Some(Change::Anything)),
            (r#"{"seq":5,"id":"odd","changes":[]}"#, true, Some(Change::Anything)),
            (r#"{"seq":1,"id":"_design/whisks.v2.1.0","changes":[]}"#, true, None),
            (r#"{"last_seq":"5-g1AAA","pending":0}"#, true, None),
            ("", true, None),
        ] {
            assert_eq!(read(line.as_bytes(), by_name), change, "{line}");
        }
    }
}
