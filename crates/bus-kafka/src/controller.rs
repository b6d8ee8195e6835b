//! The controller's side.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use whisker_bus::{
    AckMessage, AckSink, ActivationMessage, CacheInvalidation, ControllerBus, ControllerId, ControllerPing, Error,
    EventBus, InvokerId, InvokerPing, Letter, Letters, News, NewsSink, Promise,
};
use whisker_entity::{ActivationId, Millis};

use crate::{
    claims::Note,
    config::Config,
    envelope::Claim,
    error::unavailable,
    events::Events,
    invoker::blocking,
    letters::LetterBox,
    listener::{From, Listener, Take},
    meters,
    producer::Producer,
    topics::{self, Topic},
};

/// Longest that the last messages may take to be sent at the end.
const FLUSH: Duration = Duration::from_secs(10);

/// The bus, as one controller has it.
pub struct KafkaController {
    config: Config,
    producer: Arc<Producer>,
    sinks: Arc<Sinks>,
    letters: LetterBox,
    listener: Mutex<Option<Listener>>,
    /// Invokers whose topics are known to be there.
    known: Mutex<HashSet<InvokerId>>,
    making: tokio::sync::Mutex<()>,
}

/// Who takes what arrives.
#[derive(Default)]
struct Sinks {
    acks: OnceLock<Arc<dyn AckSink>>,
    news: OnceLock<Arc<dyn NewsSink>>,
}

impl KafkaController {
    /// Takes part in the bus as this controller. Returns once it hears what is
    /// written from then on.
    pub async fn connect(config: Config, id: ControllerId) -> Result<KafkaController, crate::Error> {
        meters::describe();
        let completed = Topic::Completed(id.clone());
        let heard = [completed.clone(), Topic::Health, Topic::Controllers, Topic::CacheInvalidation];
        let mut all = heard.to_vec();
        all.extend([Topic::Claims, Topic::Letters]);
        all.extend(config.own_topics.values().cloned().map(Topic::Own));
        topics::ensure(&config, &all).await?;

        let sinks = Arc::new(Sinks::default());
        let producer = Arc::new(Producer::new(&config)?);
        let listener = {
            let config = config.clone();
            let name = |topic: Topic| topic.full_name(&config);
            let take = Hearing {
                controller: id.clone(),
                completed: name(completed),
                health: name(Topic::Health),
                controllers: name(Topic::Controllers),
                sinks: Arc::clone(&sinks),
            };
            let heard: Vec<(String, From)> = heard.map(|topic| (name(topic), From::Now)).into();
            blocking(move || Listener::start(&config, &format!("hear-{}", id.0), &heard, take)).await?
        };
        let letters = LetterBox::start(&config, &Topic::Letters.full_name(&config))?;
        Ok(KafkaController {
            config,
            producer,
            sinks,
            letters,
            listener: Mutex::new(Some(listener)),
            known: Mutex::default(),
            making: tokio::sync::Mutex::default(),
        })
    }

    /// The way of user events.
    pub fn events(&self) -> Arc<dyn EventBus> {
        Events::new(&self.config, &self.producer)
    }

    /// Letters are not given out any more. The rest goes on.
    pub fn close(&self) {
        self.letters.close();
    }

    /// Sends what is to be sent, and leaves. Blocks for as long as the cluster
    /// takes, at most some ten seconds.
    pub async fn leave(self: &Arc<Self>) {
        let this = Arc::clone(self);
        let left = tokio::task::spawn_blocking(move || {
            this.letters.leave();
            if !this.producer.flush(FLUSH) {
                tracing::warn!("The last messages to the bus could not be sent");
            }
            drop(this.listener.lock().unwrap_or_else(PoisonError::into_inner).take());
        });
        if left.await.is_err() {
            tracing::error!("Leaving the bus failed");
        }
    }

    fn name(&self, topic: Topic) -> String {
        topic.full_name(&self.config)
    }

    /// The topic for a message, which is there when this returns.
    async fn topic(&self, to: InvokerId, message: &ActivationMessage) -> Result<String, Error> {
        if let Some(own) = topics::own(&self.config, message.user.namespace.as_str(), &message.action) {
            return Ok(self.name(own));
        }
        let topic = Topic::Invoker(to);
        let name = self.name(topic.clone());
        let is_known = |id| self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(id);
        if !is_known(&to) {
            // The first of those who want it makes it.
            let _turn = self.making.lock().await;
            if !is_known(&to) {
                topics::ensure(&self.config, &[topic]).await.map_err(unavailable)?;
                self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(to);
            }
        }
        Ok(name)
    }

    /// A message was refused, and may be in its topic all the same: whoever
    /// comes upon it there is told not to run it.
    fn withdraw(&self, activation: ActivationId) {
        let posted = serde_json::to_vec(&Claim::new(activation, Note::Over)).map_err(unavailable).and_then(|payload| {
            self.producer.post(&self.name(Topic::Claims), activation.to_string().as_bytes(), &payload)
        });
        if let Err(error) = posted {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(activation.id = %activation, error, "A refused activation could not be withdrawn; it may run");
        }
    }
}

impl std::fmt::Debug for KafkaController {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaController").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Takes a promise back unless it was kept, also if its caller is dropped.
struct Withdrawal<'a>(Option<(&'a KafkaController, ActivationId)>);

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        if let Some((controller, activation)) = self.0 {
            controller.withdraw(activation);
        }
    }
}

#[async_trait]
impl ControllerBus for KafkaController {
    async fn send(&self, to: InvokerId, message: Arc<ActivationMessage>, promise: Promise) -> Result<(), Error> {
        let topic = self.topic(to, &message).await?;
        let payload = serde_json::to_vec(&*message).map_err(unavailable)?;
        let id = message.activation;
        match promise {
            Promise::Sent => self.producer.send(&topic, &[], &payload, id),
            Promise::Accepted => {
                let mut withdrawal = Withdrawal(Some((self, id)));
                let accepted = self.producer.accept(&topic, &[], &payload).await;
                // It was kept, or never left this process.
                if let Ok(()) | Err(Error::Full(_)) = accepted {
                    withdrawal.0 = None;
                }
                accepted
            }
        }
    }

    async fn secure(&self, activation: ActivationId) -> Result<(), Error> {
        self.producer.secure(activation).await
    }

    fn subscribe(&self, sink: Arc<dyn AckSink>) {
        if self.sinks.acks.set(Arc::clone(&sink)).is_err() {
            return tracing::error!("A second sink subscribed to the bus; acknowledgements go to the first");
        }
        self.producer.on_undelivered(move |activation| sink.undelivered(activation));
    }

    fn follow(&self, sink: Arc<dyn NewsSink>) {
        if self.sinks.news.set(sink).is_err() {
            tracing::error!("A second sink follows the bus; news go to the first");
        }
    }

    async fn ping(&self, ping: &ControllerPing) -> Result<(), Error> {
        let payload = serde_json::to_vec(ping).map_err(unavailable)?;
        self.producer.post(&self.name(Topic::Controllers), &[], &payload)
    }

    async fn invalidate(&self, invalidation: &CacheInvalidation) -> Result<(), Error> {
        let payload = serde_json::to_vec(invalidation).map_err(unavailable)?;
        self.producer.accept(&self.name(Topic::CacheInvalidation), &[], &payload).await
    }
}

#[async_trait]
impl Letters for KafkaController {
    async fn next_letter(&self) -> Option<(Arc<ActivationMessage>, Letter)> {
        self.letters.next().await
    }

    fn put_back(&self, activation: ActivationId) {
        self.letters.put_back(activation);
    }

    fn posted(&self, activation: ActivationId) {
        self.letters.posted(activation);
    }
}

/// What a controller hears.
struct Hearing {
    controller: ControllerId,
    completed: String,
    health: String,
    controllers: String,
    sinks: Arc<Sinks>,
}

impl Hearing {
    fn acknowledged(&self, payload: &[u8]) -> serde_json::Result<()> {
        let (result, completion) = serde_json::from_slice::<AckMessage>(payload)?.read_by(&self.controller);
        if let Some(sink) = self.sinks.acks.get() {
            for acknowledgement in result.into_iter().chain(completion) {
                sink.acknowledged(acknowledgement);
            }
        }
        Ok(())
    }

    fn news(&self, topic: &str, payload: &[u8]) -> serde_json::Result<News> {
        Ok(if topic == self.health {
            News::Invoker(serde_json::from_slice::<InvokerPing>(payload)?)
        } else if topic == self.controllers {
            News::Controller(serde_json::from_slice(payload)?)
        } else {
            News::Changed(serde_json::from_slice(payload)?)
        })
    }
}

impl Take for Hearing {
    fn take(&mut self, topic: &str, payload: &[u8], _: Millis) {
        meters::received(topic, payload.len());
        let read = if topic == self.completed {
            self.acknowledged(payload)
        } else {
            self.news(topic, payload).map(|news| {
                if let Some(sink) = self.sinks.news.get() {
                    sink.heard(news);
                }
            })
        };
        if let Err(error) = read {
            meters::unreadable(topic);
            let at = format!("{}:{}", error.line(), error.column());
            tracing::error!(topic, at, "A message cannot be read and is passed over");
        }
    }
}
