//! User events, on OpenWhisk's topic for them.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::OnceCell;
use whisker_bus::{Error, Event, EventBus};

use crate::{
    config::Config,
    error::unavailable,
    producer::Producer,
    topics::{self, Topic},
};

/// The way to that topic.
pub(crate) struct Events {
    config: Config,
    producer: Arc<Producer>,
    /// That it is there.
    made: OnceCell<()>,
}

impl Events {
    pub fn new(config: &Config, producer: &Arc<Producer>) -> Arc<Self> {
        Arc::new(Self { config: config.clone(), producer: Arc::clone(producer), made: OnceCell::new() })
    }
}

#[async_trait]
impl EventBus for Events {
    async fn tell(&self, event: &Event) -> Result<(), Error> {
        let made = self.made.get_or_try_init(|| topics::ensure(&self.config, &[Topic::Events])).await;
        made.map_err(unavailable)?;
        let payload = serde_json::to_vec(event).map_err(unavailable)?;
        self.producer.post(&Topic::Events.full_name(&self.config), event.namespace.as_bytes(), &payload)
    }
}
