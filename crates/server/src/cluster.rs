//! What the processes of a cluster have in common: settings of Kafka, of the
//! choice of invokers, and names.

use std::{path::PathBuf, time::Duration};

use anyhow::ensure;
use clap::{Args, ValueEnum};

use crate::units::{Size, duration};

/// Settings of the roles of a cluster.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub struct Cluster {
    /// Kafka's brokers, as HOST:PORT; several are joined by commas
    #[arg(long, env = "WHISKER_KAFKA", value_name = "BROKERS")]
    pub kafka: Option<String>,
    /// Speak TLS with them
    #[arg(long, env = "WHISKER_KAFKA_TLS")]
    pub kafka_tls: bool,
    /// File with the authorities that vouch for them (PEM) [default: the host's]
    #[arg(long, env = "WHISKER_KAFKA_CA", requires = "kafka_tls", value_name = "FILE")]
    pub kafka_ca: Option<PathBuf>,
    /// File with a certificate to show them (PEM)
    #[arg(long, env = "WHISKER_KAFKA_CERT", requires = "kafka_key", value_name = "FILE")]
    pub kafka_cert: Option<PathBuf>,
    /// File with that certificate's private key (PEM)
    #[arg(long, env = "WHISKER_KAFKA_KEY", requires = "kafka_cert", value_name = "FILE")]
    pub kafka_key: Option<PathBuf>,
    /// User that Kafka knows this process as
    #[arg(long, env = "WHISKER_KAFKA_USER", value_name = "NAME")]
    pub kafka_user: Option<String>,
    /// File with that user's password; WHISKER_KAFKA_PASSWORD is the other way
    #[arg(long, env = "WHISKER_KAFKA_PASSWORD_FILE", requires = "kafka_user", value_name = "FILE")]
    pub kafka_password_file: Option<PathBuf>,
    /// How the password is shown
    #[arg(long, env = "WHISKER_KAFKA_SASL", default_value = "scram-sha-512")]
    pub kafka_sasl: Sasl,
    /// Property of Kafka's client, as librdkafka's documentation names it: NAME=VALUE; may be given several times
    #[arg(long, env = "WHISKER_KAFKA_PROPERTY", value_delimiter = ',', value_name = "NAME=VALUE")]
    pub kafka_property: Vec<String>,
    /// What the names of all topics begin with, as OpenWhisk's whisk.kafka.topics.prefix
    #[arg(long, env = "WHISKER_TOPIC_PREFIX", default_value = "")]
    pub topic_prefix: String,
    /// Partitions of the topics for activations, where they are not there yet
    #[arg(long, env = "WHISKER_TOPIC_PARTITIONS", default_value = "1")]
    pub topic_partitions: i32,
    /// Copies of what is in a topic, on as many brokers; two or more survive the loss of a broker
    #[arg(long, env = "WHISKER_TOPIC_REPLICATION", default_value = "1")]
    pub topic_replication: i32,
    /// How long activations are kept in topics
    #[arg(long, env = "WHISKER_TOPIC_RETENTION", default_value = "48h", value_parser = duration)]
    pub topic_retention: Duration,
    /// Size of a topic beyond which its oldest messages go
    #[arg(long, env = "WHISKER_TOPIC_SIZE_MAX", default_value = "1 GB")]
    pub topic_size_max: Size,
    /// Topic of its own for a namespace or an action, so that its backlog delays nobody else: NAMESPACE=TOPIC or
    /// NAMESPACE/[PACKAGE/]ACTION=TOPIC; may be given several times, and is the same for all processes
    #[arg(long, env = "WHISKER_TOPIC_OF", value_delimiter = ',', value_name = "NAME=TOPIC")]
    pub topic_of: Vec<String>,
    /// How long an invoker may be silent before others take up its work
    #[arg(long, env = "WHISKER_OFFLINE_AFTER", default_value = "10s", value_parser = duration)]
    pub offline_after: Duration,
}

/// How a password is shown to Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sasl {
    /// As it is: with TLS only.
    Plain,
    /// By a challenge, with SHA-256.
    #[value(name = "scram-sha-256")]
    ScramSha256,
    /// By a challenge, with SHA-512.
    #[value(name = "scram-sha-512")]
    ScramSha512,
}

/// How a controller chooses invokers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub struct Placing {
    /// By what invokers are chosen: where the action is warm and load is even, or as OpenWhisk does it
    #[arg(long, env = "WHISKER_PLACEMENT", default_value = "warm")]
    pub placement: Placement,
    /// Part of all invokers, the first ones, for actions of known kinds
    #[arg(long, env = "WHISKER_MANAGED_FRACTION", default_value = "0.9")]
    pub managed_fraction: f64,
    /// Part of all invokers, the last ones, for images that users bring
    #[arg(long, env = "WHISKER_BLACKBOX_FRACTION", default_value = "0.1")]
    pub blackbox_fraction: f64,
    /// Activations under way from one controller; more are refused with 503
    #[arg(long, env = "WHISKER_IN_FLIGHT_MAX", default_value = "100000")]
    pub in_flight_max: usize,
}

/// A policy of choosing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Placement {
    /// Bounded-load consistent hashing that knows where an action is warm.
    Warm,
    /// OpenWhisk's sharding load balancer.
    Sharding,
}

/// What a process of a cluster may be called: it is a part of topics' and of
/// actions' names.
pub fn check_name(flag: &str, name: &str) -> anyhow::Result<()> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    ensure!(
        begins && name.len() <= 100 && name.bytes().all(fits),
        "{flag} is made of letters, digits, '-', '_' and '.', begins with one of the former, and has 100 of them at most"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn names_are_parts_of_topics() {
        for name in ["0", "controller-1.example", "a_b"] {
            check_name("--id", name).unwrap();
        }
        for name in ["", "-a", "a b", "a/b", "ä", &"a".repeat(101)] {
            assert!(check_name("--id", name).is_err(), "{name}");
        }
    }
}
