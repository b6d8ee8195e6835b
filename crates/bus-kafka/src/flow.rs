//! Reading no further than there is room.

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};

/// Whether a consumer's partitions are paused, all of them or none.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    paused: bool,
}

impl Flow {
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Pauses or resumes them, unless they are that already.
    pub fn pause<C: ConsumerContext>(&mut self, consumer: &BaseConsumer<C>, paused: bool) {
        if paused == self.paused {
            return;
        }
        let changed = consumer.assignment().and_then(|all| match paused {
            true => consumer.pause(&all),
            false => consumer.resume(&all),
        });
        match changed {
            Ok(()) => self.paused = paused,
            Err(error) => tracing::debug!(%error, "Reading could not be paused or resumed"),
        }
    }

    /// Partitions came, and are read from now on. Kafka's client keeps those paused
    /// that were when they went, however long others had them.
    pub fn came<C: ConsumerContext>(&mut self, consumer: &BaseConsumer<C>) {
        self.paused = true;
        self.pause(consumer, false);
    }
}
