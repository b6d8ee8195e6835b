//! Why a process cannot take part in the bus.

use rdkafka::{error::KafkaError, types::RDKafkaErrorCode};

/// Failures at the start. Later ones are [`whisker_bus::Error`]s.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that the client does not take.
    #[error("Kafka's client does not take the settings")]
    Settings(#[source] KafkaError),
    /// The cluster does not answer, or refuses us.
    #[error("Kafka does not answer")]
    Cluster(#[source] KafkaError),
    /// A topic cannot be made.
    #[error("the topic {topic} cannot be made: {code}")]
    Topic {
        /// Its full name.
        topic: String,
        /// What the cluster says.
        code: RDKafkaErrorCode,
    },
    /// What others have claimed could not be read in time.
    #[error("the topic of claims was not read within {0:?}")]
    Claims(std::time::Duration),
    /// A thread cannot be started.
    #[error("no thread can be started")]
    Thread(#[source] std::io::Error),
}

pub(crate) fn unavailable(source: impl std::error::Error + Send + Sync + 'static) -> whisker_bus::Error {
    whisker_bus::Error::Unavailable(Some(Box::new(source)))
}
