//! A thread that reads whole topics, all partitions, for this process alone:
//! no group shares them out, and nothing is committed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, KafkaResult},
    message::BorrowedMessage,
    types::RDKafkaErrorCode,
};
use tokio::time::Instant;
use whisker_entity::Millis;

use crate::{
    client::{self, Plain},
    config::Config,
    error::Error,
};

/// Longest that a poll waits: how soon the thread notices that it is to stop.
const POLL: Duration = Duration::from_millis(100);

/// Where to begin in a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// With what comes from now on.
    Now,
    /// With the last so many messages of each partition.
    Last(usize),
}

/// What takes messages. Called on the listener's thread.
pub(crate) trait Take: Send + 'static {
    /// A message has arrived.
    fn take(&mut self, topic: &str, payload: &[u8], written: Millis);

    /// Messages of this topic that were written before this one are not read.
    fn begins(&mut self, _topic: &str, _written: Millis) {}

    /// A tenth of a second went by, or a message.
    fn tick(&mut self) {}
}

/// A running listener.
pub(crate) struct Listener {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Set once all was read that was there at the start.
    caught_up: Arc<AtomicBool>,
}

impl Listener {
    /// Starts to read `topics`. Returns when it is settled where: what is
    /// written from then on is read.
    pub fn start(config: &Config, name: &str, topics: &[(String, From)], take: impl Take) -> Result<Listener, Error> {
        let mut settings = client::consumer(config);
        // Its name is asked for, and not used: nothing is shared or committed.
        settings.set("group.id", format!("{}{name}", config.prefix));
        let consumer =
            BaseConsumer::from_config_and_context(&client::finish(settings, config), Plain).map_err(Error::Settings)?;
        let mut behind = BTreeMap::new();
        let mut list = TopicPartitionList::new();
        let mut partial = Vec::new();
        for (topic, from) in topics {
            let patience = config.send_timeout;
            for partition in patiently(patience, || partitions(&consumer, topic, patience))? {
                let (low, high) =
                    patiently(patience, || consumer.fetch_watermarks(topic, partition, patience).map(Some))?;
                let first = match from {
                    From::Now => high,
                    From::Last(count) => low.max(high - i64::try_from(*count).unwrap_or(i64::MAX)),
                };
                // What is before is unknown, be it deleted or passed over.
                if *from != From::Now && first > 0 {
                    partial.push((topic.clone(), partition));
                }
                if first < high {
                    behind.insert((topic.clone(), partition), high);
                }
                list.add_partition_offset(topic, partition, Offset::Offset(first)).map_err(Error::Cluster)?;
            }
        }
        consumer.assign(&list).map_err(Error::Cluster)?;
        let stop = Arc::new(AtomicBool::new(false));
        let caught_up = Arc::new(AtomicBool::new(behind.is_empty()));
        let work = Work { consumer, take, stop: Arc::clone(&stop), behind, caught_up: Arc::clone(&caught_up), partial };
        let thread = thread::Builder::new().name(format!("bus {name}")).spawn(|| work.run()).map_err(Error::Thread)?;
        Ok(Listener { stop, thread: Some(thread), caught_up })
    }

    /// Whether all was read that was there at the start.
    pub fn has_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::SeqCst)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("A listener of the bus panicked");
        }
    }
}

/// Asks until there is an answer: brokers learn one after the other of a topic
/// that was just made, and who leads it.
pub(crate) fn patiently<T>(patience: Duration, mut ask: impl FnMut() -> KafkaResult<Option<T>>) -> Result<T, Error> {
    let began = Instant::now();
    loop {
        let late = began.elapsed() > patience;
        match ask() {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) if late => return Err(Error::Cluster(KafkaError::Global(RDKafkaErrorCode::UnknownTopic))),
            Err(error) if late => return Err(Error::Cluster(error)),
            Ok(None) | Err(_) => thread::park_timeout(POLL),
        }
    }
}

/// The partitions of a topic; none while it is not known everywhere.
pub(crate) fn partitions(
    consumer: &BaseConsumer<Plain>,
    topic: &str,
    patience: Duration,
) -> KafkaResult<Option<Vec<i32>>> {
    let metadata = consumer.fetch_metadata(Some(topic), patience)?;
    let partitions: Vec<i32> =
        metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|partition| partition.id()).collect();
    Ok(Some(partitions).filter(|partitions| !partitions.is_empty()))
}

struct Work<T> {
    consumer: BaseConsumer<Plain>,
    take: T,
    stop: Arc<AtomicBool>,
    /// Partitions that are not read up to where they ended at the start.
    behind: BTreeMap<(String, i32), i64>,
    caught_up: Arc<AtomicBool>,
    /// Partitions whose first message was not come to.
    partial: Vec<(String, i32)>,
}

impl<T: Take> Work<T> {
    fn run(self) {
        let Work { consumer, mut take, stop, mut behind, caught_up, mut partial } = self;
        while !stop.load(Ordering::SeqCst) {
            match consumer.poll(POLL) {
                None => {}
                Some(Ok(message)) => {
                    let here = |(topic, partition): &(String, i32)| {
                        topic == message.topic() && *partition == message.partition()
                    };
                    let written = written(&message);
                    if let Some(at) = partial.iter().position(here) {
                        partial.swap_remove(at);
                        take.begins(message.topic(), written);
                    }
                    take.take(message.topic(), message.payload().unwrap_or_default(), written);
                    if !behind.is_empty() {
                        behind.retain(|part, end| !here(part) || message.offset() + 1 < *end);
                        caught_up.store(behind.is_empty(), Ordering::SeqCst);
                    }
                }
                Some(Err(error)) => tracing::debug!(%error, "Nothing could be heard for the moment"),
            }
            take.tick();
        }
    }
}

/// When a message was written, as its writer says.
pub(crate) fn written(message: &BorrowedMessage<'_>) -> Millis {
    message.timestamp().to_millis().and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0)
}
