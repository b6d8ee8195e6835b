//! The fake is a member like any other: it passes the contract.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time;
use whisker_sandbox::{
    Code, Ended, Error, InitEnd, RunEnd, Sandbox, Start,
    testing::{Act, Event, Fake, Programs, Seen, Subject, contract},
};

async fn subject() -> Subject {
    Subject { sandbox: Arc::new(Fake::default()), kind: "fake:1".into(), memory_mb: 128, programs: Programs::fake() }
}

whisker_sandbox::sandbox_contract!([tokio::test(start_paused = true)] subject());

fn start() -> Start {
    Start { kind: "fake:1".into(), memory_mb: 256, concurrent: false }
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn what_happened_can_be_read_back() {
    let fake = Fake::new(|event| match event {
        Event::Init(_) => Act::echo(),
        Event::Run { earlier_runs, .. } => Act::answers(format!("{{\"n\":{earlier_runs}}}")),
    });
    let container = fake.start(start()).await.unwrap();
    assert_eq!((fake.alive(), fake.memory_mb()), (1, 256));
    let init = contract::init(1, &Code::Text("any".into()));
    assert!(matches!(container.init(init, MINUTE).await, Ok(InitEnd::Ready)));
    for n in 0..2 {
        let end = container.run(contract::run(n, &json!({})), MINUTE).await;
        assert_eq!(contract::answer(end), json!({ "n": n }));
    }
    drop(container);
    assert_eq!(
        fake.seen(0),
        [
            Seen::Started("fake:1".into(), 256),
            Seen::Init(contract::activation(1)),
            Seen::Run(contract::activation(0)),
            Seen::Run(contract::activation(1)),
            Seen::Destroyed,
        ]
    );
    assert_eq!(fake.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn starts_can_be_slow_and_can_fail() {
    let fake = Fake::default();
    fake.starts_take(MINUTE);
    fake.refuse_starts(1);
    let before = time::Instant::now();
    assert!(matches!(fake.start(start()).await, Err(Error::Host { .. })));
    assert!(fake.start(start()).await.is_ok());
    assert_eq!(before.elapsed(), 2 * MINUTE);
}

#[tokio::test(start_paused = true)]
async fn a_container_can_be_killed_under_its_run() {
    let fake = Fake::new(|_| Act::echo().after(MINUTE));
    let container = fake.start(start()).await.unwrap();
    container.init(contract::init(1, &Code::Text("".into())), 2 * MINUTE).await.unwrap();
    let run = container.run(contract::run(1, &json!({})), 2 * MINUTE);
    let kill = async {
        time::sleep(MINUTE / 2).await;
        fake.kill(0);
    };
    let (end, ()) = tokio::join!(run, kill);
    assert!(matches!(end, Ok(RunEnd::Ended(Ended::Exited))));
    assert_eq!(fake.seen(0).last(), Some(&Seen::Died));
}
