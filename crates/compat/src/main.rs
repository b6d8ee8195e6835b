//! `replay --url URL --guest AUTH --system AUTH [FILE ...]`: plays recorded
//! exchanges and scenarios against a server, ours or any other OpenWhisk, and
//! prints every difference.

#![expect(clippy::print_stdout, reason = "a command's output")]

use std::{
    collections::BTreeMap,
    env,
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    process::ExitCode,
};

use whisker_compat::{Auths, Differences, Document, Replay, guide};

const USAGE: &str = "\
usage: replay --url http://HOST:PORT --guest UUID:KEY --system UUID:KEY [FILE ...]
       replay --write-guide

Plays the files, or all of compat/golden and compat/scenarios that need no
settings of their own. The users must be called guest and whisk.system.";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments == ["--write-guide"] {
        let (_, right) = guide::texts(&Differences::read());
        std::fs::write(guide::path(), right).expect("the guide can be written");
        return ExitCode::SUCCESS;
    }
    match asked(arguments) {
        Ok((address, auths, files)) => replay(address, &auths, &files),
        Err(wrong) => {
            eprintln!("{wrong}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn asked(arguments: Vec<String>) -> Result<(SocketAddr, Auths, Vec<PathBuf>), String> {
    let mut flags = BTreeMap::new();
    let mut files = Vec::new();
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        match argument.strip_prefix("--") {
            Some(name) => {
                let value = rest.next().ok_or_else(|| format!("--{name} needs a value"))?;
                flags.insert(name.to_owned(), value);
            }
            None => files.push(argument.into()),
        }
    }
    let mut flag = |name: &str| flags.remove(name).ok_or_else(|| format!("--{name} is missing"));
    let (url, auths) = (flag("url")?, Auths { guest: flag("guest")?, system: flag("system")? });
    if let Some(name) = flags.keys().next() {
        return Err(format!("there is no --{name}"));
    }
    Ok((address(&url)?, auths, files))
}

/// Where a URL leads.
fn address(url: &str) -> Result<SocketAddr, String> {
    let host = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let host = host.ok_or_else(|| format!("{url:?} is not of the form http://127.0.0.1:3233"))?;
    let host = if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let mut found = host.to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
    found.next().ok_or_else(|| format!("{host} has no address"))
}

fn replay(address: SocketAddr, auths: &Auths, files: &[PathBuf]) -> ExitCode {
    let differences = Differences::read();
    let mut paths = files.to_vec();
    if files.is_empty() {
        paths = Document::paths();
        paths.extend(Document::scenario_paths());
    }
    let mut failed = false;
    for path in paths {
        let document = Document::read(&path);
        // Those that need other settings are played only when named.
        if files.is_empty() && document.config.is_some() {
            continue;
        }
        let (tally, failures) = Replay::new(&document, &differences, address, auths).play();
        failures.iter().for_each(|failure| println!("FAIL {failure}"));
        println!("{}: {tally}", document.group);
        failed |= tally.failed > 0;
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
