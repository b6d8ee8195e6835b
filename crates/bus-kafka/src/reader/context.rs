//! What Kafka's client tells a reader, and what a reader commits.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rdkafka::{
    ClientContext, Offset, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance},
    error::{KafkaError, KafkaResult},
};

use crate::{client, inbox::Part, reads, shared::Shared};

/// What happened to the assignment during a poll.
pub(super) enum Change {
    Assigned(Vec<Part>),
    Revoked(Vec<Part>),
}

/// What the consumer calls back, on the reader's own thread.
pub(super) struct Context {
    shared: Arc<Shared>,
    number: u64,
    pub changes: Mutex<Vec<Change>>,
    /// Ends of partitions, as the brokers said last.
    pub ends: Mutex<BTreeMap<(String, i32), i64>>,
    /// A commit that was not waited for has failed.
    pub uncommitted: AtomicBool,
}

pub(super) fn unpoisoned<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Context {
    /// Of the reader of this number.
    pub fn new(shared: &Arc<Shared>, number: u64) -> Self {
        let (changes, ends, uncommitted) = (Mutex::default(), Mutex::default(), AtomicBool::new(false));
        Self { shared: Arc::clone(shared), number, changes, ends, uncommitted }
    }

    fn parts(&self, list: &TopicPartitionList) -> Vec<Part> {
        let part = |topic: &str, partition| Part { reader: self.number, topic: topic.into(), partition };
        list.elements().iter().map(|element| part(element.topic(), element.partition())).collect()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "Kafka's client says: {reason}");
    }

    fn stats(&self, statistics: Statistics) {
        let mut ends = unpoisoned(&self.ends);
        for (name, topic) in statistics.topics {
            for (number, partition) in topic.partitions {
                if number >= 0 && partition.hi_offset >= 0 {
                    ends.insert((name.clone(), number), partition.hi_offset);
                }
            }
        }
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let change = match rebalance {
            Rebalance::Assign(list) => Change::Assigned(self.parts(list)),
            Rebalance::Revoke(list) => {
                let parts = self.parts(list);
                if !consumer.assignment_lost() {
                    let exact = exact_progress(&self.shared, &parts);
                    // Without it whoever reads on reads again what is done here.
                    if let Err(error) = commit(consumer, &exact, CommitMode::Sync) {
                        tracing::debug!(%error, "Progress could not be committed before a partition went");
                    }
                }
                Change::Revoked(parts)
            }
            Rebalance::Error(error) => {
                tracing::warn!(%error, "Partitions could not be shared out");
                return;
            }
        };
        unpoisoned(&self.changes).push(change);
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "Progress was not committed; it is tried again");
            self.uncommitted.store(true, Ordering::SeqCst);
        }
    }
}

/// How far a partition is done, and up to where it is or may be read.
pub(super) struct Progress<'a> {
    pub part: &'a Part,
    pub position: i64,
    pub bound: i64,
}

/// Progress of partitions of which no more will be given out.
pub(super) fn exact_progress<'a>(shared: &Shared, parts: &'a [Part]) -> Vec<Progress<'a>> {
    let inbox = shared.inbox();
    let progress = parts.iter().filter_map(|part| {
        let position = inbox.position(part)?;
        Some(Progress { part, position, bound: inbox.given(part).max(position) })
    });
    progress.collect()
}

pub(super) fn commit(consumer: &BaseConsumer<Context>, progress: &[Progress<'_>], mode: CommitMode) -> KafkaResult<()> {
    if progress.is_empty() {
        return Ok(());
    }
    let mut list = TopicPartitionList::new();
    for Progress { part, position, bound } in progress {
        let mut element = list.add_partition(&part.topic, part.partition);
        element.set_offset(Offset::Offset(*position))?;
        element.set_metadata(reads::metadata(*bound));
    }
    consumer.commit(&list, mode)
}
