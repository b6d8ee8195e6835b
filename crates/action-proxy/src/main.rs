//! OpenWhisk's `/init` and `/run` for our own runtime images: the first process
//! of a container, which starts a launcher (`runtimes/README.md`) as its child
//! and speaks frames with it.
//!
//!     whisker-action-proxy [--port 8080] [--folder /tmp/action]
//!         [--compile SCRIPT --toolchain PROGRAM --prepared FOLDER] [--handover] COMMAND [ARGUMENT...]
//!
//! Why not a hidden subcommand of `whisker`: this file is copied into every
//! image and loaded at every cold start, and stands next to user code. A small
//! program that holds nothing but the proxy starts sooner, and offers less to
//! whoever looks around in there, than a server of many times its size.
//!
//! With `WHISKER_COMPILE=stdin` in its environment it compiles, and nothing else:
//! see `once`.
//!
//! Status codes and texts are those of OpenWhisk's own proxy for ActionLoop, but
//! for one: when the launcher ends, this ends too, with the same status and
//! without an answer. So a platform sees what it sees of a process: that it
//! exited, or that its memory was exhausted.

mod answer;
mod compile;
mod launcher;
mod once;
mod order;
mod output;
mod server;

use std::{net::Ipv4Addr, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use tokio::net::TcpListener;

use crate::{compile::Compiler, launcher::Launcher};

/// What was asked for on the command line.
struct Arguments {
    port: u16,
    /// Where code goes.
    folder: PathBuf,
    /// How source becomes a program, where it has to.
    compiler: Option<Compiler>,
    /// Whether the launcher becomes the action's own program.
    handover: bool,
    command: Vec<String>,
}

const USAGE: &str = "usage: whisker-action-proxy [--port PORT] [--folder FOLDER] \
                     [--compile SCRIPT --toolchain PROGRAM --prepared FOLDER] [--handover] COMMAND [ARGUMENT...]";

fn arguments(mut words: impl Iterator<Item = String>) -> anyhow::Result<Arguments> {
    let folder = "/tmp/action".into();
    let mut read = Arguments { port: 8080, folder, compiler: None, handover: false, command: Vec::new() };
    let mut compiler = Compiler { script: PathBuf::new(), program: String::new(), prepared: "/prepared".into() };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--port" => {
                let port = words.next().context(USAGE)?;
                read.port = port.parse().with_context(|| format!("{port:?} is no port"))?;
            }
            "--folder" => read.folder = words.next().context(USAGE)?.into(),
            "--compile" => compiler.script = words.next().context(USAGE)?.into(),
            "--toolchain" => compiler.program = words.next().context(USAGE)?,
            "--prepared" => compiler.prepared = words.next().context(USAGE)?.into(),
            "--handover" => read.handover = true,
            flag if flag.starts_with("--") => bail!("there is no {flag:?}; {USAGE}"),
            _ => {
                read.command = [word].into_iter().chain(words).collect();
                read.compiler = Some(compiler).filter(|compiler| compiler.script != PathBuf::new());
                return Ok(read);
            }
        }
    }
    bail!(USAGE)
}

fn main() -> ExitCode {
    match arguments(std::env::args().skip(1)).and_then(run) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            output::complain(&format!("whisker-action-proxy: {error:#}\n"));
            ExitCode::from(70)
        }
    }
}

/// Serves until the launcher ends; its status.
fn run(arguments: Arguments) -> anyhow::Result<u8> {
    let Arguments { port, folder, compiler, handover, command } = arguments;
    let action = server::Action { folder, compiler, handover };
    if std::env::var_os(once::VARIABLE).is_some_and(|value| value == "stdin") {
        return once::run(&action);
    }
    // One thread: there is one launcher, and what it says has one order.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // The launcher first: it loads while the rest is made ready.
        let (launcher, ended) = Launcher::start(&command)?;
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.context("cannot listen")?;
        // Ends with the process.
        tokio::spawn(server::run(listener, launcher, action));
        Ok(ended.await)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn read(line: &str) -> anyhow::Result<Arguments> {
        arguments(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_follows_the_command_is_its_own() {
        let read = read("--port 1 node --port 2").unwrap();
        assert_eq!((read.port, read.command), (1, vec!["node".to_owned(), "--port".into(), "2".into()]));
    }

    #[test]
    fn a_command_is_needed() {
        for line in ["", "--port", "--port x y", "--prot 1 node"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
