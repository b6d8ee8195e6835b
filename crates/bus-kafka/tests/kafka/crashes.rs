//! `kill -9`: what was accepted is there, what was begun says so, and what a
//! dead invoker had not begun another one runs.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use whisker_bus::{InvokerBus, Redelivered};
use whisker_bus_kafka::Config;
use whisker_testkit::Kafka;

use crate::common::{Controller, Invoker, LONG, config, config_of, id, impatient, number, until};

const BROKERS: &str = "WHISKER_TEST_BROKERS";
const PREFIX: &str = "WHISKER_TEST_PREFIX";
const ROLE: &str = "WHISKER_TEST_ROLE";

/// One write a line, so that the kill cannot leave half of it unsaid.
fn say(word: &str, n: u64) {
    std::io::stdout().lock().write_all(format!("{word} {n}\n").as_bytes()).unwrap();
}

/// Not a test by itself: the process that is killed.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let config = impatient(config_of(&std::env::var(BROKERS).unwrap(), &std::env::var(PREFIX).unwrap()));
    println!();
    match role.as_str() {
        "controller" => {
            let controller = Controller::connect(&config, "0").await;
            for n in 0.. {
                controller.accept(0, n).await;
                say("accepted", n);
            }
        }
        // Takes all, begins the even ones, ends every fourth.
        "invoker" => {
            let invoker = Invoker::connect(&config, 0).await;
            loop {
                let id = invoker.next().await.message.activation;
                let n = number(id);
                if n.is_multiple_of(2) {
                    invoker.bus.starting(id).await.unwrap();
                    say("began", n);
                }
                if n.is_multiple_of(4) {
                    invoker.bus.done(&[id]).await.unwrap();
                }
                say("took", n);
            }
        }
        // Begins one after the other, and ends each.
        "worker" => {
            let invoker = Invoker::connect(&config, 0).await;
            loop {
                let id = invoker.next().await.message.activation;
                if invoker.bus.starting(id).await.is_ok() {
                    say("began", number(id));
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    invoker.bus.done(&[id]).await.unwrap();
                }
            }
        }
        role => panic!("{role}"),
    }
}

/// A child that is killed with this value.
struct Mortal {
    process: Child,
    lines: Option<Lines>,
}

type Lines = BufReader<ChildStdout>;

/// All that a child says until it ends.
fn said(mut lines: Lines) -> impl Iterator<Item = (String, u64)> {
    std::iter::from_fn(move || next(&mut lines))
}

fn next(lines: &mut Lines) -> Option<(String, u64)> {
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        let said = line.strip_suffix('\n').and_then(|line| line.split_once(' '));
        if let Some((word @ ("accepted" | "began" | "took"), Ok(n))) = said.map(|(word, n)| (word, n.parse())) {
            return Some((word.to_owned(), n));
        }
        line.clear();
    }
    None
}

/// Has a process hang, or lets it go on.
fn signal(process: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap().success());
}

impl Mortal {
    fn start(config: &Config, role: &str) -> Mortal {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crashes::child", "--nocapture", "--test-threads=1"])
            .env(BROKERS, &config.brokers)
            .env(PREFIX, &config.prefix)
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Some(BufReader::new(process.stdout.take().unwrap()));
        Mortal { process, lines }
    }

    /// What it says next.
    fn next(&mut self) -> Option<(String, u64)> {
        next(self.lines.as_mut()?)
    }

    /// Whoever has them hears what it says.
    fn take_lines(&mut self) -> Lines {
        self.lines.take().unwrap()
    }

    /// Kills it; what it had said until then.
    fn kill(mut self) -> Vec<(String, u64)> {
        self.process.kill().unwrap();
        said(self.take_lines()).collect()
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_there_whoever_dies_right_after() {
    let kafka = Kafka::shared();
    let config = config(&kafka);
    let mut accepted = BTreeSet::new();
    let (config_2, rest) = (config.clone(), tokio::task::spawn_blocking);
    let said = rest(move || {
        let mut controller = Mortal::start(&config_2, "controller");
        let mut said: Vec<u64> = (0..200).map(|_| controller.next().unwrap().1).collect();
        said.extend(controller.kill().into_iter().map(|(_, n)| n));
        said
    })
    .await
    .unwrap();
    accepted.extend(said);
    assert!(accepted.len() >= 200);
    let invoker = Invoker::connect(&config, 0).await;
    while !accepted.is_empty() {
        accepted.remove(&number(invoker.run().await));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_invoker_had_comes_to_its_next_life_and_says_what_it_is() {
    let kafka = Kafka::shared();
    let config = impatient(config(&kafka));
    let controller = Controller::connect(&config, "0").await;
    (killed_invoker(&config, &controller).await).look_at(&Invoker::connect(&config, 0).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_invoker_had_comes_to_the_next_invoker() {
    let kafka = Kafka::shared();
    let config = impatient(config(&kafka));
    let (controller, next) = tokio::join!(Controller::connect(&config, "0"), Invoker::connect(&config, 1));
    let left = killed_invoker(&config, &controller).await;
    left.look_at(&next).await;
    // Once it is back it reads for itself.
    let back = Invoker::connect(&config, 0).await;
    controller.accept(0, 1000).await;
    let (reader, delivery) = tokio::select! {
        delivery = next.next() => (&next, delivery),
        delivery = back.next() => (&back, delivery),
    };
    assert_eq!((delivery.message.activation, delivery.redelivered), (id(1000), Redelivered::No));
    reader.bus.starting(id(1000)).await.unwrap();
    reader.bus.done(&[id(1000)]).await.unwrap();
    for invoker in [&next, &back] {
        until("nothing held", || invoker.bus.load() == (0, 0)).await;
    }
}

/// An invoker that hangs is taken for dead. When it goes on it still has
/// messages, and runs none of those that others have by now.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_taken_for_dead_runs_nothing_twice() {
    const COUNT: usize = 100;
    let kafka = Kafka::shared();
    let config = impatient(config(&kafka));
    let (controller, next) = tokio::join!(Controller::connect(&config, "0"), Invoker::connect(&config, 1));
    let config_2 = config.clone();
    let mut worker = tokio::task::spawn_blocking(move || Mortal::start(&config_2, "worker")).await.unwrap();
    let (there, lines) = (worker.process.id(), worker.take_lines());
    for n in 0..COUNT as u64 {
        controller.accept(0, n).await;
    }
    let began: Arc<Mutex<Vec<u64>>> = Arc::default();
    let hearing = std::thread::spawn({
        let began = Arc::clone(&began);
        move || said(lines).for_each(|(_, n)| began.lock().unwrap().push(n))
    });
    until("a few runs", || began.lock().unwrap().len() >= 10).await;
    signal(there, "STOP");

    let (mut ran, mut interrupted) = (BTreeSet::new(), BTreeSet::new());
    let all = |ran: &BTreeSet<u64>, interrupted: &BTreeSet<u64>| {
        let began = began.lock().unwrap();
        began.iter().chain(ran).chain(interrupted).collect::<BTreeSet<_>>().len() == COUNT
    };
    let start = tokio::time::Instant::now();
    while !all(&ran, &interrupted) {
        assert!(start.elapsed() < LONG * 2, "{began:?} {ran:?} {interrupted:?}");
        let Ok(delivery) = tokio::time::timeout(Duration::from_millis(100), next.bus.receive()).await else { continue };
        let delivery = delivery.unwrap();
        let id = delivery.message.activation;
        if delivery.redelivered == Redelivered::AfterStart {
            interrupted.insert(number(id));
        } else if next.bus.starting(id).await.is_ok() {
            assert!(ran.insert(number(id)), "{id} ran twice");
        } else {
            continue;
        }
        next.bus.done(&[id]).await.unwrap();
        if ran.len() == 20 {
            signal(there, "CONT");
        }
    }
    drop(worker);
    hearing.join().unwrap();
    let began = began.lock().unwrap();
    let there: BTreeSet<u64> = began.iter().copied().collect();
    assert_eq!(there.len(), began.len(), "none ran twice there");
    assert_eq!(there.intersection(&ran).count(), 0, "nor here and there");
    // It may have hung between its claim and saying so.
    assert!(interrupted.difference(&there).count() <= 1, "what was interrupted had begun");
}

/// What an invoker left behind when it was killed.
struct Left {
    began: BTreeSet<u64>,
    waited_for: u64,
    count: u64,
}

/// Sends messages to an invoker that is killed when it has taken them all.
/// Then one more that it never saw.
async fn killed_invoker(config: &Config, controller: &Controller) -> Left {
    let (config_2, count) = (config.clone(), 40);
    let invoker = tokio::task::spawn_blocking(move || Mortal::start(&config_2, "invoker")).await.unwrap();
    for n in 0..count {
        controller.accept(0, n).await;
    }
    // A client waits for this one. It is odd, so that it is not begun.
    let waited_for = count + 1;
    controller.send(0, waited_for).await;
    let said = tokio::task::spawn_blocking(move || {
        let mut invoker = invoker;
        let mut said = Vec::new();
        while !said.contains(&("took".to_owned(), waited_for)) {
            said.push(invoker.next().unwrap());
        }
        said.extend(invoker.kill());
        said
    })
    .await
    .unwrap();
    controller.accept(0, count).await;
    let began = said.into_iter().filter(|(word, _)| word == "began").map(|(_, n)| n).collect();
    Left { began, waited_for, count }
}

impl Left {
    /// All of it comes, each once, and what was begun says so.
    async fn look_at(self, invoker: &Invoker) {
        let Left { began, waited_for, count } = self;
        // Those that were done and seen to be are not among it.
        let mut missing: BTreeSet<u64> = (0..=count).filter(|n| !n.is_multiple_of(4) || *n == count).collect();
        missing.insert(waited_for);
        while !missing.is_empty() {
            let delivery = invoker.next().await;
            let n = number(delivery.message.activation);
            let expected = match began.contains(&n) || n == waited_for {
                true => Redelivered::AfterStart,
                false => Redelivered::No,
            };
            assert_eq!(delivery.redelivered, expected, "{n}");
            assert!(missing.remove(&n) || (n.is_multiple_of(4) && began.contains(&n)), "{n} came twice");
            if expected == Redelivered::No {
                invoker.bus.starting(id(n)).await.unwrap();
            }
            invoker.bus.done(&[id(n)]).await.unwrap();
        }
    }
}
