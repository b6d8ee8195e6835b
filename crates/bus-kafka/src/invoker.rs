//! The invoker's side.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::{Instant, sleep, timeout};
use whisker_bus::{
    AckMessage, Acknowledgement, ActivationMessage, Attempt, Delivery, Due, Error, EventBus, Incarnation, InvokerBus,
    InvokerInstance, InvokerPing, Letter,
};
use whisker_entity::{ActivationId, Millis};

use crate::{
    claims::{Claimant, Claims, Note, Won},
    config::Config,
    envelope::{Again, Claim, Post},
    error::unavailable,
    events::Events,
    inbox::{Bounds, Given, Next, Noted, Start},
    listener::{From, Listener, Take},
    members::Members,
    meters,
    producer::Producer,
    reader::{Kind, Reader},
    rescue::Rescue,
    shared::{Inbox, Shared},
    topics::{self, Topic},
};

/// Longest that claims of others may take to be read at the start.
const CATCH_UP: Duration = Duration::from_secs(60);
/// Longest that the last messages may take to be sent at the end.
const FLUSH: Duration = Duration::from_secs(10);

/// The bus, as one invoker has it.
pub struct KafkaInvoker {
    config: Config,
    instance: InvokerInstance,
    me: Claimant,
    producer: Arc<Producer>,
    shared: Arc<Shared>,
    /// Messages that were given out, and when: for the metrics.
    given: Mutex<HashMap<ActivationId, (Instant, Arc<ActivationMessage>)>>,
    goodbye: Arc<Goodbye>,
    threads: Mutex<Option<Threads>>,
}

/// The last ping of an invoker that stops, once it was sent. What it still has
/// is its own until it leaves: so it is repeated until then.
type Goodbye = Mutex<Option<Vec<u8>>>;

struct Threads {
    rescue: Rescue,
    readers: Vec<Reader>,
    /// Last, since the others rely on what it hears.
    listener: Listener,
}

impl KafkaInvoker {
    /// Takes part in the bus as this invoker, in this life of it. Returns once
    /// it knows who claimed what; messages come when the group has given it
    /// its topic, which after a crash may take as long as a session.
    ///
    /// Of two processes under one number the later one shuts the other out.
    pub async fn connect(
        config: Config,
        instance: InvokerInstance,
        incarnation: Incarnation,
    ) -> Result<KafkaInvoker, crate::Error> {
        meters::describe();
        let own = Topic::Invoker(instance.id);
        let mut all =
            vec![own.clone(), Topic::Health, Topic::Claims, Topic::Retries, Topic::Letters, Topic::Controllers];
        let shared_topics: Vec<Topic> = config.own_topics.values().cloned().map(Topic::Own).collect();
        all.extend(shared_topics.iter().cloned());
        topics::ensure(&config, &all).await?;

        let began = Instant::now();
        let me = Claimant { invoker: instance.id, incarnation };
        let bounds = Bounds { held: config.max_held, queued_bytes: config.max_queued_bytes, aside: config.max_aside };
        let inbox =
            Inbox::new(me, bounds, Claims::new(config.claims_kept), Members::new(config.offline_after, Duration::ZERO));
        let shared = Arc::new(Shared::new(inbox, config.clock.clone(), began));
        let producer = Arc::new(Producer::new(&config)?);
        let goodbye = Arc::new(Goodbye::default());
        let listener = {
            let (config, shared) = (config.clone(), Arc::clone(&shared));
            let (producer, goodbye) = (Arc::clone(&producer), Arc::clone(&goodbye));
            blocking(move || {
                let name = |topic: Topic| topic.full_name(&config);
                let heard = [(name(Topic::Claims), From::Last(config.claims_kept)), (name(Topic::Health), From::Now)];
                let (claims, health) = (name(Topic::Claims), name(Topic::Health));
                let now = Instant::now();
                let take = Hearing { shared, claims, health, looked: now, producer, goodbye, said: now };
                Listener::start(&config, "follow", &heard, take)
            })
            .await?
        };
        let caught_up = async {
            while !listener.has_caught_up() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(CATCH_UP, caught_up).await.is_err() {
            return Err(crate::Error::Claims(CATCH_UP));
        }

        let group = own.full_name(&config);
        let mut readers = vec![Reader::start(
            &config,
            &shared,
            Kind::Activations,
            0,
            (&group, Some(&group)),
            &[own.full_name(&config)],
        )?];
        let common = format!("{}invokers", config.prefix);
        if !shared_topics.is_empty() {
            let names: Vec<String> = shared_topics.iter().map(|topic| topic.full_name(&config)).collect();
            readers.push(Reader::start(&config, &shared, Kind::Apart, 1, (&common, None), &names)?);
        }
        let retries = Topic::Retries.full_name(&config);
        readers.push(Reader::start(
            &config,
            &shared,
            Kind::Retries,
            2,
            (&retries, None),
            std::slice::from_ref(&retries),
        )?);
        let rescue = Rescue::start(&config, &shared, 3)?;
        let threads = Mutex::new(Some(Threads { rescue, readers, listener }));
        Ok(KafkaInvoker { config, instance, me, producer, shared, given: Mutex::default(), goodbye, threads })
    }

    /// The way of user events.
    pub fn events(&self) -> Arc<dyn EventBus> {
        Events::new(&self.config, &self.producer)
    }

    /// Nothing is received any more; what was is acknowledged, noted and done
    /// as before.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Commits what is done, sends what is to be sent, and leaves. Blocks for
    /// as long as the cluster takes, at most some ten seconds.
    pub async fn leave(&self) {
        self.close();
        let Some(threads) = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let left = tokio::task::spawn_blocking(move || {
            let Threads { rescue, readers, listener } = threads;
            rescue.begin_stop();
            readers.iter().for_each(Reader::begin_stop);
            readers.into_iter().for_each(Reader::join);
            rescue.join();
            drop(listener);
        });
        if left.await.is_err() {
            tracing::error!("Leaving the bus failed");
        }
        if !self.producer.flush(FLUSH) {
            tracing::warn!("The last messages to the bus could not be sent");
        }
    }

    /// Whether the cluster has shut this process out for good: another one has
    /// its number, or its rights are gone.
    pub fn is_shut_out(&self) -> bool {
        self.shared.has_failed()
    }

    /// Messages that were read and are not done, and how many of them wait to
    /// be received.
    pub fn load(&self) -> (usize, usize) {
        self.shared.inbox().load()
    }

    fn name(&self, topic: Topic) -> String {
        topic.full_name(&self.config)
    }

    fn given(&self) -> MutexGuard<'_, HashMap<ActivationId, (Instant, Arc<ActivationMessage>)>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn payload(value: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(value).map_err(unavailable)
    }

    fn note(&self, activation: ActivationId, note: Note) -> Result<(), Error> {
        let payload = Self::payload(&Claim::new(activation, note))?;
        self.producer.post(&self.name(Topic::Claims), activation.to_string().as_bytes(), &payload)
    }

    /// Says that a run is claimed here, and waits for whether it was the first
    /// to say so.
    async fn claim(&self, activation: ActivationId, run: u32) -> Result<Won, Error> {
        let mut wait = self.shared.claimed.wait(activation, run);
        let payload = Self::payload(&Claim::new(activation, Note::Claim { run, by: self.me }))?;
        let (topic, key) = (self.name(Topic::Claims), activation.to_string());
        let mut won = std::pin::pin!(timeout(self.config.send_timeout * 2, &mut wait.won));
        let won = tokio::select! {
            biased;
            won = &mut won => won,
            // It is often read before its writer hears that it is written.
            sent = self.producer.accept(&topic, key.as_bytes(), &payload) => {
                sent?;
                won.await
            }
        };
        match won {
            Ok(Ok(won)) => Ok(won),
            Ok(Err(_)) | Err(_) => Err(Error::Unavailable(None)),
        }
    }
}

impl std::fmt::Debug for KafkaInvoker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaInvoker").field("me", &self.me).field("load", &self.load()).finish_non_exhaustive()
    }
}

impl Drop for KafkaInvoker {
    /// As a crash would, but for threads that end.
    fn drop(&mut self) {
        self.shared.close();
        if let Some(threads) = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take() {
            threads.rescue.begin_stop();
        }
    }
}

#[async_trait]
impl InvokerBus for KafkaInvoker {
    async fn receive(&self) -> Option<Delivery> {
        loop {
            // Made before the look, so that nothing that comes in between is missed.
            let arrived = self.shared.arrived.notified();
            let (wall, now) = (self.shared.wall(), self.shared.now());
            let next = self.shared.inbox().next(now);
            match next {
                Next::Message(Given { message, redelivered, earlier, topic, written }) => {
                    meters::waited(&topic, wall.saturating_sub(written));
                    self.given().insert(message.activation, (Instant::now(), Arc::clone(&message)));
                    return Some(Delivery { message, redelivered, earlier });
                }
                Next::Later(due) => {
                    let _ = timeout(due.saturating_sub(now), arrived).await;
                }
                Next::Nothing => arrived.await,
                Next::Closed => return None,
            }
        }
    }

    async fn starting(&self, activation: ActivationId) -> Result<(), Error> {
        let start = self.shared.inbox().starting(activation);
        match start {
            Start::Go => Ok(()),
            Start::Leave => Err(Error::Taken),
            Start::Claim(run) => match self.claim(activation, run).await {
                Ok(Won::Yes) => Ok(()),
                Ok(Won::No) => {
                    meters::lost();
                    self.given().remove(&activation);
                    let now = self.shared.now();
                    self.shared.tell(|inbox| inbox.lost(activation, now));
                    Err(Error::Taken)
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(activation.id = %activation, error, "A run waits until Kafka takes note of its claim");
                    self.given().remove(&activation);
                    self.shared.inbox().unsettled(activation);
                    Err(Error::Taken)
                }
            },
        }
    }

    async fn acknowledge(&self, acknowledgement: Acknowledgement) -> Result<(), Error> {
        let topic = self.name(Topic::Completed(acknowledgement.controller().clone()));
        let message = AckMessage::of(&acknowledgement, &self.instance);
        let mut payload = Self::payload(&message)?;
        if payload.len() > self.config.max_message_bytes - OVERHEAD_BYTES {
            payload = Self::payload(&message.shrunk())?;
        }
        self.producer.post(&topic, &[], &payload)
    }

    async fn done(&self, activations: &[ActivationId]) -> Result<(), Error> {
        {
            let mut given = self.given();
            for activation in activations {
                if let Some((began, _)) = given.remove(activation) {
                    meters::processed(began.elapsed());
                }
            }
        }
        let claimed: Vec<ActivationId> = {
            let mut inbox = self.shared.inbox();
            activations.iter().copied().filter(|activation| inbox.done(*activation)).collect()
        };
        // Not waited for: whoever misses it asks the store.
        let told = claimed.into_iter().map(|activation| self.note(activation, Note::Over));
        told.fold(Ok(()), Result::and)
    }

    async fn is_accepted(&self, activation: ActivationId) -> bool {
        self.shared.inbox().is_accepted(activation)
    }

    async fn retry(&self, message: &ActivationMessage, attempt: Attempt, due: Due) -> Result<bool, Error> {
        let activation = message.activation;
        let earlier = {
            let inbox = self.shared.inbox();
            if !inbox.is_accepted(activation) || !inbox.has_room_aside() {
                return Ok(false);
            }
            let mut earlier = inbox.earlier(activation);
            earlier.push(attempt);
            earlier
        };
        let payload = Self::payload(&Again { due: due.at, earlier: &earlier, message })?;
        self.producer.accept(&self.name(Topic::Retries), activation.to_string().as_bytes(), &payload).await?;
        self.given().remove(&activation);
        self.shared.inbox().put_away(activation);
        Ok(true)
    }

    async fn bury(&self, activation: ActivationId, letter: Letter) -> Result<(), Error> {
        let message = self.given().get(&activation).map(|(_, message)| Arc::clone(message));
        if let Some(message) = message {
            let payload = Self::payload(&Post { letter: &letter, message: &message })?;
            self.producer.accept(&self.name(Topic::Letters), activation.to_string().as_bytes(), &payload).await?;
        }
        self.done(&[activation]).await
    }

    async fn ping(&self, ping: &InvokerPing) -> Result<(), Error> {
        let ping = InvokerPing { incarnation: Some(self.me.incarnation), ..ping.clone() };
        let payload = Self::payload(&ping)?;
        let goodbye = (!ping.enabled).then(|| payload.clone());
        *self.goodbye.lock().unwrap_or_else(PoisonError::into_inner) = goodbye;
        self.producer.post(&self.name(Topic::Health), &[], &payload)
    }
}

/// What Kafka adds to a payload, generously.
const OVERHEAD_BYTES: usize = 512;

/// Runs what blocks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, crate::Error> + Send + 'static,
) -> Result<T, crate::Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(crate::Error::Thread(std::io::Error::other(error))),
    }
}

/// What an invoker hears of the others.
struct Hearing {
    shared: Arc<Shared>,
    claims: String,
    health: String,
    looked: Instant,
    producer: Arc<Producer>,
    goodbye: Arc<Goodbye>,
    said: Instant,
}

/// How often it is looked whether somebody has died.
const LOOK: Duration = Duration::from_millis(500);
/// How often a goodbye is repeated.
const SAY: Duration = Duration::from_secs(1);

impl Take for Hearing {
    fn take(&mut self, topic: &str, payload: &[u8], written: Millis) {
        let now = self.shared.now();
        if topic == self.claims {
            match Claim::read(payload) {
                Ok((activation, note)) => self.shared.tell(|inbox| {
                    let Noted { rings, won } = inbox.noted(activation, note, written, now);
                    if let Some((run, won)) = won {
                        self.shared.claimed.tell(activation, run, won);
                    }
                    rings
                }),
                Err(_) => meters::unreadable(topic),
            }
        } else {
            match serde_json::from_slice::<InvokerPing>(payload) {
                Ok(ping) => self.shared.inbox().heard(&ping, now),
                Err(_) => meters::unreadable(topic),
            }
        }
    }

    fn begins(&mut self, topic: &str, written: Millis) {
        if topic == self.claims {
            self.shared.inbox().unknown_until(written);
        }
    }

    fn tick(&mut self) {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            let now = self.shared.now();
            self.shared.tell(|inbox| inbox.look_around(now));
        }
        if self.said.elapsed() >= SAY {
            self.said = Instant::now();
            let goodbye = self.goodbye.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(payload) = &*goodbye
                && let Err(error) = self.producer.post(&self.health, &[], payload)
            {
                tracing::debug!(error = &error as &dyn std::error::Error, "A ping was not sent");
            }
        }
    }
}
