//! Settings of Kafka, and of choosing invokers, as the bus and the dispatch
//! want them.

use std::{collections::BTreeMap, env, sync::Arc};

use anyhow::{Context, bail, ensure};
use whisker_bus_kafka::{Config, Mechanism, Security, Tls, Topics, User};

use crate::{
    cluster::{Cluster, Placement, Placing, Sasl},
    secrets,
    settings::Serve,
};

/// Bytes of a message besides its arguments, or of a record besides its result,
/// as OpenWhisk counts.
const MESSAGE_OVERHEAD_BYTES: u64 = 6068;

/// Of the bus.
pub fn config(cluster: &Cluster, settings: &Serve, clock: whisker_bus_kafka::Clock) -> anyhow::Result<Config> {
    let brokers = cluster.kafka.as_deref().map(str::trim).filter(|brokers| !brokers.is_empty());
    let brokers = brokers.context("a cluster needs Kafka: say where its brokers are with --kafka")?;
    ensure!(cluster.topic_partitions > 0, "--topic-partitions is 1 or more");
    ensure!(cluster.topic_replication > 0, "--topic-replication is 1 or more");
    let tls = cluster.kafka_tls.then(|| Tls {
        authorities: cluster.kafka_ca.clone(),
        certificate: cluster.kafka_cert.clone().zip(cluster.kafka_key.clone()),
    });
    let user = user(cluster)?;
    if tls.is_none() && user.as_ref().is_some_and(|user| user.mechanism == Mechanism::Plain) {
        bail!("--kafka-sasl plain shows the password to everyone on the way: it needs --kafka-tls");
    }
    let of_message = settings.payload_max.0.max(settings.truncation_max.map_or(0, |size| size.0));
    let mut config = Config::new(brokers, clock);
    config.prefix.clone_from(&cluster.topic_prefix);
    config.topics = Topics {
        partitions: cluster.topic_partitions,
        replication: cluster.topic_replication,
        activations: cluster.topic_retention,
        retention_bytes: cluster.topic_size_max.0,
        ..Topics::default()
    };
    config.security = Security { tls, user };
    config.max_message_bytes = usize::try_from(of_message + MESSAGE_OVERHEAD_BYTES).unwrap_or(usize::MAX);
    config.offline_after = cluster.offline_after;
    config.own_topics = pairs("--topic-of", &cluster.topic_of)?;
    config.properties = pairs("--kafka-property", &cluster.kafka_property)?;
    Ok(config)
}

fn user(cluster: &Cluster) -> anyhow::Result<Option<User>> {
    let Some(name) = cluster.kafka_user.clone() else { return Ok(None) };
    let variable = "WHISKER_KAFKA_PASSWORD";
    let password = match (&cluster.kafka_password_file, env::var_os(variable)) {
        (None, None) => bail!("the password of {name} is missing: use --kafka-password-file or {variable}"),
        (Some(_), Some(_)) => bail!("{variable} is set, and a file is given as well: which of them is it?"),
        (Some(file), None) => secrets::read_file(file).with_context(|| format!("cannot read {}", file.display()))?,
        (None, Some(text)) => text.into_string().ok().with_context(|| format!("{variable} is no text"))?,
    };
    let mechanism = match cluster.kafka_sasl {
        Sasl::Plain => Mechanism::Plain,
        Sasl::ScramSha256 => Mechanism::ScramSha256,
        Sasl::ScramSha512 => Mechanism::ScramSha512,
    };
    Ok(Some(User { mechanism, name, password: password.trim_end().to_owned() }))
}

/// `NAME=VALUE`, each name once.
fn pairs(flag: &str, texts: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut pairs = BTreeMap::new();
    for text in texts {
        // What it is instead may hold a password.
        let pair = text.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
        let (name, value) = pair.with_context(|| format!("{flag} takes NAME=VALUE"))?;
        ensure!(pairs.insert(name.to_owned(), value.to_owned()).is_none(), "{flag} names {name} twice");
    }
    Ok(pairs)
}

/// Of the choice of invokers.
pub fn placement(placing: &Placing, cluster: &Cluster, settings: &Serve) -> anyhow::Result<whisker_dispatch::Config> {
    for (flag, fraction) in
        [("--managed-fraction", placing.managed_fraction), ("--blackbox-fraction", placing.blackbox_fraction)]
    {
        ensure!((0.0..=1.0).contains(&fraction), "{flag} is between 0 and 1");
    }
    Ok(whisker_dispatch::Config {
        policy: match placing.placement {
            Placement::Warm => whisker_dispatch::Policy::Bounded,
            Placement::Sharding => whisker_dispatch::Policy::Sharding,
        },
        managed_fraction: placing.managed_fraction,
        blackbox_fraction: placing.blackbox_fraction,
        offline_after: cluster.offline_after,
        keep_warm: settings.keep_warm,
        max_in_flight: placing.in_flight_max,
        ..whisker_dispatch::Config::default()
    })
}

/// The clock that dates what Kafka keeps.
pub fn clock(now: fn() -> whisker_entity::Millis) -> whisker_bus_kafka::Clock {
    Arc::new(now)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn pairs_are_named_once_and_never_shown() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let read = pairs("--topic-of", &texts(&["guest=slow", "a/b=c=d"])).unwrap();
        assert_eq!(read["a/b"], "c=d");
        for wrong in [&["secret"][..], &["=secret"], &["secret="]] {
            let error = pairs("--x", &texts(wrong)).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(pairs("--x", &texts(&["a=1", "a=2"])).is_err());
    }
}
