//! Sequences and compositions carried out, on a store in memory and a bus
//! that answers for the invoker.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::HashMap,
    sync::{Mutex, OnceLock},
};

use async_trait::async_trait;
use serde_json::{Value, json, value::RawValue};
use whisker_api::Payload;
use whisker_bus::{
    AckSink, Acknowledgement, ActivationMessage, ControllerBus, ControllerId, Error, InvokerId, Promise,
};
use whisker_dispatch::Dispatch;
use whisker_entity::{
    Action, ActionLimits, ActivationId, AuthKey, Exec, ExecCode, Identity, Manifest, Package, Parameters,
    QualifiedName, Response, TransactionId, Version,
};
use whisker_store::{ActivationQuery, Activations, Document, Entities, Memory, Page};

use super::*;
use crate::{Config, Limits, Parts, Platform, Records, invocation, resolve::resolve};

/// What an action answers to its arguments; `None` leaves it unanswered.
type Behaviour = fn(&Value) -> Option<Value>;

/// A bus that runs actions itself.
#[derive(Default)]
struct Wire {
    sink: OnceLock<Arc<dyn AckSink>>,
    behaviours: Mutex<HashMap<String, Behaviour>>,
    sent: Mutex<Vec<Arc<ActivationMessage>>>,
}

impl Wire {
    fn answer(&self, message: &ActivationMessage, result: &Value) {
        let status = if result.get("error").is_some() { Status::ApplicationError } else { Status::Success };
        let mut annotations = Parameters::default();
        annotations.set_value("limits", json!({"memory": 128}));
        let activation = Arc::new(Activation {
            namespace: message.user.namespace.clone(),
            name: message.action.name.clone(),
            subject: "guest".into(),
            id: message.activation,
            start: 1,
            end: 4,
            cause: message.cause,
            response: Response { status, result: RawValue::from_string(result.to_string()).ok(), size: Some(1) },
            logs: vec![],
            version: message.version,
            publish: false,
            annotations,
            duration: Some(3),
        });
        let (controller, transaction) = (message.controller.clone(), message.transaction.clone());
        let sink = self.sink.get().unwrap();
        sink.acknowledged(Acknowledgement::Result {
            controller: controller.clone(),
            transaction: transaction.clone(),
            began: message.began,
            activation,
        });
        sink.acknowledged(Acknowledgement::Completion {
            controller,
            transaction,
            began: message.began,
            activation: message.activation,
            system_error: false,
            invoker: InvokerId(0),
        });
    }

    fn last(&self) -> Arc<ActivationMessage> {
        self.sent.lock().unwrap().last().unwrap().clone()
    }
}

#[async_trait]
impl ControllerBus for Wire {
    async fn send(&self, _: InvokerId, message: Arc<ActivationMessage>, _: Promise) -> Result<(), Error> {
        self.sent.lock().unwrap().push(message.clone());
        let behaviour = self.behaviours.lock().unwrap().get(message.action.name.as_str()).copied();
        let arguments = serde_json::from_str(message.content.get()).unwrap();
        if let Some(result) = behaviour.and_then(|behaviour| behaviour(&arguments)) {
            self.answer(&message, &result);
        }
        Ok(())
    }

    async fn secure(&self, _: ActivationId) -> Result<(), Error> {
        Ok(())
    }

    fn subscribe(&self, sink: Arc<dyn AckSink>) {
        let _ = self.sink.set(sink);
    }
}

struct Nothing;

impl Platform for Nothing {
    fn invokers(&self) -> Vec<(String, bool)> {
        vec![]
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

struct World {
    controller: Arc<Controller>,
    wire: Arc<Wire>,
    store: Arc<Memory>,
    folder: Arc<tempfile::TempDir>,
}

impl World {
    fn new() -> Self {
        Self::on(Arc::new(Memory::new()), Arc::new(tempfile::tempdir().unwrap()))
    }

    fn on(store: Arc<Memory>, folder: Arc<tempfile::TempDir>) -> Self {
        let wire = Arc::new(Wire::default());
        let records = Records::open(whisker_journal::Config::new(folder.path()), store.clone()).unwrap();
        let config = Config {
            id: ControllerId("0".into()),
            manifest: Arc::new(Manifest::default()),
            limits: Limits { sequence_length: 5, ..Limits::default() },
            build_date: String::new(),
            build_number: String::new(),
            events: whisker_events::Events::off(),
            tracer: whisker_traces::Tracer::off(),
        };
        let parts = Parts {
            entities: store.clone(),
            activations: store.clone(),
            subjects: store.clone(),
            dispatch: Dispatch::new(wire.clone()),
            records,
            secrets: Arc::default(),
            platform: Arc::new(Nothing),
        };
        Self { controller: Controller::new(config, parts), wire, store, folder }
    }

    /// Puts an action that behaves so.
    async fn action(&self, name: &str, annotation: Option<&str>, behaviour: Behaviour) {
        let code = ExecCode::Inline("x".into());
        let exec = Exec::Code { kind: "nodejs:20".into(), code, main: None, binary: false };
        let name = self.put(name, annotation, exec).await;
        self.wire.behaviours.lock().unwrap().insert(name.name.to_string(), behaviour);
    }

    async fn sequence(&self, name: &str, components: &[&str]) {
        let components = components.iter().map(|name| name.parse().unwrap()).collect();
        self.put(name, None, Exec::Sequence { components }).await;
    }

    async fn put(&self, name: &str, annotation: Option<&str>, exec: Exec) -> QualifiedName {
        let name: QualifiedName = name.parse().unwrap();
        let mut annotations = Parameters::default();
        annotation.into_iter().for_each(|key| annotations.set_value(key, true));
        let action = Action {
            namespace: name.path.clone(),
            name: name.name.clone(),
            exec,
            parameters: Parameters::default(),
            limits: ActionLimits::default(),
            version: Version::FIRST,
            publish: false,
            annotations,
            updated: 1,
        };
        Entities::put(&*self.store, &Document::Action(action), None).await.unwrap();
        name
    }

    async fn public_package(&self, name: &str) {
        let name: QualifiedName = name.parse().unwrap();
        let package = Package {
            namespace: name.path,
            name: name.name,
            binding: None,
            parameters: Parameters::default(),
            version: Version::FIRST,
            publish: true,
            annotations: Parameters::default(),
            updated: 1,
        };
        Entities::put(&*self.store, &Document::Package(package), None).await.unwrap();
    }

    async fn invoke(&self, name: &str, input: &str, wait: Option<Duration>) -> Answer {
        self.invoke_as(caller(None), name, input, wait).await
    }

    async fn invoke_as(&self, caller: Caller, name: &str, input: &str, wait: Option<Duration>) -> Answer {
        let resolved = resolve(&self.controller, &name.parse().unwrap()).await?;
        let payload = Payload::parse(input.as_bytes()).unwrap();
        invocation::invoke(&self.controller, &caller, &resolved, payload, wait).await
    }

    /// Invokes, waits, and has all records written.
    async fn record(&self, name: &str, input: &str) -> Arc<Activation> {
        let Ok(Invoked::Finished(record)) = self.invoke(name, input, Some(MINUTE)).await else {
            panic!("no answer in time")
        };
        self.controller.close().await;
        record
    }

    async fn stored(&self, id: ActivationId) -> Activation {
        Activations::get(&*self.store, &"guest".parse().unwrap(), id).await.unwrap()
    }

    async fn all(&self) -> Vec<Activation> {
        let query = ActivationQuery { namespace: "guest".parse().unwrap(), name: None, since: None, upto: None };
        self.store.list_full(&query, Page { skip: 0, limit: 1000 }, u64::MAX).await.unwrap()
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn caller(store_activations: Option<bool>) -> Caller {
    let limits = whisker_entity::NamespaceLimits { store_activations, ..Default::default() };
    Caller {
        who: Arc::new(Identity {
            subject: "guest".into(),
            namespace: "guest".parse().unwrap(),
            key: AuthKey::parse(&format!("u:{}", "k".repeat(64))).unwrap(),
            limits,
        }),
        transaction: TransactionId::system("test"),
        began: 0,
        cause: None,
        of_letter: false,
        trace: None,
    }
}

fn result(record: &Activation) -> String {
    record.response.result.as_deref().map(|result| result.get().to_owned()).unwrap_or_default()
}

fn increment(arguments: &Value) -> Option<Value> {
    Some(json!({"n": arguments["n"].as_i64().unwrap_or(0) + 1}))
}

fn silent(_: &Value) -> Option<Value> {
    None
}

async fn nested() -> World {
    let world = World::new();
    world.action("guest/inc", None, increment).await;
    world.sequence("guest/two", &["guest/inc", "guest/inc"]).await;
    world.sequence("guest/outer", &["guest/two", "guest/inc"]).await;
    world
}

#[tokio::test]
async fn wholes_list_their_parts_and_parts_name_their_cause() {
    let world = nested().await;
    let outer = world.record("guest/outer", r#"{"n":10}"#).await;
    assert_eq!(result(&outer), r#"{"n":13}"#);
    let sent = world.wire.sent.lock().unwrap().clone();
    let two = world.stored(outer.logs[0].parse().unwrap()).await;
    assert_eq!(outer.logs, [two.id.to_string(), sent[2].activation.to_string()]);
    assert_eq!(two.logs, [sent[0].activation.to_string(), sent[1].activation.to_string()]);
    assert_eq!((two.cause, outer.cause), (Some(outer.id), None));
    assert_eq!([sent[0].cause, sent[1].cause, sent[2].cause], [Some(two.id), Some(two.id), Some(outer.id)]);
    assert_eq!((two.duration, outer.duration), (Some(6), Some(9)));
    let note = |record: &Activation, key: &str| record.annotations.get(key).cloned();
    assert_eq!((note(&outer, "topmost"), note(&outer, "causedBy")), (Some(json!(true)), None));
    assert_eq!((note(&two, "topmost"), note(&two, "causedBy")), (Some(json!(false)), Some(json!("sequence"))));
    assert_eq!(note(&outer, "limits").unwrap()["memory"], 128);
    assert_eq!(world.stored(outer.id).await.logs, outer.logs);
    assert_eq!(world.controller.records.promised(), 0, "an answer in time owes nothing to the disk");
}

#[tokio::test]
async fn a_conductor_is_told_what_came_of_what_it_asked_for() {
    let world = World::new();
    world.action("guest/inc", None, increment).await;
    world.sequence("guest/two", &["guest/inc", "guest/inc"]).await;
    world
        .action("guest/cond", Some("conductor"), |arguments| {
            let seen = arguments["seen"].as_array().cloned().unwrap_or_default();
            let seen: Vec<Value> = seen.into_iter().chain([arguments["n"].clone()]).collect();
            Some(match seen.len() {
                1 => json!({"action": "inc", "params": {"n": 1}, "state": {"seen": seen}}),
                2 => json!({"action": "/_/two", "params": {"n": 10}, "state": {"seen": seen}}),
                3 => json!({"action": "none/of/these", "state": {"seen": seen}}),
                _ => json!({"params": {"seen": seen, "last": arguments["error"]}}),
            })
        })
        .await;
    let record = world.record("guest/cond", "{}").await;
    let refused = messages::composition_forbidden("none/of/these");
    assert_eq!(result(&record), json!({"seen": [null, 2, 12, null], "last": refused}).to_string());
    assert_eq!(record.logs.len(), 6, "four runs of the conductor, an action, a sequence");
    assert_eq!(record.annotations.get("conductor"), Some(&json!(true)));
    assert_eq!(world.all().await.len(), 2, "the composition, and the sequence in it");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_runs_out_is_a_promise_and_the_run_goes_on() {
    let world = World::new();
    world.action("guest/slow", None, silent).await;
    world.sequence("guest/s", &["guest/slow"]).await;
    let answer = world.invoke("guest/s", "{}", Some(Duration::from_millis(50))).await;
    let Ok(Invoked::Accepted(id)) = answer else { panic!("it cannot be over") };
    assert_eq!(world.controller.records.promised(), 1);
    world.wire.answer(&world.wire.last(), &json!({"done": 1}));
    world.controller.close().await;
    assert_eq!(result(&world.stored(id).await), r#"{"done":1}"#);
    assert_eq!(world.controller.records.promised(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_on_when_its_caller_goes_away() {
    let world = World::new();
    world.action("guest/slow", None, silent).await;
    world.sequence("guest/s", &["guest/slow"]).await;
    let gone = tokio::time::timeout(Duration::from_millis(10), world.invoke("guest/s", "{}", Some(MINUTE))).await;
    assert!(gone.is_err());
    world.wire.answer(&world.wire.last(), &json!({"done": 1}));
    world.controller.close().await;
    assert_eq!(world.all().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_does_not_answer_is_the_end() {
    let world = World::new();
    world.action("guest/slow", None, silent).await;
    world.sequence("guest/s", &["guest/slow", "guest/slow"]).await;
    let Ok(Invoked::Accepted(id)) = world.invoke("guest/s", "{}", None).await else { panic!("nobody waits") };
    world.controller.close().await;
    let record = world.stored(id).await;
    let part = world.wire.last().activation;
    assert_eq!(result(&record), json!({"error": messages::component_timed_out(part)}).to_string());
    assert_eq!((record.response.status, record.logs), (Status::WhiskError, vec![part.to_string()]));
}

/// Everything that runs is dropped with its runtime, as a killed process drops it.
#[test]
fn what_was_accepted_and_cut_off_is_recorded_once_as_interrupted() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (store, folder, accepted, done) = first.block_on(async {
        let world = World::new();
        world.action("guest/slow", None, silent).await;
        world.action("guest/inc", None, increment).await;
        world.sequence("guest/s", &["guest/inc", "guest/slow"]).await;
        world.sequence("guest/quick", &["guest/inc"]).await;
        let Ok(Invoked::Accepted(accepted)) = world.invoke("guest/s", "{}", None).await else { panic!("accepted") };
        let Ok(Invoked::Accepted(done)) = world.invoke("guest/quick", "{}", None).await else { panic!("accepted") };
        while world.all().await.is_empty() {
            tokio::task::yield_now().await;
        }
        (world.store.clone(), world.folder.clone(), accepted, done)
    });
    drop(first);
    for life in 1..3 {
        runtime().block_on(async {
            let world = World::on(store.clone(), folder.clone());
            world.controller.records.recover();
            world.controller.close().await;
            assert_eq!(world.all().await.len(), 2, "life {life}");
            let record = world.stored(accepted).await;
            assert_eq!(result(&record), json!({"error": messages::COMPOSITION_INTERRUPTED}).to_string());
            assert_eq!(record.response.status, Status::WhiskError);
            assert_eq!(result(&world.stored(done).await), r#"{"n":1}"#, "the real record stays");
            assert_eq!(world.controller.records.promised(), 0);
        });
    }
}

#[tokio::test]
async fn what_one_may_not_call_one_may_not_call_through_anothers_sequence() {
    let world = World::new();
    world.action("other/secret", None, increment).await;
    world.public_package("other/open").await;
    world.sequence("other/open/s", &["other/secret"]).await;
    let direct = world.invoke("other/open/s", "{}", Some(MINUTE)).await;
    assert!(matches!(direct, Err(Rejection::Forbidden(_))));
    world.sequence("guest/mine", &["other/open/s"]).await;
    let record = world.record("guest/mine", "{}").await;
    assert_eq!(result(&record), json!({"error": messages::not_authorized("other/secret")}).to_string());
    assert!(world.wire.sent.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_contains_itself_ends() {
    let world = World::new();
    world.sequence("guest/s", &["guest/cond"]).await;
    world.action("guest/cond", Some("conductor"), |_| Some(json!({"action": "s"}))).await;
    let record = world.record("guest/s", "{}").await;
    assert_eq!(result(&record), json!({"error": messages::COMPOSITION_TOO_LONG}).to_string());
    world.sequence("guest/ring", &["guest/ring"]).await;
    let world = World::on(world.store.clone(), Arc::new(tempfile::tempdir().unwrap()));
    let record = world.record("guest/ring", "{}").await;
    assert_eq!(result(&record), json!({"error": messages::SEQUENCE_TOO_LONG}).to_string());
}

#[tokio::test]
async fn who_wants_no_records_is_promised_none() {
    let world = nested().await;
    let answer = world.invoke_as(caller(Some(false)), "guest/outer", "{}", None).await;
    assert!(matches!(answer, Ok(Invoked::Accepted(_))));
    assert_eq!(world.controller.records.promised(), 0);
    world.controller.close().await;
    assert!(world.all().await.is_empty());
}

#[tokio::test]
async fn a_sequence_is_checked_before_it_is_stored() {
    let world = nested().await;
    let check = async |name: &str, components: &[&str]| {
        let components: Vec<QualifiedName> = components.iter().map(|name| name.parse().unwrap()).collect();
        match check::check(&world.controller, &name.parse().unwrap(), &components).await {
            Ok(()) => "fine".to_owned(),
            Err(Rejection::Bad(words)) => words,
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(check("guest/new", &["guest/outer", "guest/inc"]).await, "fine");
    assert_eq!(check("guest/new", &[]).await, messages::SEQUENCE_EMPTY);
    assert_eq!(check("guest/new", &["guest/none"]).await, messages::COMPONENT_MISSING);
    assert_eq!(check("guest/new", &["guest/none/a"]).await, messages::COMPONENT_MISSING);
    assert_eq!(check("guest/new", &["guest/new"]).await, messages::SEQUENCE_CYCLIC);
    assert_eq!(check("guest/two", &["guest/outer"]).await, messages::SEQUENCE_CYCLIC);
    assert_eq!(check("guest/new", &["guest/outer", "guest/outer"]).await, messages::SEQUENCE_TOO_LONG);
    assert_eq!(check("guest/new", &["guest/inc"; 6]).await, messages::SEQUENCE_TOO_LONG);
    world.sequence("guest/ring", &["guest/ring"]).await;
    assert_eq!(check("guest/new", &["guest/ring"]).await, messages::SEQUENCE_CYCLIC);
}
