//! Sending: durable on every broker that has a copy, once, in order.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientContext, Message as _, Statistics,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::KafkaError,
    message::DeliveryResult,
    producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer},
    types::RDKafkaErrorCode,
};
use tokio::{sync::oneshot, time::Instant};
use whisker_bus::Error;
use whisker_entity::ActivationId;

use crate::{client, config::Config, error::unavailable, meters};

/// What a delivery came to.
type Delivered = Result<(), KafkaError>;
/// Called with what was merely sent and got nowhere.
type Undelivered = Box<dyn Fn(ActivationId) + Send + Sync>;

/// A producer with a thread of its own.
pub(crate) struct Producer {
    inner: ThreadedProducer<Reports>,
    reports: Arc<Pending>,
    max_unsent: usize,
}

/// What a delivery report is to do.
pub(crate) struct Report {
    waiter: Option<oneshot::Sender<Delivered>>,
    activation: Option<ActivationId>,
    began: Instant,
}

/// Messages that were merely sent, until it is known what came of that.
#[derive(Default)]
struct Pending {
    table: Mutex<Table>,
    undelivered: OnceLock<Undelivered>,
}

#[derive(Default)]
struct Table {
    /// Under way, with whoever waits for it by now.
    sent: HashMap<ActivationId, Vec<oneshot::Sender<bool>>>,
    /// Known to have got nowhere: the latest ones, oldest first.
    failed: VecDeque<ActivationId>,
}

/// So many failures are remembered for those who ask later.
const FAILED: usize = 10_000;

impl Pending {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing in here panics half-way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self, id: ActivationId, well: bool) {
        let waiters = {
            let mut table = self.table();
            if !well {
                if table.failed.len() >= FAILED {
                    table.failed.pop_front();
                }
                table.failed.push_back(id);
            }
            table.sent.remove(&id)
        };
        for waiter in waiters.into_iter().flatten() {
            let _ = waiter.send(well);
        }
        if !well && let Some(undelivered) = self.undelivered.get() {
            undelivered(id);
        }
    }
}

struct Reports(Arc<Pending>);

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "Kafka's client says: {reason}");
    }

    fn stats(&self, _: Statistics) {}
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Report>;

    fn delivery(&self, result: &DeliveryResult<'_>, report: Box<Report>) {
        let Report { waiter, activation, began } = *report;
        let (message, outcome) = match result {
            Ok(message) => (message, Ok(())),
            Err((error, message)) => (message, Err(error.clone())),
        };
        meters::sent(message.topic(), message.payload_len(), began.elapsed(), outcome.is_ok());
        if let Err(error) = &outcome {
            tracing::warn!(topic = message.topic(), %error, "A message could not be sent");
        }
        if let Some(activation) = activation {
            self.0.ends(activation, outcome.is_ok());
        }
        if let Some(waiter) = waiter {
            let _ = waiter.send(outcome);
        }
    }
}

impl Producer {
    pub fn new(config: &Config) -> Result<Self, crate::Error> {
        let reports = Arc::new(Pending::default());
        let inner = ThreadedProducer::from_config_and_context(&client::producer(config), Reports(reports.clone()))
            .map_err(crate::Error::Settings)?;
        Ok(Self { inner, reports, max_unsent: config.max_unsent })
    }

    /// Says who is to hear of messages that were merely sent and got nowhere.
    pub fn on_undelivered(&self, undelivered: impl Fn(ActivationId) + Send + Sync + 'static) {
        if self.reports.undelivered.set(Box::new(undelivered)).is_err() {
            tracing::error!("A second listener asks for what could not be delivered; the first is told");
        }
    }

    /// Sends, and returns when it is durable.
    pub async fn accept(&self, topic: &str, key: &[u8], payload: &[u8]) -> Result<(), Error> {
        let (waiter, outcome) = oneshot::channel();
        self.enqueue(topic, key, payload, Report { waiter: Some(waiter), activation: None, began: Instant::now() })?;
        match outcome.await {
            Ok(outcome) => outcome.map_err(unavailable),
            // The client is being closed.
            Err(_) => Err(Error::Unavailable(None)),
        }
    }

    /// Has it sent, and hears of it through [`secure`](Self::secure) only.
    pub fn send(&self, topic: &str, key: &[u8], payload: &[u8], activation: ActivationId) -> Result<(), Error> {
        self.reports.table().sent.entry(activation).or_default();
        let report = Report { waiter: None, activation: Some(activation), began: Instant::now() };
        self.enqueue(topic, key, payload, report).inspect_err(|_| {
            self.reports.table().sent.remove(&activation);
        })
    }

    /// Has it sent, and does not hear of it.
    pub fn post(&self, topic: &str, key: &[u8], payload: &[u8]) -> Result<(), Error> {
        self.enqueue(topic, key, payload, Report { waiter: None, activation: None, began: Instant::now() })
    }

    /// Waits until a message that was sent is durable.
    pub async fn secure(&self, activation: ActivationId) -> Result<(), Error> {
        let outcome = {
            let mut table = self.reports.table();
            let Some(waiters) = table.sent.get_mut(&activation) else {
                return match table.failed.contains(&activation) {
                    true => Err(Error::Unavailable(None)),
                    false => Ok(()),
                };
            };
            let (waiter, outcome) = oneshot::channel();
            waiters.push(waiter);
            outcome
        };
        match outcome.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Error::Unavailable(None)),
        }
    }

    /// Waits until all is sent, or given up. Blocks.
    pub fn flush(&self, patience: Duration) -> bool {
        self.inner.flush(patience).is_ok()
    }

    fn enqueue(&self, topic: &str, key: &[u8], payload: &[u8], report: Report) -> Result<(), Error> {
        let record = BaseRecord::with_opaque_to(topic, Box::new(report)).key(key).payload(payload);
        self.inner.send(record).map_err(|(error, _)| match error {
            KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => Error::Full(self.max_unsent),
            error => unavailable(error),
        })
    }
}
