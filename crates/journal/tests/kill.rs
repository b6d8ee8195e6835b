//! `kill -9`: every append that was answered is there, every release that
//! returned has held.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stdout, reason = "the child tells its parent what was answered")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use whisker_journal::{Config, Durability, Journal, Token};

const FOLDER: &str = "WHISKER_TEST_JOURNAL";
const MODE: &str = "WHISKER_TEST_DURABILITY";

fn config(folder: &str, mode: &str) -> Config {
    let durability = if mode == "power" { Durability::Power } else { Durability::Process };
    Config { durability, segment_bytes: 64 << 10, ..Config::new(folder) }
}

/// Not a test by itself: the process that is killed. It says `+N` for each
/// append that was answered, and `-N` for each release, and never ends.
#[test]
fn child() {
    let (Ok(folder), Ok(mode)) = (std::env::var(FOLDER), std::env::var(MODE)) else { return };
    let (journal, recovery) = Journal::open(config(&folder, &mode)).unwrap();
    let mut out = std::io::stdout();
    // The harness has begun a line.
    writeln!(out).unwrap();
    // The former lives' entries go, but for a few that have to be carried.
    let old: Vec<Token> = recovery.live.iter().map(|live| live.token).skip(5).collect();
    for token in &old {
        // Said before it is done: from now on it may be there or not.
        writeln!(out, "-{token}").unwrap();
    }
    journal.release_all(old);
    let mut held = Vec::new();
    for n in 0_u64.. {
        let token = journal.append(n as u8, &[n as u8; 700]).wait().unwrap();
        writeln!(out, "+{token}").unwrap();
        held.push(token);
        if held.len() > 100 {
            let token = held.swap_remove((n % 97) as usize);
            journal.release(token);
            writeln!(out, "-{token}").unwrap();
        }
    }
}

fn kill_and_look(mode: &str, kills: u32) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    let mut promised = BTreeSet::new();
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder)
            .env(MODE, mode)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut released = BTreeSet::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let (mut line, mut seen) = (String::new(), 0);
        loop {
            line.clear();
            if lines.read_line(&mut line).unwrap() == 0 {
                break;
            }
            // A line that the kill cut short was not said.
            let Some(said) = line.strip_suffix('\n') else { break };
            let Some((sign, token)) = said.split_at_checked(1) else { continue };
            let Ok(token) = token.parse::<u64>() else { continue };
            match sign {
                "+" => promised.insert(token),
                "-" => promised.remove(&token) & released.insert(token),
                _ => continue,
            };
            seen += 1;
            if seen == 500 + kill * 613 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();

        let (journal, recovery) = Journal::open(config(folder, mode)).unwrap();
        assert_eq!(recovery.lost, []);
        let found: BTreeSet<u64> = recovery.live.iter().map(|live| live.token.to_string().parse().unwrap()).collect();
        let missing: Vec<_> = promised.difference(&found).collect();
        // One release may have been made and not said.
        assert!(missing.len() <= 1, "kill {kill}: missing {missing:?}");
        for live in &recovery.live {
            let entry = journal.read(live.token).unwrap();
            assert_eq!(entry.payload, [live.tag; 700]);
        }
        if mode == "process" {
            // One append may have been made and not said.
            let back = found.intersection(&released).count();
            assert_eq!(back, 0, "kill {kill}: a release that was said was undone");
        }
        promised = found;
    }
}

#[test]
fn nothing_answered_is_lost_by_kill_9_in_mode_process() {
    kill_and_look("process", 12);
}

#[test]
fn nothing_answered_is_lost_by_kill_9_in_mode_power() {
    kill_and_look("power", 6);
}
