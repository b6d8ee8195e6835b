//! What containers cost, beside what a bare process costs on the same machine
//! in the same run. `cargo bench -p whisker-sandbox-process`, as root.
//!
//! Prints medians; ratios are what to compare between machines.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people to run")]

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use whisker_sandbox::{Code, Container, Sandbox, Start, testing::contract};
use whisker_sandbox_process::{Config, Nat, Network, ProcessSandbox};

const PATIENCE: Duration = Duration::from_secs(30);
const WARM: usize = 20_000;
const COLD: usize = 30;

fn median(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1e6;
    format!("{:>9.1} µs   (p99 {:>9.1} µs)", at(50), at(99))
}

/// A line to a bare child and back over two pipes, from one thread.
fn bare(command: &[&str]) -> Vec<Duration> {
    let mut child =
        Command::new(command[0]).args(&command[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut line = String::new();
    let mut trip = || {
        let started = Instant::now();
        input.write_all(b"{\"value\":{\"name\":\"world\"}}\n").unwrap();
        line.clear();
        output.read_line(&mut line).unwrap();
        started.elapsed()
    };
    for _ in 0..1000 {
        trip();
    }
    let times = (0..WARM).map(|_| trip()).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    times
}

async fn warm(container: &dyn Container) -> Vec<Duration> {
    let argument = json!({ "name": "world" });
    let mut times = Vec::with_capacity(WARM);
    for number in 0..WARM as u64 + 1000 {
        let run = contract::run(number + 10, &argument);
        let started = Instant::now();
        let end = container.run(run, PATIENCE).await;
        let took = started.elapsed();
        contract::answer(end);
        container.logs(contract::activation(number + 10), 1 << 20).await;
        if number >= 1000 {
            times.push(took);
        }
    }
    times
}

fn start(kind: &str) -> Start {
    Start { kind: kind.to_owned(), memory_mb: 256, concurrent: false }
}

async fn loaded(sandbox: &ProcessSandbox, kind: &str, code: &str) -> std::sync::Arc<dyn Container> {
    let container = sandbox.start(start(kind)).await.unwrap();
    container.init(contract::init(1, &Code::Text(code.into())), PATIENCE).await.unwrap();
    container
}

#[tokio::main]
async fn main() {
    const NODE: &str = "const main = args => ({ greeting: 'hello ' + args.name });";
    const PYTHON: &str = "def main(args):\n    return {'greeting': 'hello ' + args['name']}\n";
    const NODE_CHILD: &str = "process.stdin.on('data', data => { for (const line of data.toString().trim().split('\\n')) \
        { const { value } = JSON.parse(line); require('fs').writeSync(1, JSON.stringify({ greeting: 'hello ' + value.name }) + '\\n'); } });";
    let folder = tempfile::tempdir().unwrap();
    for (name, network) in [("none", Network::None), ("nat", Network::Nat(Nat { spare: 40, ..Nat::default() }))] {
        let mut config = Config::new(folder.path().join(name));
        config.network = network;
        let started = Instant::now();
        let sandbox = ProcessSandbox::new(config).unwrap();
        println!("network {name}: sandbox made in       {:>9.1} µs", started.elapsed().as_secs_f64() * 1e6);
        for (kind, code) in [("nodejs:20", NODE), ("python:3.11", PYTHON)] {
            loaded(&sandbox, kind, code).await.destroy().await;
            let (mut starts, mut inits, mut runs, mut ends, mut pauses, mut resumes) =
                (vec![], vec![], vec![], vec![], vec![], vec![]);
            for _ in 0..COLD {
                let mark = Instant::now();
                let container = sandbox.start(start(kind)).await.unwrap();
                starts.push(mark.elapsed());
                container.init(contract::init(1, &Code::Text(code.into())), PATIENCE).await.unwrap();
                inits.push(mark.elapsed());
                contract::answer(container.run(contract::run(1, &json!({ "name": "x" })), PATIENCE).await);
                runs.push(mark.elapsed());
                let mark = Instant::now();
                container.pause().await.unwrap();
                pauses.push(mark.elapsed());
                let mark = Instant::now();
                container.resume().await.unwrap();
                contract::answer(container.run(contract::run(2, &json!({ "name": "x" })), PATIENCE).await);
                resumes.push(mark.elapsed());
                let mark = Instant::now();
                container.destroy().await;
                ends.push(mark.elapsed());
            }
            println!("{kind}: start returns               {}", median(starts));
            println!("{kind}: start to initialised        {}", median(inits));
            println!("{kind}: start to first answer       {}", median(runs));
            println!("{kind}: pause                       {}", median(pauses));
            println!("{kind}: resume and run              {}", median(resumes));
            println!("{kind}: destroy                     {}", median(ends));
            let container = loaded(&sandbox, kind, code).await;
            println!("{kind}: warm run                    {}", median(warm(&*container).await));
            container.destroy().await;
        }
    }
    println!("bare node child, a line and back      {}", median(bare(&["/usr/bin/node", "-e", NODE_CHILD])));
    let cold = (0..COLD).map(|_| {
        let started = Instant::now();
        Command::new("/usr/bin/node").args(["-e", "1"]).status().unwrap();
        started.elapsed()
    });
    println!("bare node, start to end               {}", median(cold.collect()));
}
