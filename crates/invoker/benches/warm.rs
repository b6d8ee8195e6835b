//! What an invoker itself adds to a warm run: messages in process, containers
//! that answer at once, the real pool, spool and store in memory.
//!
//! `cargo bench -p whisker-invoker`

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use whisker_bus::{Acknowledgement, ActivationMessage, ControllerId, Delivery, Error, InvokerBus};
use whisker_entity::{
    Action, ActionLimits, Activation, ActivationId, AuthKey, EntityPath, Exec, ExecCode, Identity, NamespaceLimits,
    Parameters, TransactionId, Version,
};
use whisker_invoker::{Config, Invoker, Parts, Spool};
use whisker_sandbox::{Container, Init, InitEnd, Logs, Run, RunEnd, Sandbox, Start};
use whisker_store::{Document, Entities, Memory, Revision};

const WORKERS: usize = 2;
const RUNS: usize = 50_000;

struct Instantly;

#[async_trait]
impl Sandbox for Instantly {
    async fn start(&self, _: Start) -> Result<Arc<dyn Container>, whisker_sandbox::Error> {
        Ok(Arc::new(Instantly))
    }
    async fn sweep(&self) -> Result<(), whisker_sandbox::Error> {
        Ok(())
    }
}

#[async_trait]
impl Container for Instantly {
    async fn init(&self, _: Init, _: Duration) -> Result<InitEnd, whisker_sandbox::Error> {
        Ok(InitEnd::Ready)
    }
    async fn run(&self, run: Run, _: Duration) -> Result<RunEnd, whisker_sandbox::Error> {
        Ok(RunEnd::Answered(RawValue::from_string(run.value.get().into()).unwrap()))
    }
    async fn logs(&self, _: ActivationId, _: u64) -> Logs {
        Logs::default()
    }
    async fn pause(&self) -> Result<(), whisker_sandbox::Error> {
        Ok(())
    }
    async fn resume(&self) -> Result<(), whisker_sandbox::Error> {
        Ok(())
    }
    async fn destroy(&self) {}
    async fn died(&self) {
        std::future::pending().await
    }
}

struct Bus {
    out: tokio::sync::Mutex<mpsc::UnboundedReceiver<Delivery>>,
    waiters: Mutex<HashMap<ActivationId, oneshot::Sender<Arc<Activation>>>>,
}

#[async_trait]
impl InvokerBus for Bus {
    async fn receive(&self) -> Option<Delivery> {
        self.out.lock().await.recv().await
    }
    async fn starting(&self, _: ActivationId) -> Result<(), Error> {
        Ok(())
    }
    async fn acknowledge(&self, acknowledgement: Acknowledgement) -> Result<(), Error> {
        if let Acknowledgement::Result { activation, .. } = acknowledgement
            && let Some(waiter) = self.waiters.lock().unwrap().remove(&activation.id)
        {
            let _ = waiter.send(activation);
        }
        Ok(())
    }
    async fn done(&self, _: &[ActivationId]) -> Result<(), Error> {
        Ok(())
    }
}

#[derive(Clone)]
struct Caller {
    bus: Arc<Bus>,
    send: mpsc::UnboundedSender<Delivery>,
    next: Arc<std::sync::atomic::AtomicU64>,
    user: Arc<Identity>,
}

impl Caller {
    async fn invoke(&self, action: &str, revision: &Revision) {
        let number = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let id = ActivationId::new(wall(), number.into());
        let (sender, receiver) = oneshot::channel();
        self.bus.waiters.lock().unwrap().insert(id, sender);
        let message = ActivationMessage {
            transaction: TransactionId::restore("tid"),
            began: wall(),
            action: format!("guest/{action}").parse().unwrap(),
            version: Version::FIRST,
            binding: None,
            revision: Some(revision.0.clone()),
            user: self.user.clone(),
            activation: id,
            controller: ControllerId("0".into()),
            blocking: true,
            content: RawValue::from_string(r#"{"name":"Ann"}"#.into()).unwrap().into(),
            init_args: vec![],
            locked_args: Default::default(),
            cause: None,
            trace_context: None,
            of_letter: false,
        };
        self.send.send(Delivery::first(Arc::new(message))).unwrap();
        receiver.await.unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where this program reads the wall clock")]
fn wall() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64
}

async fn write(store: &Memory, name: &str) -> Revision {
    let action = Action {
        namespace: EntityPath::root("guest".parse().unwrap()),
        name: name.parse().unwrap(),
        exec: Exec::Code { kind: "nodejs:20".into(), code: ExecCode::Inline("x".into()), main: None, binary: false },
        parameters: Parameters::default(),
        limits: ActionLimits::default(),
        version: Version::FIRST,
        publish: false,
        annotations: Parameters::default(),
        updated: wall(),
    };
    Entities::put(store, &Document::Action(action), None).await.unwrap()
}

async fn one_by_one(caller: &Caller, revision: &Revision) -> (Duration, Duration) {
    let mut took = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let began = Instant::now();
        caller.invoke("hello", revision).await;
        took.push(began.elapsed());
    }
    took.sort();
    (took[RUNS / 2], took[RUNS * 99 / 100])
}

async fn sixteen(caller: &Caller, revision: &Revision) -> f64 {
    let began = Instant::now();
    let callers = (0..16).map(|_| {
        let (caller, revision) = (caller.clone(), revision.clone());
        tokio::spawn(async move {
            for _ in 0..RUNS / 16 {
                caller.invoke("hello", &revision).await;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    RUNS as f64 / began.elapsed().as_secs_f64()
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().unwrap();
    runtime.block_on(async { tokio::spawn(measure()).await.unwrap() });
}

async fn measure() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Memory::new());
    let (send, out) = mpsc::unbounded_channel();
    let bus = Arc::new(Bus { out: tokio::sync::Mutex::new(out), waiters: Mutex::default() });
    let parts = Parts {
        bus: bus.clone(),
        entities: store.clone(),
        activations: store.clone(),
        sandbox: Arc::new(Instantly),
        secrets: Arc::default(),
        spool: Spool::open(whisker_journal::Config::new(folder.path())).unwrap(),
        clock: Arc::new(wall),
    };
    let config = Config { user_memory_mb: 1 << 20, pause_grace: None, ..Config::default() };
    let cancel = CancellationToken::new();
    let invoker = tokio::spawn(Invoker::new(config, parts).run(cancel.clone()));
    let key = AuthKey::parse(&format!("uuid:{}", "k".repeat(64))).unwrap();
    let user = Arc::new(Identity {
        subject: "guest".into(),
        namespace: "guest".parse().unwrap(),
        key,
        limits: NamespaceLimits::default(),
    });
    let caller = Caller { bus, send, next: Arc::default(), user };
    let revision = write(&store, "hello").await;
    caller.invoke("hello", &revision).await;
    for idle in [0, 1000] {
        for n in 0..idle {
            let name = format!("idle{n}");
            let revision = write(&store, &name).await;
            caller.invoke(&name, &revision).await;
        }
        for _ in 0..3 {
            let (p50, p99) = one_by_one(&caller, &revision).await;
            let rate = sixteen(&caller, &revision).await;
            println!("{idle:>5} others idle: one by one p50 {p50:?} p99 {p99:?}; sixteen {rate:.0}/s");
        }
    }
    cancel.cancel();
    invoker.await.unwrap().unwrap();
}
