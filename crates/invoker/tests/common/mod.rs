//! An invoker among stand-ins: the fake sandbox, the store in memory (which
//! can be away), and a bus that remembers what it was told.

#![allow(clippy::unwrap_used, dead_code, reason = "tests; each file uses its part")]

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json, value::RawValue};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;
use whisker_bus::{
    Acknowledgement, ActivationMessage, Attempt, ControllerId, Delivery, Due, Error, InvokerBus, Letter, Redelivered,
};
use whisker_entity::{
    Action, ActionLimits, Activation, ActivationId, Allowance, AuthKey, EntityName, EntityPath, Exec, ExecCode,
    Identity, LimitRange, LimitRanges, Millis, NamespaceLimits, Parameters, QualifiedName, TransactionId, Version,
};
use whisker_invoker::{Config, Invoker, Load, Parts, Spool};
use whisker_sandbox::testing::Fake;
use whisker_store::{
    ActivationQuery, Activations, Cursor, Document, Entities, Memory, Page, Portion, Retention, Revision, Scan, Summary,
};

/// Longer than anything here takes on the paused clock.
const PATIENCE: Duration = Duration::from_secs(3600);
/// The wall clock at the beginning of each test.
pub const EPOCH: Millis = 1_700_000_000_000;

/// What the bus was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Starting(ActivationId),
    Result(ActivationId),
    Completion(ActivationId, bool),
    Done(ActivationId),
    /// Back for another run, after so many.
    Retry(ActivationId, usize),
    Buried(ActivationId, Letter),
}

#[derive(Default)]
pub struct TestBus {
    queue: Mutex<VecDeque<Delivery>>,
    told: Mutex<Vec<Told>>,
    results: Mutex<HashMap<ActivationId, Arc<Activation>>>,
    arrived: Notify,
    pub refuses: AtomicBool,
    /// Begun by another invoker, the next time that it is to start here.
    pub taken: Mutex<HashSet<ActivationId>>,
    /// Whether no message may wait for another run.
    pub full: AtomicBool,
    accepted: Mutex<HashSet<ActivationId>>,
    failures: Mutex<HashMap<ActivationId, Vec<Attempt>>>,
}

/// What one life of an invoker has of the world. A dead one gets no answer
/// any more, and can do nothing.
struct Line<T> {
    to: Arc<T>,
    cut: Arc<AtomicBool>,
}

impl<T> Line<T> {
    async fn to(&self) -> &T {
        if self.cut.load(Ordering::SeqCst) {
            std::future::pending().await
        }
        &self.to
    }
}

impl TestBus {
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    pub fn waiting(&self) -> usize {
        self.queue.lock().unwrap().len()
    }

    fn tell(&self, told: Told) {
        self.told.lock().unwrap().push(told);
    }
}

#[async_trait]
impl InvokerBus for Line<TestBus> {
    async fn receive(&self) -> Option<Delivery> {
        loop {
            let arrived = self.to.arrived.notified();
            if let Some(delivery) = self.to().await.queue.lock().unwrap().pop_front() {
                return Some(delivery);
            }
            arrived.await;
        }
    }

    async fn starting(&self, activation: ActivationId) -> Result<(), Error> {
        let bus = self.to().await;
        if bus.refuses.load(Ordering::SeqCst) {
            return Err(Error::Unavailable(None));
        }
        if bus.taken.lock().unwrap().remove(&activation) {
            return Err(Error::Taken);
        }
        bus.tell(Told::Starting(activation));
        Ok(())
    }

    async fn acknowledge(&self, acknowledgement: Acknowledgement) -> Result<(), Error> {
        let bus = self.to().await;
        match acknowledgement {
            Acknowledgement::Result { activation, .. } => {
                bus.tell(Told::Result(activation.id));
                bus.results.lock().unwrap().insert(activation.id, activation);
            }
            Acknowledgement::Recorded { activation, .. } => bus.tell(Told::Result(activation)),
            Acknowledgement::Completion { activation, system_error, .. } => {
                bus.tell(Told::Completion(activation, system_error));
            }
        }
        Ok(())
    }

    async fn done(&self, activations: &[ActivationId]) -> Result<(), Error> {
        let bus = self.to().await;
        activations.iter().for_each(|id| bus.tell(Told::Done(*id)));
        Ok(())
    }

    /// What nobody waits for was accepted.
    async fn is_accepted(&self, activation: ActivationId) -> bool {
        self.to().await.accepted.lock().unwrap().contains(&activation)
    }

    async fn retry(&self, message: &ActivationMessage, attempt: Attempt, due: Due) -> Result<bool, Error> {
        let bus = self.to().await;
        if bus.full.load(Ordering::SeqCst) {
            return Ok(false);
        }
        let earlier = {
            let mut failures = bus.failures.lock().unwrap();
            let earlier = failures.entry(message.activation).or_default();
            earlier.push(attempt);
            earlier.clone()
        };
        bus.tell(Told::Retry(message.activation, earlier.len()));
        let (to, message) = (self.to.clone(), Arc::new(message.clone()));
        tokio::spawn(async move {
            time::sleep(due.after).await;
            to.queue.lock().unwrap().push_back(Delivery { message, redelivered: Redelivered::No, earlier });
            to.arrived.notify_one();
        });
        Ok(true)
    }

    async fn bury(&self, activation: ActivationId, letter: Letter) -> Result<(), Error> {
        let bus = self.to().await;
        bus.tell(Told::Buried(activation, letter));
        // So that tests wait for one thing.
        bus.tell(Told::Done(activation));
        Ok(())
    }
}

/// The store, which can be away, or slow.
#[derive(Default)]
pub struct Store {
    pub memory: Memory,
    pub away: AtomicBool,
    /// What a write of records takes, in ms.
    pub write_ms: AtomicU64,
    /// Records that it never takes, nor others beside them.
    pub poison: Mutex<HashSet<ActivationId>>,
}

impl Store {
    fn here(&self) -> Result<(), whisker_store::Error> {
        if self.away.load(Ordering::SeqCst) {
            return Err(whisker_store::Error::Unavailable("it is away".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl Activations for Line<Store> {
    async fn put(&self, records: &[Arc<Activation>]) -> Result<(), whisker_store::Error> {
        time::sleep(Duration::from_millis(self.to().await.write_ms.load(Ordering::SeqCst))).await;
        self.to().await.here()?;
        if records.iter().any(|record| self.to.poison.lock().unwrap().contains(&record.id)) {
            return Err(whisker_store::Error::Unavailable("too much for it".into()));
        }
        Activations::put(&self.to().await.memory, records).await
    }
    async fn get(&self, namespace: &EntityName, id: ActivationId) -> Result<Activation, whisker_store::Error> {
        Activations::get(&self.to().await.memory, namespace, id).await
    }
    async fn known(
        &self,
        namespace: &EntityName,
        ids: &[ActivationId],
    ) -> Result<Vec<ActivationId>, whisker_store::Error> {
        self.to().await.here()?;
        self.to().await.memory.known(namespace, ids).await
    }
    async fn list(&self, query: &ActivationQuery, page: Page) -> Result<Vec<Summary>, whisker_store::Error> {
        Activations::list(&self.to().await.memory, query, page).await
    }
    async fn list_full(
        &self,
        query: &ActivationQuery,
        page: Page,
        max_bytes: u64,
    ) -> Result<Vec<Activation>, whisker_store::Error> {
        self.to().await.memory.list_full(query, page, max_bytes).await
    }
    async fn count(&self, query: &ActivationQuery) -> Result<u64, whisker_store::Error> {
        Activations::count(&self.to().await.memory, query).await
    }
    async fn prune(&self, retention: Retention) -> Result<u64, whisker_store::Error> {
        self.to().await.memory.prune(retention).await
    }
    async fn scan(&self, after: Option<&Cursor>, portion: Portion) -> Result<Scan<Activation>, whisker_store::Error> {
        Activations::scan(&self.to().await.memory, after, portion).await
    }
}

#[async_trait]
impl Entities for Line<Store> {
    async fn get(&self, name: &QualifiedName) -> Result<whisker_store::Stored, whisker_store::Error> {
        self.to().await.here()?;
        Entities::get(&self.to().await.memory, name).await
    }
    async fn put(&self, document: &Document, based_on: Option<&Revision>) -> Result<Revision, whisker_store::Error> {
        Entities::put(&self.to().await.memory, document, based_on).await
    }
    async fn delete(&self, name: &QualifiedName, based_on: &Revision) -> Result<(), whisker_store::Error> {
        self.to().await.memory.delete(name, based_on).await
    }
    async fn list(
        &self,
        collection: whisker_store::Collection,
        path: &EntityPath,
        page: Page,
    ) -> Result<Vec<Document>, whisker_store::Error> {
        Entities::list(&self.to().await.memory, collection, path, page).await
    }
    async fn count(
        &self,
        collection: whisker_store::Collection,
        path: &EntityPath,
    ) -> Result<u64, whisker_store::Error> {
        Entities::count(&self.to().await.memory, collection, path).await
    }
    async fn code(&self, hash: whisker_entity::CodeHash) -> Result<Arc<str>, whisker_store::Error> {
        self.to().await.here()?;
        self.to().await.memory.code(hash).await
    }
    async fn scan(
        &self,
        after: Option<&Cursor>,
        portion: Portion,
    ) -> Result<Scan<whisker_store::Stored>, whisker_store::Error> {
        Entities::scan(&self.to().await.memory, after, portion).await
    }
}

/// Everything around an invoker; it outlives several of them.
pub struct World {
    pub bus: Arc<TestBus>,
    pub store: Arc<Store>,
    pub fake: Fake,
    pub config: Config,
    folder: Mutex<tempfile::TempDir>,
    began: Instant,
    next: AtomicU64,
}

/// A running invoker.
pub struct Running {
    cancel: CancellationToken,
    task: JoinHandle<Result<(), whisker_invoker::Error>>,
    cut: Arc<AtomicBool>,
    /// How busy it is.
    pub load: Load,
}

impl Running {
    pub fn begin_stop(&self) {
        self.cancel.cancel();
    }

    pub async fn stop(self) {
        self.cancel.cancel();
        time::timeout(PATIENCE, self.task).await.expect("it stops").unwrap().unwrap();
    }
}

impl World {
    pub fn new(fake: Fake) -> World {
        World {
            bus: Arc::default(),
            store: Arc::default(),
            fake,
            config: Config { most: anything(), ..Config::default() },
            folder: Mutex::new(tempfile::tempdir().unwrap()),
            began: Instant::now(),
            next: AtomicU64::new(1),
        }
    }

    pub fn start(&self) -> Running {
        let began = self.began;
        let cut = Arc::new(AtomicBool::new(false));
        let folder = self.folder.lock().unwrap().path().join("spool");
        let parts = Parts {
            bus: Arc::new(Line { to: self.bus.clone(), cut: cut.clone() }),
            entities: Arc::new(Line { to: self.store.clone(), cut: cut.clone() }),
            activations: Arc::new(Line { to: self.store.clone(), cut: cut.clone() }),
            sandbox: Arc::new(self.fake.clone()),
            secrets: Arc::default(),
            spool: Spool::open(whisker_journal::Config::new(folder)).unwrap(),
            clock: Arc::new(move || EPOCH + began.elapsed().as_millis() as u64),
        };
        let cancel = CancellationToken::new();
        let invoker = Invoker::new(self.config.clone(), parts);
        let load = invoker.load();
        let task = tokio::spawn(invoker.run(cancel.clone()));
        Running { cancel, task, cut, load }
    }

    /// As `kill -9` does it: nothing is finished, and what is on disk stays as
    /// it is at this moment.
    pub fn crash(&self, invoker: Running) {
        invoker.cut.store(true, Ordering::SeqCst);
        invoker.task.abort();
        let copy = tempfile::tempdir().unwrap();
        let mut folder = self.folder.lock().unwrap();
        let spool = copy.path().join("spool");
        std::fs::create_dir(&spool).unwrap();
        for file in std::fs::read_dir(folder.path().join("spool")).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), spool.join(file.file_name())).unwrap();
        }
        *folder = copy;
    }

    /// What was set aside, since the store refuses it.
    pub fn set_aside(&self) -> String {
        std::fs::read_to_string(self.folder.lock().unwrap().path().join("refused-records.jsonl")).unwrap_or_default()
    }

    pub fn now(&self) -> Millis {
        EPOCH + self.began.elapsed().as_millis() as u64
    }

    /// Writes `guest/NAME`, whose code is also its name, and answers its revision.
    pub async fn action(&self, name: &str, limits: ActionLimits) -> Revision {
        self.write(name, limits, &[], None).await
    }

    /// The same with annotations.
    pub async fn annotated(&self, name: &str, annotations: &[(&str, Value)]) -> Revision {
        self.write(name, limits(), annotations, None).await
    }

    pub async fn update(&self, name: &str, limits: ActionLimits, revision: &Revision) -> Revision {
        self.write(name, limits, &[], Some(revision)).await
    }

    async fn write(
        &self,
        name: &str,
        limits: ActionLimits,
        more: &[(&str, Value)],
        based_on: Option<&Revision>,
    ) -> Revision {
        let mut annotations = Parameters::default();
        annotations.set_value("provide-api-key", false);
        more.iter().for_each(|(key, value)| annotations.set_value(key, value.clone()));
        let action = Action {
            namespace: EntityPath::root(guest()),
            name: name.parse().unwrap(),
            exec: Exec::Code {
                kind: "nodejs:20".into(),
                code: ExecCode::Inline(name.into()),
                main: None,
                binary: false,
            },
            parameters: Parameters::default(),
            limits,
            version: Version::FIRST,
            publish: false,
            annotations,
            updated: self.now(),
        };
        Entities::put(&self.store.memory, &Document::Action(action), based_on).await.unwrap()
    }

    /// A blocking message for `guest/NAME`, from `guest`.
    pub fn message(&self, name: &str, revision: &Revision, content: Value) -> ActivationMessage {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        ActivationMessage {
            transaction: TransactionId::restore("tid"),
            began: self.now(),
            action: format!("guest/{name}").parse().unwrap(),
            version: Version::FIRST,
            binding: None,
            revision: Some(revision.0.clone()),
            user: Arc::new(user("guest")),
            activation: ActivationId::new(EPOCH, number.into()),
            controller: ControllerId("0".into()),
            blocking: true,
            content: RawValue::from_string(content.to_string()).unwrap().into(),
            init_args: vec![],
            locked_args: Default::default(),
            cause: None,
            trace_context: None,
            of_letter: false,
        }
    }

    pub fn deliver(&self, message: ActivationMessage) -> ActivationId {
        self.deliver_as(message, Redelivered::No)
    }

    pub fn deliver_as(&self, message: ActivationMessage, redelivered: Redelivered) -> ActivationId {
        let id = message.activation;
        if !message.blocking {
            self.bus.accepted.lock().unwrap().insert(id);
        }
        self.bus.queue.lock().unwrap().push_back(Delivery {
            message: Arc::new(message),
            redelivered,
            earlier: Vec::new(),
        });
        self.bus.arrived.notify_one();
        id
    }

    /// Sends one and waits for its result.
    pub async fn invoke(&self, name: &str, revision: &Revision, content: Value) -> Arc<Activation> {
        let id = self.deliver(self.message(name, revision, content));
        self.result(id).await
    }

    /// Whether its result was sent back.
    pub fn has_ended(&self, id: ActivationId) -> bool {
        self.bus.results.lock().unwrap().contains_key(&id)
    }

    /// The result that was sent back.
    pub async fn result(&self, id: ActivationId) -> Arc<Activation> {
        self.until("a result", || self.has_ended(id)).await;
        self.bus.results.lock().unwrap()[&id].clone()
    }

    /// The record in the store, once its message is done with.
    pub async fn record(&self, id: ActivationId) -> Activation {
        self.until("a record", || self.bus.told().contains(&Told::Done(id))).await;
        Activations::get(&self.store.memory, &guest(), id).await.unwrap()
    }

    pub async fn is_recorded(&self, id: ActivationId) -> bool {
        !self.store.memory.known(&guest(), &[id]).await.unwrap().is_empty()
    }

    /// Waits until something is so.
    pub async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let wait = async {
            while !is_so() {
                time::sleep(Duration::from_millis(1)).await;
            }
        };
        time::timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("no {what}; the bus was told {:?}", self.bus.told()));
    }
}

/// Lets actions ask for what they like.
fn anything() -> Allowance {
    let range = LimitRange::new(0, u32::MAX.into());
    let actions = LimitRanges { timeout_ms: range, memory_mb: range, logs_mb: range, concurrency: range };
    Allowance { actions, ..Allowance::default() }
}

pub fn guest() -> EntityName {
    "guest".parse().unwrap()
}

pub fn user(namespace: &str) -> Identity {
    Identity {
        subject: namespace.into(),
        namespace: namespace.parse().unwrap(),
        key: AuthKey::parse(&format!("uuid:{}", "k".repeat(64))).unwrap(),
        limits: NamespaceLimits::default(),
    }
}

pub fn limits() -> ActionLimits {
    ActionLimits { timeout: 1000, memory: 256, ..ActionLimits::default() }
}

/// What a record answers: status code, result, size.
pub fn answer(activation: &Activation) -> (u8, Value, Option<u64>) {
    let result = activation.response.result.as_deref();
    let result = result.map_or(json!(null), |result| serde_json::from_str(result.get()).unwrap());
    (activation.response.status.code(), result, activation.response.size)
}

pub fn annotation(activation: &Activation, key: &str) -> Value {
    activation.annotations.get(key).cloned().unwrap_or_default()
}
