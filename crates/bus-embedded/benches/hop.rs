//! What the bus costs a message on its way: `cargo bench -p whisker-bus-embedded`.

#![expect(clippy::print_stdout, reason = "its figures are what a bench is for")]
#![expect(clippy::unwrap_used, reason = "a bench may stop at what it did not expect")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::time::Instant;

use common::{INVOKER, message};
use whisker_bus::{ActivationMessage, ControllerBus, InvokerBus, Promise};
use whisker_bus_embedded::{Config, EmbeddedBus};
use whisker_journal::Durability;

const MESSAGES: u64 = 100_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let messages: Vec<_> = (0..MESSAGES).map(message).collect();
    for (what, durability, promise) in [
        ("sent", Durability::Process, Promise::Sent),
        ("accepted, process", Durability::Process, Promise::Accepted),
        ("accepted, power", Durability::Power, Promise::Accepted),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let journal = whisker_journal::Config { durability, ..whisker_journal::Config::new(folder.path()) };
        let limits = Config { queue_messages: MESSAGES as usize, ..Config::new(journal) };
        let bus = Arc::new(EmbeddedBus::open(limits).unwrap().0);
        let rate = runtime.block_on(run(bus, &messages, promise));
        println!("{what:20} {rate:>10.0} messages/s from send to done, 64 senders");
    }
}

async fn run(bus: Arc<EmbeddedBus>, messages: &[Arc<ActivationMessage>], promise: Promise) -> f64 {
    let start = Instant::now();
    let invoker = tokio::spawn({
        let bus = Arc::clone(&bus);
        async move {
            for _ in 0..MESSAGES {
                let id = bus.receive().await.unwrap().message.activation;
                // As an invoker does, which has more than one run at a time.
                let bus = Arc::clone(&bus);
                tokio::spawn(async move {
                    bus.starting(id).await.unwrap();
                    bus.done(&[id]).await.unwrap();
                });
            }
        }
    });
    let senders: Vec<_> = messages
        .chunks(messages.len() / 64 + 1)
        .map(|messages| {
            let (bus, messages) = (Arc::clone(&bus), messages.to_vec());
            tokio::spawn(async move {
                for message in messages {
                    bus.send(INVOKER, message, promise).await.unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    invoker.await.unwrap();
    while bus.depth().held > 0 {
        tokio::task::yield_now().await;
    }
    MESSAGES as f64 / start.elapsed().as_secs_f64()
}
