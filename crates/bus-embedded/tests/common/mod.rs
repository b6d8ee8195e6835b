//! A bus in a temporary folder, and messages to send over it.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "each test takes what it needs")]

use std::path::Path;
use std::sync::Arc;
use std::task::Poll;

use whisker_bus::{ActivationMessage, Delivery, InvokerBus, InvokerId};
use whisker_bus_embedded::{Config, EmbeddedBus, Recovered};
use whisker_entity::ActivationId;
use whisker_journal::Durability;

/// The one invoker.
pub const INVOKER: InvokerId = InvokerId(0);

/// Settings with a short queue and small segments.
pub fn config(folder: &Path, durability: Durability) -> Config {
    let journal =
        whisker_journal::Config { durability, segment_bytes: 64 << 10, ..whisker_journal::Config::new(folder) };
    Config { queue_messages: 8, ..Config::new(journal) }
}

/// Opens a bus with [`config`].
pub fn open(folder: &Path, durability: Durability) -> (Arc<EmbeddedBus>, Recovered) {
    let (bus, recovered) = EmbeddedBus::open(config(folder, durability)).unwrap();
    (Arc::new(bus), recovered)
}

/// The id number `n`.
pub fn id(n: u64) -> ActivationId {
    ActivationId::new(1_700_000_000_000, u128::from(n))
}

/// The message with the id number `n`.
pub fn message(n: u64) -> Arc<ActivationMessage> {
    message_with(n, r#"{"name":"Ann","n":1e400}"#)
}

/// The message with the id number `n` and those arguments.
pub fn message_with(n: u64, content: &str) -> Arc<ActivationMessage> {
    let text = format!(
        concat!(
            r#"{{"transid":["abc",1700000000000],"action":{{"path":"guest","name":"hello","version":"0.0.1"}},"#,
            r#""revision":"1-d41d8c","user":{{"subject":"guest","namespace":{{"name":"guest","uuid":"u"}},"#,
            r#""authkey":{{"api_key":"u:{key}"}},"rights":[],"limits":{{}}}},"activationId":"{id}","#,
            r#""rootControllerIndex":{{"asString":"0","instanceType":"controller"}},"blocking":true,"#,
            r#""content":{content},"initArgs":[],"lockedArgs":{{}}}}"#
        ),
        key = "k".repeat(64),
        id = id(n),
        content = content,
    );
    Arc::new(serde_json::from_str(&text).unwrap())
}

/// The next message if one is there now.
pub async fn receive_now(bus: &EmbeddedBus) -> Option<Delivery> {
    let mut receive = bus.receive();
    match std::future::poll_fn(|context| Poll::Ready(receive.as_mut().poll(context))).await {
        Poll::Ready(delivery) => delivery,
        Poll::Pending => None,
    }
}

/// All that is there now.
pub async fn receive_all(bus: &EmbeddedBus) -> Vec<Delivery> {
    let mut all = Vec::new();
    while let Some(delivery) = receive_now(bus).await {
        all.push(delivery);
    }
    all
}
