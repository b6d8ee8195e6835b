#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::OnceLock;

use async_trait::async_trait;
use serde_json::value::RawValue;
use whisker_bus::{ControllerId, Error as BusError, InvokerInstance};
use whisker_entity::{AuthKey, ByteSize, Identity, Parameters, Response, Status, TransactionId, Version};

use super::*;

/// A bus that keeps what it is given and answers when told.
#[derive(Default)]
struct Wire {
    sink: OnceLock<Arc<dyn AckSink>>,
    sent: Mutex<Vec<(Arc<ActivationMessage>, Promise)>>,
    /// To whom, in the same order.
    to: Mutex<Vec<InvokerId>>,
    secured: Mutex<Vec<ActivationId>>,
    full: bool,
    /// Making a message durable takes for ever.
    stuck: bool,
}

#[async_trait]
impl ControllerBus for Wire {
    async fn send(&self, to: InvokerId, message: Arc<ActivationMessage>, promise: Promise) -> Result<(), BusError> {
        if self.full {
            return Err(BusError::Full(1));
        }
        if self.stuck {
            std::future::pending::<()>().await;
        }
        self.sent.lock().unwrap().push((message, promise));
        self.to.lock().unwrap().push(to);
        Ok(())
    }

    async fn secure(&self, activation: ActivationId) -> Result<(), BusError> {
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
        async move { dispatch.invoke(message, want, Some(Duration::from_secs(60))).await }
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
    let outcome = dispatch.invoke(message(1), want, Some(Duration::from_millis(10))).await;
    assert!(matches!(outcome, Ok(Outcome::Accepted)));
    assert_eq!(*wire.secured.lock().unwrap(), [ActivationId::new(0, 1)]);
    assert_eq!(wire.sent.lock().unwrap()[0].1, Promise::Sent);
}

#[tokio::test]
async fn one_that_nobody_waits_for_is_accepted_at_once() {
    let wire = Arc::new(Wire::default());
    assert!(matches!(Dispatch::new(wire.clone()).invoke(message(1), want, None).await, Ok(Outcome::Accepted)));
    assert_eq!(wire.sent.lock().unwrap()[0].1, Promise::Accepted);
}

#[tokio::test]
async fn what_the_bus_refuses_is_not_in_flight() {
    let dispatch = Dispatch::new(Arc::new(Wire { full: true, ..Wire::default() }));
    assert!(dispatch.invoke(message(1), want, None).await.is_err());
    assert_eq!(dispatch.in_flight_total(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_its_caller_leaves_before_it_is_accepted_is_not_in_flight() {
    let dispatch = Dispatch::new(Arc::new(Wire { stuck: true, ..Wire::default() }));
    let left = tokio::time::timeout(Duration::from_secs(1), dispatch.invoke(message(1), want, None)).await;
    assert!(left.is_err());
    assert_eq!(dispatch.in_flight_total(), 0);
}

/// What every activation of these tests wants.
fn want() -> Want {
    let action = Action {
        namespace: "guest".parse().unwrap(),
        name: "guest/a".parse().unwrap(),
        version: Version::FIRST,
        memory_mb: 256,
        concurrency: 1,
        blackbox: false,
    };
    Want { action: Arc::new(action), time_limit: Duration::from_secs(60) }
}

fn ping(id: u32, enabled: bool) -> InvokerPing {
    let instance = InvokerInstance::new(InvokerId(id), ByteSize::bytes(1 << 30));
    InvokerPing { instance, enabled, incarnation: Some(Incarnation(u64::from(id))) }
}

/// A dispatch among others, its bus, and what ends its loop.
fn among(config: Config) -> (Arc<Dispatch>, Arc<Wire>, CancellationToken) {
    let wire = Arc::new(Wire::default());
    let dispatch = Arc::new(Dispatch::among(wire.clone(), ControllerId("0".into()), Incarnation(7), config));
    let cancel = CancellationToken::new();
    let running = dispatch.clone();
    let ends = cancel.clone();
    let tests = std::sync::atomic::AtomicU64::new(1 << 32);
    tokio::spawn(async move {
        let test = || message(tests.fetch_add(1, std::sync::atomic::Ordering::Relaxed).into());
        running.run(test, ends).await;
    });
    (dispatch, wire, cancel)
}

/// Has it send its tests and answers them.
async fn pass_tests(wire: &Wire) {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    let sent = std::mem::take(&mut *wire.sent.lock().unwrap());
    let to = std::mem::take(&mut *wire.to.lock().unwrap());
    for ((message, _), invoker) in sent.iter().zip(to) {
        wire.sink.get().unwrap().acknowledged(ended(message, invoker, false));
    }
}

fn ended(message: &ActivationMessage, invoker: InvokerId, system_error: bool) -> Acknowledgement {
    Acknowledgement::Completion {
        controller: message.controller.clone(),
        transaction: message.transaction.clone(),
        began: 0,
        activation: message.activation,
        system_error,
        invoker,
    }
}

#[tokio::test(start_paused = true)]
async fn an_invoker_is_used_once_it_passed_its_test_and_until_it_says_goodbye() {
    let (dispatch, wire, _cancel) = among(Config::default());
    let refused = |error| matches!(error, Error::Refused(whisker_placement::Refusal::NoInvokers));
    assert!(refused(dispatch.invoke(message(1), want, None).await.unwrap_err()));
    dispatch.hear_invoker(&ping(0, true));
    assert!(refused(dispatch.invoke(message(2), want, None).await.unwrap_err()), "it is not tested yet");
    assert_eq!(dispatch.in_flight_total(), 0);
    pass_tests(&wire).await;
    assert!(matches!(dispatch.invoke(message(3), want, None).await, Ok(Outcome::Accepted)));
    assert_eq!(*wire.to.lock().unwrap(), [InvokerId(0)]);
    dispatch.hear_invoker(&ping(0, false));
    assert!(refused(dispatch.invoke(message(4), want, None).await.unwrap_err()));
}

#[tokio::test(start_paused = true)]
async fn what_is_booked_is_free_again_after_its_end_or_its_time() {
    let (dispatch, wire, _cancel) = among(Config::default());
    for id in 0..2 {
        dispatch.hear_invoker(&ping(id, true));
    }
    pass_tests(&wire).await;
    for n in 1..=3 {
        dispatch.invoke(message(n), want, None).await.unwrap();
    }
    let booked = |dispatch: &Dispatch| dispatch.invokers().unwrap().iter().map(|m| m.booked_mb).sum::<u64>();
    assert_eq!((booked(&dispatch), dispatch.in_flight_total()), (3 * 256, 3));
    let (first, to) = (wire.sent.lock().unwrap()[0].0.clone(), wire.to.lock().unwrap()[0]);
    wire.sink.get().unwrap().acknowledged(ended(&first, to, false));
    assert_eq!((booked(&dispatch), dispatch.in_flight_total()), (2 * 256, 2));
    wire.sink.get().unwrap().undelivered(ActivationId::new(0, 2));
    assert_eq!((booked(&dispatch), dispatch.in_flight_total()), (256, 1));
    // Twice its time limit and a minute, during which its invoker pings.
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        (0..2).for_each(|id| dispatch.hear_invoker(&ping(id, true)));
    }
    assert_eq!((booked(&dispatch), dispatch.in_flight_total()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_caller_whose_message_got_nowhere_hears_so_at_once() {
    let wire = Arc::new(Wire::default());
    let dispatch = Arc::new(Dispatch::new(wire.clone()));
    let caller = tokio::spawn({
        let dispatch = dispatch.clone();
        async move { dispatch.invoke(message(1), want, Some(Duration::from_secs(60))).await }
    });
    tokio::task::yield_now().await;
    wire.sink.get().unwrap().undelivered(ActivationId::new(0, 1));
    assert!(matches!(caller.await.unwrap(), Err(Error::Bus(BusError::Unavailable(None)))));
    assert_eq!(dispatch.in_flight_total(), 0);
}

#[tokio::test(start_paused = true)]
async fn limits_are_shared_by_those_who_ping() {
    let (dispatch, _wire, _cancel) = among(Config::default());
    let limits = |dispatch: &Dispatch| [0, 1, 60].map(|limit| dispatch.share(limit));
    assert_eq!(limits(&dispatch), [0, 1, 60]);
    let other = ControllerPing {
        controller: ControllerId("1".into()),
        enabled: true,
        incarnation: Incarnation(1),
        heard: None,
    };
    dispatch.hear_controller(&other);
    assert_eq!(limits(&dispatch), [0, 1, 36], "a fifth more than the half");
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(limits(&dispatch), [0, 1, 60], "the other one is silent");
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_does_not_hear_itself_says_so() {
    let (dispatch, _wire, _cancel) = among(Config::default());
    let own = ControllerPing {
        controller: ControllerId("0".into()),
        enabled: true,
        incarnation: Incarnation(7),
        heard: None,
    };
    assert!(dispatch.hears_itself(), "it has hardly begun");
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(!dispatch.hears_itself());
    dispatch.hear_controller(&own);
    assert!(dispatch.hears_itself());
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_gives_way_to_its_namesake() {
    let (dispatch, _wire, _cancel) = among(Config::default());
    let other = ControllerPing {
        controller: ControllerId("0".into()),
        enabled: true,
        incarnation: Incarnation(6),
        heard: None,
    };
    let displaced = tokio::time::timeout(Duration::from_secs(5), dispatch.displaced());
    let pinging = async {
        loop {
            dispatch.hear_controller(&other);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        displaced = displaced => displaced.unwrap(),
        () = pinging => {}
    }
}
