//! User events: what a namespace's activations were and which limits it met,
//! as OpenWhisk tells it on its topic `events`, and as the metrics that its
//! user-events service makes of that.
//!
//! Whoever carries out activations has an [`Events`] and tells it what
//! happened. It costs a look at an option where events are off, which is the
//! default. Where they are on it counts, and puts the event into a queue, from
//! which [`Way::run`] sends it: no activation ever waits for an event, and one
//! that finds the queue full is dropped and counted.
//!
//! Events are no records: they may be lost with their process, and a result
//! never gets into one.

mod made;
mod meters;

use std::sync::Arc;

use metrics::{Counter, counter, describe_counter};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use whisker_bus::{EventBus, MetricName};
use whisker_entity::{Activation, Identity, Millis};

pub use made::{of_activation, of_metric};

use meters::Meters;

/// Events that wait to be sent. One more is dropped, and counted.
const QUEUED: usize = 10_000;

const DROPPED: &str = "events_dropped_total";

/// Where to tell what happened. Clones are the same.
#[derive(Clone, Default)]
pub struct Events(Option<Arc<On>>);

struct On {
    source: String,
    meters: Meters,
    queue: Option<mpsc::Sender<whisker_bus::Event>>,
    dropped: Counter,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "on" } else { "off" })
    }
}

/// From the queue to a bus.
pub struct Way {
    queue: mpsc::Receiver<whisker_bus::Event>,
    dropped: Counter,
}

impl Events {
    /// They are off: nothing is counted or sent.
    pub fn off() -> Self {
        Self(None)
    }

    /// They are counted, and nobody else hears of them.
    pub fn counted() -> Self {
        Self::new(String::new(), None)
    }

    /// They are counted, and sent in the name of this process.
    pub fn sent(source: String) -> (Self, Way) {
        let (sender, queue) = mpsc::channel(QUEUED);
        (Self::new(source, Some(sender)), Way { queue, dropped: counter!(DROPPED) })
    }

    fn new(source: String, queue: Option<mpsc::Sender<whisker_bus::Event>>) -> Self {
        describe_counter!(DROPPED, "User events that could not be sent");
        Self(Some(Arc::new(On { source, meters: Meters::new(), queue, dropped: counter!(DROPPED) })))
    }

    /// An activation ended, with this record.
    pub fn ended(&self, record: &Activation, who: &Identity, now: Millis) {
        let Some(on) = &self.0 else { return };
        // What has no kind was no run: a trigger's fire.
        let Some(body) = made::activation(record) else { return };
        on.meters.ended(&body, record.namespace.as_str());
        on.send(|| made::of_body(whisker_bus::EventBody::Activation(body), who, on.source.clone(), now));
    }

    /// A namespace has so many activations in flight, or was refused one.
    pub fn metric(&self, name: MetricName, value: u64, who: &Identity, now: Millis) {
        let Some(on) = &self.0 else { return };
        on.meters.metric(name, who.namespace.as_str());
        on.send(|| of_metric(name, value, who, on.source.clone(), now));
    }
}

impl On {
    fn send(&self, event: impl FnOnce() -> whisker_bus::Event) {
        if let Some(queue) = &self.queue
            && queue.try_send(event()).is_err()
        {
            self.dropped.increment(1);
        }
    }
}

impl Way {
    /// Sends until cancelled; then what is queued already, as long as the bus
    /// takes it.
    pub async fn run(mut self, bus: Arc<dyn EventBus>, cancel: CancellationToken) {
        // Whether the last one failed: an outage is one line in the log.
        let mut failing = false;
        loop {
            let event = tokio::select! {
                event = self.queue.recv() => event,
                () = cancel.cancelled() => self.queue.try_recv().ok(),
            };
            let Some(event) = event else { return };
            match bus.tell(&event).await {
                Ok(()) => failing = false,
                Err(error) => {
                    self.dropped.increment(1);
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(error = &error as &dyn std::error::Error, "User events cannot be sent");
                    }
                    if cancel.is_cancelled() {
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
