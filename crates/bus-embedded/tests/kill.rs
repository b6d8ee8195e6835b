//! `kill -9`: an accepted message is delivered until it is done, and one that
//! was started says so.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stdout, reason = "the child tells its parent what was answered")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use common::{INVOKER, message, open, receive_all};
use whisker_bus::{ControllerBus, Error, InvokerBus, Promise, Redelivered};
use whisker_journal::Durability;

const FOLDER: &str = "WHISKER_TEST_BUS";
const MODE: &str = "WHISKER_TEST_DURABILITY";
const FIRST: &str = "WHISKER_TEST_FIRST";

fn durability(mode: &str) -> Durability {
    if mode == "power" { Durability::Power } else { Durability::Process }
}

fn say(word: &str, n: u64) {
    // One write a line, so that the kill cannot leave half of it unsaid.
    std::io::stdout().lock().write_all(format!("{word} {n}\n").as_bytes()).unwrap();
}

/// Not a test by itself: the process that is killed. It says what was
/// promised after it was, and what is about to be forgotten before it is.
#[test]
fn child() {
    let (Ok(folder), Ok(mode)) = (std::env::var(FOLDER), std::env::var(MODE)) else { return };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    println!();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let (bus, _) = open(folder.as_ref(), durability(&mode));
        let invoker = {
            let bus = Arc::clone(&bus);
            tokio::spawn(async move {
                let number =
                    |id: whisker_entity::ActivationId| u64::from_be_bytes(id.to_bytes()[8..].try_into().unwrap());
                for turn in 0_u64.. {
                    let delivery = bus.receive().await.unwrap();
                    let id = delivery.message.activation;
                    if turn % 7 == 0 {
                        continue;
                    }
                    say("starting", number(id));
                    bus.starting(id).await.unwrap();
                    say("started", number(id));
                    if turn % 5 != 0 {
                        say("done", number(id));
                        bus.done(&[id]).await.unwrap();
                    }
                }
            })
        };
        for n in first.. {
            let promise = if n % 3 == 0 { Promise::Sent } else { Promise::Accepted };
            loop {
                match bus.send(INVOKER, message(n), promise).await {
                    Ok(()) => break,
                    Err(Error::Full(_)) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
            if promise == Promise::Sent {
                bus.secure(common::id(n)).await.unwrap();
            }
            say("accepted", n);
        }
        invoker.await.unwrap();
    });
}

fn kill_and_look(mode: &str, kills: u64) {
    let folder = tempfile::tempdir().unwrap();
    // Promised and not said to be done, and whether its start was said.
    let mut promised: BTreeMap<u64, bool> = BTreeMap::new();
    let mut done = BTreeSet::new();
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder.path())
            .env(MODE, mode)
            .env(FIRST, (kill * 1_000_000).to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let (mut line, mut seen) = (String::new(), 0);
        let (mut starting, mut started) = (BTreeSet::new(), BTreeSet::new());
        while lines.read_line(&mut line).unwrap() > 0 {
            let said = line.strip_suffix('\n').and_then(|line| line.split_once(' '));
            if let Some((word, Ok(n))) = said.map(|(word, n)| (word, n.parse::<u64>())) {
                match word {
                    "accepted" if !done.contains(&n) => drop(promised.entry(n).or_insert(false)),
                    "starting" => drop(starting.insert(n)),
                    "started" => drop(started.insert(n)),
                    "done" => {
                        promised.remove(&n);
                        done.insert(n);
                    }
                    _ => {}
                }
                seen += 1;
                if seen == 300 + kill * 411 {
                    child.kill().unwrap();
                }
            }
            line.clear();
        }
        child.wait().unwrap();
        for n in &started {
            if let Some(start) = promised.get_mut(n) {
                *start = true;
            }
        }

        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (bus, recovered) = open(folder.path(), durability(mode));
            assert_eq!((recovered.unreadable, recovered.journal.lost.len()), (0, 0));
            let mut found = BTreeMap::new();
            for delivery in receive_all(&bus).await {
                let n = u64::from_be_bytes(delivery.message.activation.to_bytes()[8..].try_into().unwrap());
                let start = delivery.redelivered == Redelivered::AfterStart;
                assert_eq!(found.insert(n, start), None, "{n} was delivered twice");
            }
            for (n, start) in &promised {
                let back = found.get(n).unwrap_or_else(|| panic!("kill {kill}: {n} was accepted and is lost"));
                assert!(!start || *back, "kill {kill}: {n} had started and would run again");
                assert!(!back || *start || starting.contains(n), "kill {kill}: {n} never started");
            }
            // Of what the child said nothing about any more there are at most
            // the message that it was about to promise and, in mode `Power`,
            // those whose release was in the last groups.
            let unsaid = found.keys().filter(|n| !promised.contains_key(n) && !done.contains(n)).count();
            assert!(unsaid <= 1, "kill {kill}: {unsaid} messages from nowhere");
            let back = found.keys().filter(|n| done.contains(n)).count();
            assert!(mode == "power" || back <= 1, "kill {kill}: {back} were done and are back");
            promised = found;
            done.retain(|n| !promised.contains_key(n));
        });
    }
}

#[test]
fn nothing_accepted_is_lost_by_kill_9_in_mode_process() {
    kill_and_look("process", 10);
}

#[test]
fn nothing_accepted_is_lost_by_kill_9_in_mode_power() {
    kill_and_look("power", 5);
}
