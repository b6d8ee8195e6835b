//! The real controller behind real HTTP, on a store in memory and a bus that
//! has no invoker: every activation ends at once, with its arguments as result.
#![allow(clippy::unwrap_used, dead_code, reason = "tests; each uses a part of this")]

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use http::{Method, StatusCode};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime, sync::watch};
use whisker_bus::{
    AckSink, Acknowledgement, ActivationMessage, ControllerBus, ControllerId, Error, InvokerId, Promise,
};
use whisker_controller::{Config, Controller, Limits, Operation, Parts, Platform, Records};
use whisker_dispatch::Dispatch;
use whisker_entity::{Activation, ActivationId, Exec, Manifest, Parameters, Response, Status, Subject};
use whisker_store::{Activations, Memory, Subjects};
use whisker_testkit::{Client, GUEST, SYSTEM, eventually};

/// How long what should come may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

const MANIFEST: &str =
    r#"{"runtimes":{"nodejs":[{"kind":"nodejs:20","default":true,"image":{"prefix":"o","name":"n","tag":"t"}}]}}"#;

/// A controller that serves, and two users of it.
pub struct World {
    /// Where it keeps everything.
    pub store: Arc<Memory>,
    /// What it sent.
    pub bus: Arc<EchoBus>,
    /// The user `guest`.
    pub guest: Client,
    /// The user `whisk.system`.
    pub system: Client,
    /// Where it listens.
    pub address: SocketAddr,
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl World {
    /// With the default limits.
    pub fn start() -> World {
        World::with(|_| {})
    }

    /// With other limits.
    pub fn with(change: impl FnOnce(&mut Limits)) -> World {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Memory::new());
        let bus = EchoBus::new(store.clone());
        let mut limits = Limits::default();
        change(&mut limits);
        let config = Config {
            id: ControllerId("0".into()),
            manifest: Arc::new(Manifest::parse(MANIFEST).unwrap()),
            limits,
            build_date: String::new(),
            build_number: String::new(),
            events: whisker_events::Events::off(),
            tracer: whisker_traces::Tracer::off(),
        };
        let address = runtime.block_on(async {
            for (name, key) in [("guest", GUEST), ("whisk.system", SYSTEM)] {
                Subjects::put(&*store, &subject(name, key)).await.unwrap();
            }
            let controller = Controller::new(
                config,
                Parts {
                    entities: store.clone(),
                    activations: store.clone(),
                    subjects: store.clone(),
                    dispatch: Dispatch::new(bus.clone()),
                    records: Records::open(whisker_journal::Config::new(folder.path()), store.clone()).unwrap(),
                    secrets: Arc::default(),
                    platform: Arc::new(Nothing),
                },
            );
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(serve(listener, controller));
            address
        });
        let client = |key| Client::new(address, Some(key));
        World { store, bus, guest: client(GUEST), system: client(SYSTEM), address, runtime, _folder: folder }
    }

    /// Waits for something asynchronous.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// A user's record, once it is there.
    pub fn record(&self, of: &Client, id: &str) -> Value {
        eventually(SOON, || {
            let answer = of.get(&format!("activations/{id}"));
            if answer.status() == 200 { Ok(answer.json()) } else { Err(answer.text()) }
        })
    }
}

async fn serve(listener: TcpListener, controller: Arc<Controller>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let controller = controller.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let controller = &controller;
                async move {
                    let peer = IpAddr::from(Ipv4Addr::LOCALHOST);
                    let asked = (request.method().clone(), request.uri().path().to_owned());
                    let answer = controller.handle(request, peer).await;
                    check_status(&asked.0, &asked.1, answer.status());
                    Ok::<_, std::convert::Infallible>(answer)
                }
            });
            // A client may leave whenever it likes.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Whatever a test asks for: the answer's status is one of those that the API's
/// description tells of. If not, the client sees its connection break.
fn check_status(method: &Method, path: &str, status: StatusCode) {
    if let Some(statuses) = Operation::of(method, path).and_then(Operation::statuses) {
        assert!(statuses.contains(&status), "{method} {path} answered {status}, which is not documented");
    }
}

fn subject(name: &str, key: &str) -> Subject {
    let (uuid, key) = key.split_once(':').unwrap();
    let namespaces = json!([{"name": name, "uuid": uuid, "key": key}]);
    serde_json::from_value(json!({"subject": name, "namespaces": namespaces})).unwrap()
}

/// The body of an action.
pub fn action() -> Value {
    json!({"exec": {"kind": "nodejs:20", "code": "function main(a) { return a }"}})
}

/// Parameters, or annotations, of these members.
pub fn keyed(members: Value) -> Value {
    let members: BTreeMap<String, Value> = serde_json::from_value(members).unwrap();
    members.into_iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
}

/// A process without invokers.
struct Nothing;

impl Platform for Nothing {
    fn invokers(&self) -> Vec<(String, bool)> {
        Vec::new()
    }
    fn metrics(&self) -> String {
        String::new()
    }
    fn draining(&self) -> bool {
        false
    }
    fn check_code(&self, _: &Exec) -> Result<(), String> {
        Ok(())
    }
}

/// A bus at whose other end every run succeeds at once.
pub struct EchoBus {
    store: Arc<Memory>,
    sink: OnceLock<Arc<dyn AckSink>>,
    sent: Mutex<Vec<(Arc<ActivationMessage>, Promise)>>,
    full: AtomicBool,
    gate: watch::Sender<bool>,
}

impl EchoBus {
    fn new(store: Arc<Memory>) -> Arc<Self> {
        Arc::new(Self {
            store,
            sink: OnceLock::new(),
            sent: Mutex::default(),
            full: AtomicBool::new(false),
            gate: watch::channel(true).0,
        })
    }

    /// What was taken, in order.
    pub fn sent(&self) -> Vec<(Arc<ActivationMessage>, Promise)> {
        self.sent.lock().unwrap().clone()
    }

    /// Makes it refuse, or take, what comes.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// Makes those that send wait, or lets them go on.
    pub fn set_open(&self, open: bool) {
        self.gate.send_replace(open);
    }

    /// How many wait to send.
    pub fn waiting(&self) -> usize {
        self.gate.receiver_count()
    }
}

#[async_trait]
impl ControllerBus for EchoBus {
    async fn send(&self, invoker: InvokerId, message: Arc<ActivationMessage>, promise: Promise) -> Result<(), Error> {
        let mut gate = self.gate.subscribe();
        gate.wait_for(|open| *open).await.unwrap();
        drop(gate);
        if self.full.load(Ordering::SeqCst) {
            return Err(Error::Full(0));
        }
        self.sent.lock().unwrap().push((message.clone(), promise));
        let activation = Arc::new(echo(&message));
        Activations::put(&*self.store, std::slice::from_ref(&activation)).await.unwrap();
        let (sink, controller) = (self.sink.get().unwrap().clone(), message.controller.clone());
        let transaction = message.transaction.clone();
        let (id, began) = (activation.id, message.began);
        tokio::spawn(async move {
            let (owner, request) = (controller.clone(), transaction.clone());
            sink.acknowledged(Acknowledgement::Result { controller: owner, transaction: request, began, activation });
            sink.acknowledged(Acknowledgement::Completion {
                controller,
                transaction,
                began,
                activation: id,
                system_error: false,
                invoker,
            });
        });
        Ok(())
    }

    async fn secure(&self, _: ActivationId) -> Result<(), Error> {
        Ok(())
    }

    fn subscribe(&self, sink: Arc<dyn AckSink>) {
        assert!(self.sink.set(sink).is_ok(), "subscribed twice");
    }
}

fn echo(message: &ActivationMessage) -> Activation {
    let mut annotations = Parameters::default();
    annotations.set_value("path", message.action.to_string());
    if let Some(binding) = &message.binding {
        annotations.set_value("binding", binding.to_string());
    }
    Activation {
        namespace: message.user.namespace.clone(),
        name: message.action.name.clone(),
        subject: message.user.subject.to_string(),
        id: message.activation,
        start: message.began,
        end: message.began + 1,
        cause: message.cause,
        response: Response { status: Status::Success, result: Some((*message.content).to_owned()), size: None },
        logs: vec![],
        version: message.version,
        publish: false,
        annotations,
        duration: Some(1),
    }
}
