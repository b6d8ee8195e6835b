//! Hearing of what other servers write: Cosmos DB's feed of changes, which has
//! to be asked.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::broadcast::{self, Sender},
    task::JoinHandle,
    time::sleep,
};
use whisker_entity::QualifiedName;
use whisker_store::{Change, Changes};

use crate::{container::Container, error::Failure};

/// Changes kept for who hears slowly; those who miss some hear `Anything`.
const KEPT: usize = 1_024;
/// How often it is asked; an answer without changes costs one request unit.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after failures.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The changes of one container, for any number of listeners. It is opened by
/// the first.
pub(crate) struct Feed {
    container: Arc<Container>,
    sender: Sender<Change>,
    /// Whether an id names what changed, as an entity's does.
    by_name: bool,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Feed {
    pub fn new(container: Arc<Container>, by_name: bool) -> Self {
        Self { container, sender: broadcast::channel(KEPT).0, by_name, task: Mutex::new(None) }
    }

    pub fn changes(&self) -> Changes {
        let receiver = self.sender.subscribe();
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.is_none() {
            *task = Some(tokio::spawn(hear(self.container.clone(), self.by_name, self.sender.clone())));
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

/// Hears for ever. Whatever was written while nobody heard is told as
/// `Anything`, once each range says where its changes go on.
async fn hear(container: Arc<Container>, by_name: bool, sender: Sender<Change>) {
    let mut pause = PAUSE;
    loop {
        let mut heard = Heard::default();
        let failure = loop {
            let begins = heard.places.is_empty();
            match heard.round(&container).await {
                Ok(ids) => {
                    pause = PAUSE;
                    let named = |id: String| by_name.then(|| QualifiedName::parse(&id).ok()).flatten();
                    let changes = ids.into_iter().map(|id| named(id).map_or(Change::Anything, Change::Document));
                    for change in begins.then_some(Change::Anything).into_iter().chain(changes) {
                        // Nobody may be listening any more.
                        let _ = sender.send(change);
                    }
                }
                Err(failure) => break failure,
            }
            sleep(PAUSE).await;
        };
        tracing::debug!(error = &failure as &dyn std::error::Error, "the feed of Cosmos DB's changes was lost");
        // Ranges that were split have others in their place.
        container.forget_ranges();
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Where the changes of each range go on.
#[derive(Default)]
struct Heard {
    places: HashMap<String, String>,
}

impl Heard {
    /// Ids of what was written since the last time.
    async fn round(&mut self, container: &Container) -> Result<Vec<String>, Failure> {
        let mut all = Vec::new();
        for range in container.ranges().await?.iter() {
            loop {
                let (ids, next) = container.changed(range, self.places.get(range).map(String::as_str)).await?;
                let done = ids.is_empty();
                all.extend(ids);
                if let Some(next) = next {
                    self.places.insert(range.clone(), next);
                }
                // Beyond what listeners keep they hear `Anything` all the same.
                if done || all.len() > KEPT {
                    break;
                }
            }
        }
        Ok(all)
    }
}
