//! Settings in the words of librdkafka, and its log in ours.

use rdkafka::{
    ClientConfig, ClientContext, Statistics, config::RDKafkaLogLevel, consumer::ConsumerContext, error::KafkaError,
};

use crate::config::{Config, Security};

/// What all clients of a process have in common.
pub(crate) fn base(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &config.brokers)
        .set("client.id", "whisker")
        // A call waits for each of them: nothing waits for a second one to go with it.
        .set("socket.nagle.disable", "true")
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "2000")
        .set("metadata.max.age.ms", "60000")
        .set("topic.metadata.refresh.fast.interval.ms", "100")
        .set("log.connection.close", "false");
    secure(&mut client, &config.security);
    client
}

/// A producer's: durable on all brokers that have a copy, in order, once.
pub(crate) fn producer(config: &Config) -> ClientConfig {
    let mut client = base(config);
    client
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("message.timeout.ms", config.send_timeout.as_millis().to_string())
        .set("request.timeout.ms", config.send_timeout.as_millis().to_string())
        .set("message.max.bytes", config.max_message_bytes.to_string())
        .set("queue.buffering.max.messages", config.max_unsent.to_string());
    finish(client, config)
}

/// A reader's. Commits are ours to make.
pub(crate) fn consumer(config: &Config) -> ClientConfig {
    let mut client = base(config);
    client
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "false")
        .set("fetch.wait.max.ms", "500")
        .set("fetch.error.backoff.ms", "100")
        // Read ahead of us by so much: it costs memory, and is read again elsewhere when we die.
        .set("queued.min.messages", "1000")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.message.max.bytes", config.max_message_bytes.max(1 << 20).to_string())
        .set("receive.message.max.bytes", (config.max_message_bytes * 2).max(100_000_000).to_string());
    client
}

/// A reader's that shares a topic with the others of its group.
pub(crate) fn member(config: &Config, group: &str, instance: Option<&str>) -> ClientConfig {
    let mut client = consumer(config);
    let session = config.session_timeout.as_millis();
    client
        .set("group.id", group)
        .set("session.timeout.ms", session.to_string())
        .set("heartbeat.interval.ms", (session / 4).max(1).to_string())
        .set("max.poll.interval.ms", (session * 6).max(300_000).to_string())
        .set("partition.assignment.strategy", "range")
        .set("statistics.interval.ms", "5000");
    if let Some(instance) = instance {
        client.set("group.instance.id", instance);
    }
    finish(client, config)
}

/// What was set by name goes last, and so wins.
pub(crate) fn finish(mut client: ClientConfig, config: &Config) -> ClientConfig {
    for (name, value) in &config.properties {
        client.set(name, value);
    }
    client
}

fn secure(client: &mut ClientConfig, security: &Security) {
    let protocol = match (&security.tls, &security.user) {
        (None, None) => return,
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    client.set("security.protocol", protocol);
    if let Some(tls) = &security.tls {
        match &tls.authorities {
            Some(file) => client.set("ssl.ca.location", file.to_string_lossy()),
            // Where Linux distributions keep them.
            None => client.set("ssl.ca.location", "probe"),
        };
        if let Some((certificate, key)) = &tls.certificate {
            client
                .set("ssl.certificate.location", certificate.to_string_lossy())
                .set("ssl.key.location", key.to_string_lossy());
        }
    }
    if let Some(user) = &security.user {
        client
            .set("sasl.mechanism", user.mechanism.name())
            .set("sasl.username", &user.name)
            .set("sasl.password", &user.password);
    }
}

/// Passes the client's log on. What is repeated while a broker is away is for
/// whoever looks closer: what it means to us is said by us.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(kafka.facility = facility, "Kafka's client says: {message}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
            tracing::debug!(kafka.facility = facility, "Kafka's client says: {message}");
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            tracing::trace!(kafka.facility = facility, "Kafka's client says: {message}");
        }
    }
}

/// What readers have that share no topic with others.
pub(crate) struct Plain;

impl ClientContext for Plain {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "Kafka's client says: {reason}");
    }

    fn stats(&self, _: Statistics) {}
}

impl ConsumerContext for Plain {}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{Mechanism, Tls, User};

    #[test]
    fn security_is_what_the_settings_ask_for() {
        let user = User { mechanism: Mechanism::ScramSha512, name: "w".into(), password: "s3cret".into() };
        for (tls, user, protocol) in [
            (None, None, None),
            (Some(Tls::default()), None, Some("ssl")),
            (None, Some(user.clone()), Some("sasl_plaintext")),
            (Some(Tls::default()), Some(user), Some("sasl_ssl")),
        ] {
            let mut config = Config::new("localhost:1", Arc::new(|| 0));
            config.security = Security { tls, user };
            assert!(!format!("{config:?}").contains("s3cret"));
            let client = producer(&config);
            assert_eq!(client.get("security.protocol"), protocol);
            assert!(client.create_native_config().is_ok(), "this build of librdkafka knows all of it");
        }
    }

    #[test]
    fn properties_win() {
        let mut config = Config::new("localhost:1", Arc::new(|| 0));
        config.properties.insert("linger.ms".into(), "7".into());
        assert_eq!(producer(&config).get("linger.ms"), Some("7"));
        assert_eq!(member(&config, "g", Some("i")).get("group.instance.id"), Some("i"));
    }
}
