//! Reads what is left in the topics of invokers that are offline.
//!
//! Whose messages fall to this one, [`Members`](crate::members::Members) says.
//! As long as that holds, and something is left, it is a member of the other's
//! group; once the other pings again it goes. What it reads is claimed before
//! it runs, also where a client waits, so that it does not matter if both read.

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
    Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer as _},
};
use tokio::time::Instant;
use whisker_bus::InvokerId;

use crate::{
    client::{self, Plain},
    config::Config,
    error::Error,
    meters,
    reader::{Kind, Reader},
    shared::Shared,
    topics::Topic,
};

/// How often it is looked who is offline.
const LOOK: Duration = Duration::from_millis(500);
/// How often it is asked whether something is left for one who is.
const ASK: Duration = Duration::from_secs(2);
/// How often it is asked which invokers have topics.
const DISCOVER: Duration = Duration::from_secs(30);
/// Longest that the cluster may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// At most so many are looked after at once; others wait for their turn.
const MOST: usize = 4;

/// The running thread.
pub(crate) struct Rescue {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Rescue {
    /// Starts to look after the others. Readers get numbers from this on.
    pub fn start(config: &Config, shared: &Arc<Shared>, number: u64) -> Result<Rescue, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let work = Work {
            config: config.clone(),
            shared: Arc::clone(shared),
            stop: Arc::clone(&stop),
            number,
            charges: BTreeMap::new(),
            discovered: None,
        };
        let thread = thread::Builder::new().name("bus rescue".into()).spawn(|| work.run()).map_err(Error::Thread)?;
        Ok(Rescue { stop, thread })
    }

    /// Has it leave all groups.
    pub fn begin_stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
    }

    /// Waits until it has. Blocks.
    pub fn join(self) {
        self.begin_stop();
        if self.thread.join().is_err() {
            tracing::error!("The rescue of other invokers' messages panicked");
        }
    }
}

/// One who is offline.
enum Charge {
    /// Nothing was left when it was asked last.
    Asked(Probe, Instant),
    /// What is left is being read.
    Read(Reader),
}

type Probe = BaseConsumer<Plain>;

struct Work {
    config: Config,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    number: u64,
    charges: BTreeMap<InvokerId, Charge>,
    discovered: Option<Instant>,
}

impl Work {
    fn run(mut self) {
        while !self.stop.load(Ordering::SeqCst) && !self.shared.has_failed() {
            if let Err(error) = self.look() {
                tracing::debug!(error = &error as &dyn std::error::Error, "Kafka does not say what is left for others");
            }
            thread::park_timeout(LOOK);
        }
        for charge in self.charges.into_values() {
            if let Charge::Read(reader) = charge {
                reader.join();
            }
        }
    }

    fn look(&mut self) -> Result<(), Error> {
        let now = self.shared.now();
        let mine = self.shared.inbox().charges(now);
        let gone: Vec<InvokerId> = self.charges.keys().copied().filter(|id| !mine.contains(id)).collect();
        for invoker in gone {
            if let Some(Charge::Read(reader)) = self.charges.remove(&invoker) {
                tracing::info!(%invoker, "The invoker is back, or another looks after it");
                reader.join();
            }
        }
        self.charges.retain(|_, charge| !matches!(charge, Charge::Read(reader) if reader.has_stopped()));
        for invoker in mine.into_iter().take(MOST) {
            self.look_after(invoker)?;
        }
        let reading = self.charges.values().filter(|charge| matches!(charge, Charge::Read(_))).count();
        meters::rescues(reading);
        self.discover()
    }

    fn look_after(&mut self, invoker: InvokerId) -> Result<(), Error> {
        let probe = match self.charges.remove(&invoker) {
            Some(Charge::Read(reader)) => {
                self.charges.insert(invoker, Charge::Read(reader));
                return Ok(());
            }
            Some(Charge::Asked(probe, at)) if at.elapsed() < ASK => {
                self.charges.insert(invoker, Charge::Asked(probe, at));
                return Ok(());
            }
            Some(Charge::Asked(probe, _)) => probe,
            None => self.probe(&Topic::Invoker(invoker).full_name(&self.config))?,
        };
        let topic = Topic::Invoker(invoker).full_name(&self.config);
        let left = left(&probe, &topic);
        let charge = if matches!(left, Ok(left) if left > 0) {
            tracing::warn!(%invoker, left = left.as_ref().ok(), "The invoker is offline; its messages are read in its stead");
            self.number += 1;
            let reader = Reader::start(
                &self.config,
                &self.shared,
                Kind::InStead,
                self.number,
                (&topic, None),
                std::slice::from_ref(&topic),
            )?;
            Charge::Read(reader)
        } else {
            Charge::Asked(probe, Instant::now())
        };
        self.charges.insert(invoker, charge);
        left.map(drop)
    }

    /// One that asks in a group's name, and does not join it.
    fn probe(&self, group: &str) -> Result<Probe, Error> {
        let mut settings = client::consumer(&self.config);
        settings.set("group.id", group);
        BaseConsumer::from_config_and_context(&client::finish(settings, &self.config), Plain).map_err(Error::Settings)
    }

    /// Learns of invokers that never pinged in this life, by their topics.
    fn discover(&mut self) -> Result<(), Error> {
        if self.discovered.is_some_and(|at| at.elapsed() < DISCOVER) {
            return Ok(());
        }
        let probe = self.probe(&format!("{}follow", self.config.prefix))?;
        let metadata = probe.fetch_metadata(None, PATIENCE).map_err(Error::Cluster)?;
        let now = self.shared.now();
        for topic in metadata.topics() {
            if let Some(invoker) = topic.name().strip_prefix(&self.config.prefix).and_then(Topic::invoker) {
                self.shared.inbox().exists(invoker, now);
            }
        }
        self.discovered = Some(Instant::now());
        Ok(())
    }
}

/// How many messages of a topic its group has not committed.
fn left(probe: &Probe, topic: &str) -> Result<i64, Error> {
    let metadata = probe.fetch_metadata(Some(topic), PATIENCE).map_err(Error::Cluster)?;
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
        list.add_partition(topic, partition.id());
    }
    let mut left = 0;
    for element in probe.committed_offsets(list, PATIENCE).map_err(Error::Cluster)?.elements() {
        let (low, high) = probe.fetch_watermarks(topic, element.partition(), PATIENCE).map_err(Error::Cluster)?;
        left += match element.offset() {
            Offset::Offset(committed) => high - committed.max(low),
            _ => high - low,
        };
    }
    Ok(left)
}
