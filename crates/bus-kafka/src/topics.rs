//! Topics: their names, which are OpenWhisk's where it has them, and how they
//! are made.

use std::time::{Duration, Instant};

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::KafkaError,
    types::RDKafkaErrorCode,
};
use whisker_bus::{ControllerId, InvokerId};
use whisker_entity::QualifiedName;

use crate::{client, config::Config, error::Error};

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Activations for one invoker.
    Invoker(InvokerId),
    /// Activations of a namespace or an action that has its own.
    Own(String),
    /// Acknowledgements for one controller.
    Completed(ControllerId),
    /// Invokers' pings.
    Health,
    /// Controllers' pings. Ours.
    Controllers,
    /// What controllers should forget.
    CacheInvalidation,
    /// User events.
    Events,
    /// Who runs what. Ours.
    Claims,
    /// Failed runs that are followed by another. Ours.
    Retries,
    /// Dead letters. Ours.
    Letters,
}

impl Topic {
    /// Its name, without a prefix.
    pub fn name(&self) -> String {
        match self {
            Self::Invoker(id) => id.to_string(),
            Self::Own(name) => name.clone(),
            Self::Completed(controller) => format!("completed{}", controller.0),
            Self::Health => "health".to_owned(),
            Self::Controllers => "controllers".to_owned(),
            Self::CacheInvalidation => "cacheInvalidation".to_owned(),
            Self::Events => "events".to_owned(),
            Self::Claims => "claims".to_owned(),
            Self::Retries => "retries".to_owned(),
            Self::Letters => "letters".to_owned(),
        }
    }

    /// Its name in a cluster.
    pub fn full_name(&self, config: &Config) -> String {
        format!("{}{}", config.prefix, self.name())
    }

    /// The invoker that a topic of this name, without prefix, belongs to.
    pub(crate) fn invoker(name: &str) -> Option<InvokerId> {
        name.strip_prefix("invoker")?.parse().ok().map(InvokerId)
    }

    fn retention(&self, config: &Config) -> Duration {
        match self {
            Self::Invoker(_) | Self::Own(_) | Self::Claims | Self::Retries | Self::Letters => config.topics.activations,
            Self::Completed(_) | Self::Health | Self::Controllers | Self::Events => config.topics.signals,
            Self::CacheInvalidation => config.topics.invalidations,
        }
    }

    fn partitions(&self, config: &Config) -> i32 {
        match self {
            Self::Invoker(_) | Self::Own(_) | Self::Claims | Self::Retries => config.topics.partitions,
            Self::Completed(_)
            | Self::Health
            | Self::Controllers
            | Self::CacheInvalidation
            | Self::Events
            | Self::Letters => 1,
        }
    }
}

/// The topic of its own that an action, or else its caller's namespace, has.
pub(crate) fn own(config: &Config, namespace: &str, action: &QualifiedName) -> Option<Topic> {
    if config.own_topics.is_empty() {
        return None;
    }
    let name = config.own_topics.get(&action.to_string()).or_else(|| config.own_topics.get(namespace))?;
    Some(Topic::Own(name.clone()))
}

/// Pause between two tries to make topics.
const PAUSE: Duration = Duration::from_millis(200);

/// Makes the topics that are not there. Tries as long as a message may take: a
/// client gives up what it asked of a broker that it only then learnt the name
/// of, and brokers that have just started send from one to the other.
pub(crate) async fn ensure(config: &Config, topics: &[Topic]) -> Result<(), Error> {
    let admin: AdminClient<DefaultClientContext> =
        client::finish(client::base(config), config).create().map_err(Error::Settings)?;
    let began = Instant::now();
    loop {
        match make(&admin, config, topics).await {
            Err(error) if passes(&error) && began.elapsed() < config.send_timeout => tokio::time::sleep(PAUSE).await,
            ended => return ended,
        }
    }
}

/// Whether another try may go better.
fn passes(error: &Error) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error,
        Error::Cluster(KafkaError::AdminOp(Code::DestroyBroker | Code::BrokerTransportFailure))
            | Error::Topic { code: Code::NotController | Code::BrokerNotAvailable, .. }
    )
}

async fn make(admin: &AdminClient<DefaultClientContext>, config: &Config, topics: &[Topic]) -> Result<(), Error> {
    let wanted: Vec<Wanted> = topics.iter().map(|topic| Wanted::new(topic, config)).collect();
    let new: Vec<NewTopic<'_>> = wanted.iter().map(Wanted::as_new).collect();
    let options =
        AdminOptions::new().operation_timeout(Some(config.send_timeout)).request_timeout(Some(config.send_timeout));
    for outcome in admin.create_topics(&new, &options).await.map_err(Error::Cluster)? {
        match outcome {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(Error::Topic { topic, code }),
        }
    }
    Ok(())
}

/// A topic with the texts of its settings.
struct Wanted {
    name: String,
    partitions: i32,
    replication: i32,
    settings: [(&'static str, String); 4],
}

impl Wanted {
    fn new(topic: &Topic, config: &Config) -> Self {
        Self {
            name: topic.full_name(config),
            partitions: topic.partitions(config),
            replication: config.topics.replication,
            settings: [
                ("retention.ms", topic.retention(config).as_millis().to_string()),
                ("retention.bytes", config.topics.retention_bytes.to_string()),
                ("segment.bytes", config.topics.segment_bytes.to_string()),
                ("max.message.bytes", config.max_message_bytes.to_string()),
            ],
        }
    }

    fn as_new(&self) -> NewTopic<'_> {
        let new = NewTopic::new(&self.name, self.partitions, TopicReplication::Fixed(self.replication));
        self.settings.iter().fold(new, |new, (name, value)| new.set(name, value))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use super::*;

    #[test]
    fn names_are_openwhisks_behind_a_prefix() {
        let mut config = Config::new("localhost:1", Arc::new(|| 0));
        config.prefix = "dev-".into();
        for (topic, name) in [
            (Topic::Invoker(InvokerId(3)), "dev-invoker3"),
            (Topic::Completed(ControllerId("0".into())), "dev-completed0"),
            (Topic::CacheInvalidation, "dev-cacheInvalidation"),
            (Topic::Health, "dev-health"),
        ] {
            assert_eq!(topic.full_name(&config), name);
        }
        assert_eq!(Topic::invoker("invoker12"), Some(InvokerId(12)));
        for other in ["invoker", "invoker1x", "invokers", "completed0", "invoker-1"] {
            assert_eq!(Topic::invoker(other), None, "{other}");
        }
    }

    #[test]
    fn what_passes_is_tried_again_and_a_refusal_is_not() {
        let failed = |code| passes(&Error::Cluster(KafkaError::AdminOp(code)));
        assert!(failed(RDKafkaErrorCode::DestroyBroker));
        assert!(!failed(RDKafkaErrorCode::SaslAuthenticationFailed));
        let refused = |code| passes(&Error::Topic { topic: "t".into(), code });
        assert!(refused(RDKafkaErrorCode::NotController));
        assert!(!refused(RDKafkaErrorCode::InvalidReplicationFactor));
    }

    #[test]
    fn an_actions_own_topic_goes_before_its_callers() {
        let mut config = Config::new("localhost:1", Arc::new(|| 0));
        let action = QualifiedName::parse("guest/pkg/hello").unwrap();
        assert_eq!(own(&config, "guest", &action), None);
        config.own_topics.insert("guest".into(), "of-guest".into());
        assert_eq!(own(&config, "guest", &action), Some(Topic::Own("of-guest".into())));
        config.own_topics.insert("guest/pkg/hello".into(), "of-hello".into());
        assert_eq!(own(&config, "guest", &action), Some(Topic::Own("of-hello".into())));
        assert_eq!(own(&config, "other", &QualifiedName::parse("guest/a").unwrap()), None);
    }
}
