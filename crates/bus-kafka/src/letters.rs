//! Dead letters, which controllers share out among them as a group.
//!
//! A letter that was given out and not posted comes again, perhaps to another
//! controller; so one may be posted twice after a crash, and none is lost.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rdkafka::{
    ClientContext, Message as _, Offset, Statistics, TopicPartitionList,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance},
    error::KafkaError,
};
use tokio::{sync::Notify, time::Instant};
use whisker_bus::{ActivationMessage, Letter};
use whisker_entity::ActivationId;

use crate::{client, config::Config, envelope::PostRead, error::Error, flow::Flow, meters, offsets::Offsets};

/// Longest that a poll waits: how soon the thread notices that it is to stop.
const POLL: Duration = Duration::from_millis(100);
/// How often progress is committed.
const COMMIT: Duration = Duration::from_millis(500);
/// Letters that are held at once; while there are as many, none is read.
const MOST: usize = 1000;

/// The letters of one controller, and the thread that reads them.
pub(crate) struct LetterBox {
    state: Arc<State>,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    table: Mutex<Table>,
    arrived: Notify,
}

#[derive(Default)]
struct Table {
    offsets: BTreeMap<i32, Offsets>,
    held: HashMap<ActivationId, Held>,
    queue: VecDeque<ActivationId>,
    closed: bool,
}

struct Held {
    /// More than one if it was posted more than once.
    places: Vec<(i32, i64)>,
    message: Arc<ActivationMessage>,
    letter: Letter,
}

impl State {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing in here panics half-way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LetterBox {
    pub fn start(config: &Config, topic: &str) -> Result<LetterBox, Error> {
        let state = Arc::new(State::default());
        let settings = client::member(config, topic, None);
        let context = Context { state: Arc::clone(&state), came: AtomicBool::new(false) };
        let consumer = BaseConsumer::from_config_and_context(&settings, context).map_err(Error::Settings)?;
        consumer.subscribe(&[topic]).map_err(Error::Cluster)?;
        let stop = Arc::new(AtomicBool::new(false));
        let work = Work { consumer, state: Arc::clone(&state), stop: Arc::clone(&stop), topic: topic.to_owned() };
        let thread = thread::Builder::new().name("bus letters".into()).spawn(|| work.run()).map_err(Error::Thread)?;
        Ok(LetterBox { state, stop, thread: Mutex::new(Some(thread)) })
    }

    pub async fn next(&self) -> Option<(Arc<ActivationMessage>, Letter)> {
        loop {
            let arrived = self.state.arrived.notified();
            {
                let mut table = self.state.table();
                if table.closed {
                    return None;
                }
                while let Some(id) = table.queue.pop_front() {
                    if let Some(held) = table.held.get(&id) {
                        return Some((Arc::clone(&held.message), held.letter.clone()));
                    }
                }
            }
            arrived.await;
        }
    }

    pub fn put_back(&self, id: ActivationId) {
        let mut table = self.state.table();
        if table.held.contains_key(&id) {
            table.queue.push_back(id);
            drop(table);
            self.state.arrived.notify_one();
        }
    }

    pub fn posted(&self, id: ActivationId) {
        let mut table = self.state.table();
        for (partition, offset) in table.held.remove(&id).into_iter().flat_map(|held| held.places) {
            if let Some(offsets) = table.offsets.get_mut(&partition) {
                offsets.done(offset);
            }
        }
    }

    pub fn close(&self) {
        self.state.table().closed = true;
        self.state.arrived.notify_waiters();
        self.state.arrived.notify_one();
    }

    /// Commits what was posted, and leaves the group. Blocks.
    pub fn leave(&self) {
        self.close();
        self.stop.store(true, Ordering::SeqCst);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("The reader of dead letters panicked");
        }
    }
}

impl Drop for LetterBox {
    fn drop(&mut self) {
        self.close();
        self.stop.store(true, Ordering::SeqCst);
    }
}

struct Context {
    state: Arc<State>,
    /// Partitions have come since it was asked last.
    came: AtomicBool,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "Kafka's client says: {reason}");
    }

    fn stats(&self, _: Statistics) {}
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(_) => self.came.store(true, Ordering::SeqCst),
            Rebalance::Revoke(_) => {
                // All of them, as is usual: what was not committed is another's.
                let mut table = self.state.table();
                table.offsets.clear();
                table.held.clear();
                table.queue.clear();
            }
            Rebalance::Error(_) => {}
        }
    }
}

struct Work {
    consumer: BaseConsumer<Context>,
    state: Arc<State>,
    stop: Arc<AtomicBool>,
    topic: String,
}

impl Work {
    fn run(self) {
        let mut committed = Instant::now();
        let mut flow = Flow::default();
        while !self.stop.load(Ordering::SeqCst) {
            let full = self.state.table().held.len() >= MOST;
            flow.pause(&self.consumer, full);
            match self.consumer.poll(POLL) {
                None => {}
                Some(Ok(message)) => {
                    let payload = message.payload().unwrap_or_default();
                    meters::received(&self.topic, payload.len());
                    self.take(message.partition(), message.offset(), payload);
                }
                Some(Err(error)) => tracing::debug!(%error, "No letters could be read for the moment"),
            }
            if self.consumer.context().came.swap(false, Ordering::SeqCst) {
                flow.came(&self.consumer);
            }
            if committed.elapsed() >= COMMIT {
                self.commit(CommitMode::Async);
                committed = Instant::now();
            }
        }
        self.commit(CommitMode::Sync);
    }

    fn take(&self, partition: i32, offset: i64, payload: &[u8]) {
        let read = serde_json::from_slice::<PostRead>(payload);
        let mut table = self.state.table();
        let offsets = table.offsets.entry(partition).or_insert_with(|| Offsets::starting_at(offset));
        if !offsets.read(offset) {
            return;
        }
        match read {
            Ok(PostRead { letter, message }) => {
                let id = message.activation;
                let held = table.held.entry(id).or_insert_with(|| Held {
                    places: Vec::new(),
                    message: Arc::new(message),
                    letter,
                });
                held.places.push((partition, offset));
                if held.places.len() == 1 {
                    table.queue.push_back(id);
                    drop(table);
                    self.state.arrived.notify_one();
                }
            }
            Err(_) => {
                offsets.done(offset);
                meters::unreadable(&self.topic);
                tracing::error!(partition, offset, "A dead letter cannot be read and is passed over");
            }
        }
    }

    fn commit(&self, mode: CommitMode) {
        let mut list = TopicPartitionList::new();
        for (partition, offsets) in &self.state.table().offsets {
            // It is a number, and so is taken.
            let _ = list.add_partition_offset(&self.topic, *partition, Offset::Offset(offsets.position()));
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, mode)
        {
            tracing::debug!(%error, "Posted letters are not committed for the moment");
        }
    }
}
