//! `replay URL GUEST_AUTH SYSTEM_AUTH [GROUP ...]`: replays recorded exchanges
//! against a server and prints every difference from what was recorded.

#![expect(clippy::print_stdout, reason = "a command's output")]

use std::{env, process::ExitCode};

use whisker_compat::{Auths, Differences, Document, Replay, guide};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [word] if word == "--write-guide" => {
            let (_, right) = guide::texts(&Differences::read());
            std::fs::write(guide::path(), right).expect("the guide can be written");
            ExitCode::SUCCESS
        }
        [url, guest, system, groups @ ..] => replay(url, guest, system, groups),
        _ => {
            eprintln!(
                "usage: replay http://ADDRESS:PORT GUEST_AUTH SYSTEM_AUTH [GROUP ...]\n       replay --write-guide"
            );
            ExitCode::from(2)
        }
    }
}

fn replay(url: &str, guest: &str, system: &str, groups: &[String]) -> ExitCode {
    let Some(address) = url.strip_prefix("http://").and_then(|rest| rest.trim_end_matches('/').parse().ok()) else {
        eprintln!("{url:?} is not of the form http://127.0.0.1:3233");
        return ExitCode::from(2);
    };
    let auths = Auths { guest: guest.into(), system: system.into() };
    let differences = Differences::read();
    let mut failed = false;
    for path in Document::paths() {
        let document = Document::read(&path);
        // Those recorded with other settings are replayed only when named.
        if if groups.is_empty() { document.config.is_some() } else { !groups.contains(&document.group) } {
            continue;
        }
        let (tally, failures) = Replay::new(&document, &differences, address, &auths).play();
        failures.iter().for_each(|failure| println!("FAIL {failure}"));
        println!("{}: {tally}", document.group);
        failed |= tally.failed > 0;
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
