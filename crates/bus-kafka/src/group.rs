//! A consumer that reads topics as a member of a group, and leaves it unharmed.

use std::ops::Deref;

use rdkafka::{
    ClientConfig,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::KafkaResult,
};

/// A member of a group, which leaves it when this is dropped.
///
/// Whoever joins again while it is still leaving has its subscription put off
/// by librdkafka (2.12), which also takes it up when it is being closed
/// meanwhile, and then ends the whole process over it
/// (`rd_kafka_cgrp_destroy_final`). So what may be put off is taken back first.
pub(crate) struct Member<C: ConsumerContext> {
    consumer: BaseConsumer<C>,
}

impl<C: ConsumerContext> Member<C> {
    /// Of no group yet.
    pub fn new(settings: &ClientConfig, context: C) -> KafkaResult<Self> {
        Ok(Self { consumer: BaseConsumer::from_config_and_context(settings, context)? })
    }

    /// Joins the group; leaves it first, where it is in it.
    pub fn join(&self, topics: &[String]) -> KafkaResult<()> {
        self.consumer.unsubscribe();
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        self.consumer.subscribe(&names)
    }
}

impl<C: ConsumerContext> Deref for Member<C> {
    type Target = BaseConsumer<C>;

    fn deref(&self) -> &Self::Target {
        &self.consumer
    }
}

impl<C: ConsumerContext> Drop for Member<C> {
    fn drop(&mut self) {
        self.consumer.unsubscribe();
    }
}
