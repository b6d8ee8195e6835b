#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::OnceLock;

use async_trait::async_trait;
use serde_json::value::RawValue;
use whisker_bus::ControllerId;
use whisker_entity::{AuthKey, Identity, Parameters, Response, Status, TransactionId, Version};

use super::*;

/// A bus that keeps what it is given and answers when told.
#[derive(Default)]
struct Wire {
    sink: OnceLock<Arc<dyn AckSink>>,
    sent: Mutex<Vec<(Arc<ActivationMessage>, Promise)>>,
    secured: Mutex<Vec<ActivationId>>,
    full: bool,
    /// Making a message durable takes for ever.
    stuck: bool,
}

#[async_trait]
impl ControllerBus for Wire {
    async fn send(&self, _: InvokerId, message: Arc<ActivationMessage>, promise: Promise) -> Result<(), Error> {
        if self.full {
            return Err(Error::Full(1));
        }
        if self.stuck {
            std::future::pending::<()>().await;
        }
        self.sent.lock().unwrap().push((message, promise));
        Ok(())
    }

    async fn secure(&self, activation: ActivationId) -> Result<(), Error> {
        self.secured.lock().unwrap().push(activation);
        Ok(())
    }

    fn subscribe(&self, sink: Arc<dyn AckSink>) {
        let _ = self.sink.set(sink);
    }
}

fn message(id: u128) -> Arc<ActivationMessage> {
    Arc::new(ActivationMessage {
        transaction: TransactionId::system("test"),
        began: 0,
        action: "guest/a".parse().unwrap(),
        version: Version::FIRST,
        binding: None,
        revision: None,
        user: Arc::new(Identity {
            subject: "guest".into(),
            namespace: "guest".parse().unwrap(),
            key: AuthKey::parse(&format!("u:{}", "k".repeat(64))).unwrap(),
            limits: Default::default(),
        }),
        activation: ActivationId::new(0, id),
        controller: ControllerId("0".into()),
        blocking: true,
        content: RawValue::from_string("{}".into()).unwrap().into(),
        init_args: vec![],
        locked_args: Default::default(),
        cause: None,
        trace_context: None,
        of_letter: false,
    })
}

fn result(message: &ActivationMessage) -> Acknowledgement {
    Acknowledgement::Result {
        controller: message.controller.clone(),
        transaction: message.transaction.clone(),
        began: message.began,
        activation: Arc::new(Activation {
            namespace: message.user.namespace.clone(),
            name: message.action.name.clone(),
            subject: "guest".into(),
            id: message.activation,
            start: 1,
            end: 2,
            cause: None,
            response: Response { status: Status::Success, result: None, size: None },
            logs: vec![],
            version: Version::FIRST,
            publish: false,
            annotations: Parameters::default(),
            duration: Some(1),
        }),
    }
}

fn completion(message: &ActivationMessage) -> Acknowledgement {
    Acknowledgement::Completion {
        controller: message.controller.clone(),
        transaction: message.transaction.clone(),
        began: message.began,
        activation: message.activation,
        system_error: false,
        invoker: InvokerId(0),
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_waits_gets_the_result_and_the_place_is_free_after_completion() {
    let wire = Arc::new(Wire::default());
    let dispatch = Arc::new(Dispatch::new(wire.clone()));
    let message = message(1);
    let caller = tokio::spawn({
        let (dispatch, message) = (dispatch.clone(), message.clone());
        async move { dispatch.invoke(message, Some(Duration::from_secs(60))).await }
    });
    tokio::task::yield_now().await;
    wire.sink.get().unwrap().acknowledged(result(&message));
    assert!(matches!(caller.await.unwrap(), Ok(Outcome::Finished(_))));
    assert_eq!(dispatch.in_flight(&message.user.namespace), 1, "logs are still being collected");
    wire.sink.get().unwrap().acknowledged(completion(&message));
    assert_eq!(dispatch.in_flight(&message.user.namespace), 0);
    assert!(wire.secured.lock().unwrap().is_empty(), "an answer in time owes nothing to the disk");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_runs_out_leaves_an_accepted_activation() {
    let wire = Arc::new(Wire::default());
    let dispatch = Dispatch::new(wire.clone());
    let outcome = dispatch.invoke(message(1), Some(Duration::from_millis(10))).await;
    assert!(matches!(outcome, Ok(Outcome::Accepted)));
    assert_eq!(*wire.secured.lock().unwrap(), [ActivationId::new(0, 1)]);
    assert_eq!(wire.sent.lock().unwrap()[0].1, Promise::Sent);
}

#[tokio::test]
async fn one_that_nobody_waits_for_is_accepted_at_once() {
    let wire = Arc::new(Wire::default());
    assert!(matches!(Dispatch::new(wire.clone()).invoke(message(1), None).await, Ok(Outcome::Accepted)));
    assert_eq!(wire.sent.lock().unwrap()[0].1, Promise::Accepted);
}

#[tokio::test]
async fn what_the_bus_refuses_is_not_in_flight() {
    let dispatch = Dispatch::new(Arc::new(Wire { full: true, ..Wire::default() }));
    assert!(dispatch.invoke(message(1), None).await.is_err());
    assert_eq!(dispatch.in_flight_total(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_its_caller_leaves_before_it_is_accepted_is_not_in_flight() {
    let dispatch = Dispatch::new(Arc::new(Wire { stuck: true, ..Wire::default() }));
    let left = tokio::time::timeout(Duration::from_secs(1), dispatch.invoke(message(1), None)).await;
    assert!(left.is_err());
    assert_eq!(dispatch.in_flight_total(), 0);
}
