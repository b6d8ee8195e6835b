//! A thread that reads topics as a member of their group, for the inbox.
//!
//! It blocks, as librdkafka does: partitions come and go while it polls, and
//! what it commits it waits for. It reads only as far ahead as the inbox has
//! room; meanwhile it goes on polling, so that the group keeps it.

mod context;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer as _},
    error::KafkaError,
    message::BorrowedMessage,
    types::RDKafkaErrorCode,
};
use tokio::time::Instant;
use whisker_bus::ActivationMessage;

use self::context::{Change, Context, Progress, commit, exact_progress, unpoisoned};
use crate::{
    client,
    config::Config,
    envelope::AgainRead,
    error::Error,
    flow::Flow,
    group::Member,
    inbox::{Incoming, Part, Place, Room},
    listener, meters,
    reads::{self, Reads},
    shared::Shared,
};

/// Longest that a poll waits: how soon a reader notices that it is to stop.
const POLL: Duration = Duration::from_millis(100);
/// How often progress is committed.
const COMMIT: Duration = Duration::from_millis(250);
/// How long nothing has to come until less is left in doubt.
const QUIET: Duration = Duration::from_secs(1);
/// Longest that a question to the cluster waits before it is asked again.
const ASK: Duration = Duration::from_secs(5);
/// How long one that was fenced off listens for who has its name now: some pings.
const FENCED: Duration = Duration::from_secs(3);

/// How long a reader that was given nothing waits before it asks again.
const GIVEN_NOTHING: Duration = Duration::from_secs(3);
/// How often it asks where others may have all there is.
const ASKED_AMONG_OTHERS: u32 = 2;

/// What a reader's topics carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Messages for this invoker.
    Activations,
    /// Messages of topics of somebody's own, for whoever reads them first.
    Apart,
    /// Messages of an invoker that is offline.
    InStead,
    /// Failed runs that are followed by another.
    Retries,
}

/// A running reader, which stops when this is dropped.
pub(crate) struct Reader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts to read `topics` as a member of `group`; under the name of
    /// `instance`, if there is one, so that its next life follows at once.
    pub fn start(
        config: &Config,
        shared: &Arc<Shared>,
        kind: Kind,
        number: u64,
        (group, instance): (&str, Option<&str>),
        topics: &[String],
    ) -> Result<Reader, Error> {
        let seat = Seat {
            config: config.clone(),
            number,
            group: group.to_owned(),
            instance: instance.map(str::to_owned),
            topics: topics.to_vec(),
        };
        let consumer = seat.take(shared)?;
        let stop = Arc::new(AtomicBool::new(false));
        let work = Work {
            seat,
            consumer: Arc::new(consumer),
            shared: Arc::clone(shared),
            kind,
            number,
            stop: Arc::clone(&stop),
            parts: BTreeMap::new(),
            new: Vec::new(),
            flow: Flow::default(),
            last_message: Instant::now(),
            last_commit: Instant::now(),
            empty: None,
            asked: 0,
        };
        let thread = thread::Builder::new().name(format!("bus {group}")).spawn(|| work.run()).map_err(Error::Thread)?;
        Ok(Reader { stop, thread: Some(thread) })
    }

    /// Has it commit what is done, and leave its group.
    pub fn begin_stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Whether it has left.
    pub fn has_stopped(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until it has left. Blocks.
    pub fn join(mut self) {
        self.begin_stop();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("A reader of the bus panicked");
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.begin_stop();
    }
}

/// A place in a group, which is taken anew after it was lost.
struct Seat {
    config: Config,
    number: u64,
    group: String,
    instance: Option<String>,
    topics: Vec<String>,
}

impl Seat {
    fn take(&self, shared: &Arc<Shared>) -> Result<Member<Context>, Error> {
        let context = Context::new(shared, self.number);
        let settings = client::member(&self.config, &self.group, self.instance.as_deref());
        let consumer = Member::new(&settings, context).map_err(Error::Settings)?;
        consumer.join(&self.topics).map_err(Error::Cluster)?;
        Ok(consumer)
    }
}

/// Why nothing is read any more.
enum End {
    /// It was asked to stop, or something is wrong for good.
    Stopped,
    /// The group knows its name as somebody else's.
    Fenced,
}

/// What nobody commits: the next time it is committed whatever it is.
const NOTHING: (i64, i64) = (-1, -1);

/// One partition of ours.
struct Mine {
    reads: Reads,
    /// What was committed last.
    committed: (i64, i64),
    /// From where it has to be read again, if it has to.
    back: Option<i64>,
}

struct Work {
    seat: Seat,
    consumer: Arc<Member<Context>>,
    shared: Arc<Shared>,
    kind: Kind,
    number: u64,
    stop: Arc<AtomicBool>,
    parts: BTreeMap<Part, Mine>,
    /// Given to us, and not known yet how far they were read.
    new: Vec<Part>,
    flow: Flow,
    last_message: Instant,
    last_commit: Instant,
    /// When it was given nothing at all, and how often it has asked again.
    empty: Option<Instant>,
    asked: u32,
}

impl Work {
    fn run(mut self) {
        while let End::Fenced = self.read() {
            if !self.returns() {
                return;
            }
        }
        let parts: Vec<Part> = self.parts.keys().cloned().collect();
        let exact = exact_progress(&self.shared, &parts);
        if let Err(error) = commit(&self.consumer, &exact, CommitMode::Sync)
            && !exact.is_empty()
        {
            tracing::warn!(%error, "The last progress could not be committed; it will be read again");
        }
        parts.iter().for_each(|part| self.shared.inbox().revoked(part));
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst) || self.shared.has_failed()
    }

    fn read(&mut self) -> End {
        let consumer = Arc::clone(&self.consumer);
        while !self.is_over() {
            self.pause_or_resume();
            match consumer.poll(POLL) {
                None => {}
                Some(Ok(message)) => {
                    self.take_changes();
                    self.take(&message);
                }
                Some(Err(KafkaError::MessageConsumptionFatal(RDKafkaErrorCode::FencedInstanceId))) => {
                    return End::Fenced;
                }
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    tracing::error!(%code, "Kafka has shut this process out; its part in the bus is over");
                    self.shared.fail();
                }
                Some(Err(error)) => tracing::debug!(%error, "Nothing could be read for the moment"),
            }
            self.take_changes();
            self.ask_again();
            self.learn();
            if self.last_commit.elapsed() >= COMMIT {
                self.commit_progress();
                self.last_commit = Instant::now();
            }
        }
        End::Stopped
    }

    /// Takes its seat again after it was fenced off, unless a later process has
    /// its name: that one pings. Brokers that were all killed may come back with
    /// a group as it was before, and take its only member for a stranger.
    /// Whatever was read and not given out is read again.
    fn returns(&mut self) -> bool {
        for part in std::mem::take(&mut self.parts).into_keys() {
            self.shared.inbox().revoked(&part);
        }
        self.new.clear();
        self.empty = None;
        let fenced = Instant::now();
        while fenced.elapsed() < FENCED && !self.is_over() && !self.shared.inbox().has_successor() {
            thread::park_timeout(POLL);
        }
        if self.shared.inbox().has_successor() {
            tracing::error!("A later process has this one's number; its part in the bus is over");
            self.shared.fail();
        }
        while !self.is_over() {
            match self.seat.take(&self.shared) {
                Ok(consumer) => {
                    tracing::warn!("Kafka took this process for another one; it joins again");
                    self.consumer = Arc::new(consumer);
                    self.flow = Flow::default();
                    return true;
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "Kafka does not take this process back");
                    thread::park_timeout(FENCED);
                }
            }
        }
        false
    }

    fn take_changes(&mut self) {
        for change in std::mem::take(&mut *unpoisoned(&self.consumer.context().changes)) {
            match change {
                Change::Assigned(parts) => {
                    tracing::info!(?parts, "Reading");
                    self.new.extend(parts);
                    self.empty = (self.new.is_empty() && self.parts.is_empty()).then(Instant::now);
                    if self.empty.is_none() {
                        self.asked = 0;
                    }
                    self.flow.came(&self.consumer);
                }
                Change::Revoked(parts) => {
                    tracing::info!(?parts, "Reading no more");
                    self.new.retain(|part| !parts.contains(part));
                    for part in &parts {
                        self.parts.remove(part);
                        self.shared.inbox().revoked(part);
                    }
                }
            }
        }
    }

    /// Joins anew after it was given nothing. Brokers learn one after the other of
    /// a topic that was just made: who forms the group meanwhile shares out
    /// nothing, and Kafka's client sees no reason to do so again.
    fn ask_again(&mut self) {
        let most = match self.kind {
            Kind::Activations => u32::MAX,
            Kind::Apart | Kind::Retries => ASKED_AMONG_OTHERS,
            Kind::InStead => 0,
        };
        if self.asked >= most || self.empty.is_none_or(|since| since.elapsed() < GIVEN_NOTHING) {
            return;
        }
        self.asked += 1;
        self.empty = None;
        if let Err(error) = self.consumer.join(&self.seat.topics) {
            tracing::warn!(%error, "A group could not be joined again");
            self.empty = Some(Instant::now());
        }
    }

    /// Asks how far those before us came, in partitions that are new here.
    /// Until that is known nothing of them is taken.
    fn learn(&mut self) {
        if self.new.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for part in &self.new {
            list.add_partition(&part.topic, part.partition);
        }
        let known = match self.consumer.committed_offsets(list, ASK) {
            Ok(known) => known,
            Err(error) => return tracing::debug!(%error, "Kafka does not say how far was read; it is asked again"),
        };
        for element in known.elements() {
            let part = Part { reader: self.number, topic: element.topic().into(), partition: element.partition() };
            let from = match element.offset() {
                Offset::Offset(committed) => committed,
                // Nobody has committed anything: the beginning.
                _ => 0,
            };
            // Text of others makes the library panic that is not UTF-8.
            let bound = catch_unwind(AssertUnwindSafe(|| reads::bound_of(element.metadata(), from))).unwrap_or(from);
            self.shared.inbox().assigned(part.clone(), from, bound);
            self.parts.insert(part.clone(), Mine { reads: Reads::after(bound), committed: (from, bound), back: None });
            self.new.retain(|new| *new != part);
        }
    }

    fn pause_or_resume(&mut self) {
        let what = match self.kind {
            Kind::Activations | Kind::InStead => Room::Queued,
            Kind::Apart => Room::Apart,
            Kind::Retries => Room::Aside,
        };
        let has_room = self.shared.inbox().has_room(what, !self.flow.is_paused());
        self.flow.pause(&self.consumer, !has_room);
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) {
        let part = Part { reader: self.number, topic: message.topic().into(), partition: message.partition() };
        let offset = message.offset();
        self.last_message = Instant::now();
        while self.new.contains(&part) {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            self.learn();
        }
        if !self.parts.contains_key(&part) || self.is_ahead(&part, offset) {
            return;
        }
        let payload = message.payload().unwrap_or_default();
        meters::received(&part.topic, payload.len());
        let place = Place { part: part.clone(), offset };
        let read = match self.kind {
            Kind::Activations | Kind::Apart | Kind::InStead => {
                serde_json::from_slice(payload).map(|message| (message, vec![], 0))
            }
            Kind::Retries => {
                serde_json::from_slice(payload).map(|AgainRead { due, earlier, message }| (message, earlier, due))
            }
        };
        let (asked, earlier, due): (Arc<ActivationMessage>, _, _) = match read {
            Ok((message, earlier, due)) => (Arc::new(message), earlier, due),
            Err(error) => {
                meters::unreadable(&part.topic);
                // Where it is wrong, not what it says.
                let at = format!("{}:{}", error.line(), error.column());
                tracing::error!(topic = %part.topic, offset, at, "A message cannot be read and is passed over");
                return self.shared.inbox().unreadable(&place);
            }
        };
        if asked.blocking && !self.may_read(&part, offset) {
            // It is not given out before it is known that it may have been.
            return self.go_back(&part, offset);
        }
        let Some(mine) = self.parts.get(&part) else { return };
        let incoming = Incoming {
            activation: asked.activation,
            blocking: asked.blocking,
            message: asked,
            earlier,
            due,
            written: listener::written(message),
            doubtful: mine.reads.is_doubtful(offset),
            in_stead: self.kind == Kind::InStead,
            apart: self.kind == Kind::Apart,
            bytes: payload.len(),
        };
        let (wall, now) = (self.shared.wall(), self.shared.now());
        self.shared.tell(|inbox| inbox.arrived(place, incoming, wall, now));
        if let Some(bound) = mine.reads.ahead(offset + 1) {
            self.reserve(&part, bound);
        }
    }

    /// Whether a message comes after one that has to be read again: it comes
    /// again as well.
    fn is_ahead(&mut self, part: &Part, offset: i64) -> bool {
        match self.parts.get(part).and_then(|mine| mine.back) {
            Some(back) if offset > back => {
                self.go_back(part, back);
                true
            }
            _ => {
                self.parts.get_mut(part).into_iter().for_each(|mine| mine.back = None);
                false
            }
        }
    }

    /// Has everything from this message on read again. Until that is done
    /// nothing of its partition is taken.
    fn go_back(&mut self, part: &Part, offset: i64) {
        self.parts.get_mut(part).into_iter().for_each(|mine| mine.back = Some(offset));
        thread::park_timeout(POLL);
        if let Err(error) = self.consumer.seek(&part.topic, part.partition, Offset::Offset(offset), ASK) {
            tracing::debug!(%error, "A message cannot be read again for the moment");
        }
    }

    /// Whether a message may be given out for which somebody waits.
    fn may_read(&mut self, part: &Part, offset: i64) -> bool {
        let Some(mine) = self.parts.get_mut(part) else { return false };
        if mine.reads.may_read(offset) {
            return true;
        }
        let bound = mine.reads.wanted(offset);
        self.reserve(part, bound)
    }

    /// Writes up to where may be read from now on.
    fn reserve(&mut self, part: &Part, bound: i64) -> bool {
        let Some(position) = self.shared.inbox().position(part) else { return false };
        let Some(mine) = self.parts.get_mut(part) else { return false };
        match commit(&self.consumer, &[Progress { part, position, bound }], CommitMode::Sync) {
            Ok(()) => {
                mine.reads.grant(bound);
                mine.committed = (position, bound);
                true
            }
            Err(error) => {
                tracing::debug!(%error, "Kafka did not take note of how far may be read");
                false
            }
        }
    }

    fn commit_progress(&mut self) {
        if self.consumer.context().uncommitted.swap(false, Ordering::SeqCst) {
            self.parts.values_mut().for_each(|mine| mine.committed = NOTHING);
        }
        let quiet = self.last_message.elapsed() >= QUIET;
        if quiet {
            // Going back may have failed, and nothing come since that would show it.
            let back: Vec<_> = self.parts.iter().filter_map(|(part, mine)| Some((part.clone(), mine.back?))).collect();
            back.into_iter().for_each(|(part, offset)| self.go_back(&part, offset));
        }
        let ends = unpoisoned(&self.consumer.context().ends).clone();
        let inbox = self.shared.inbox();
        meters::held(inbox.load().0);
        let mut progress = Vec::new();
        for (part, mine) in &mut self.parts {
            let Some(position) = inbox.position(part) else { continue };
            let next = inbox.next_of(part);
            if let Some(end) = ends.get(&(part.topic.to_string(), part.partition)) {
                meters::lag(&part.topic, part.partition, end - next);
            }
            if quiet && let Some(bound) = mine.reads.quiet(next) {
                // From now on nothing beyond it is given out, so that it may be written later.
                mine.reads.grant(bound);
            }
            let now = (position, mine.reads.granted());
            if now != mine.committed {
                mine.committed = now;
                progress.push(Progress { part, position, bound: now.1 });
            }
        }
        drop(inbox);
        // Not waited for: what is lost of it is committed with what follows.
        if let Err(error) = commit(&self.consumer, &progress, CommitMode::Async) {
            tracing::debug!(%error, "Progress is not committed for the moment");
            self.parts.values_mut().for_each(|mine| mine.committed = NOTHING);
        }
    }
}
