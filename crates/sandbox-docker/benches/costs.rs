//! What containers of a daemon cost, beside the floor of the same run: the
//! daemon's own client, `docker run`, and requests to what it started.
//!
//! `cargo bench -p whisker-sandbox-docker` with `cargo build -p
//! whisker-action-proxy` before it; needs root and `dockerd`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for those who measure")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use whisker_sandbox::{Code, Container, Sandbox, Start, testing::contract};
use whisker_sandbox_docker::{Config, DockerSandbox, Network, PullPolicy};
use whisker_testkit::Docker;

const PATIENCE: Duration = Duration::from_secs(60);
const ROUNDS: usize = 15;
const WARM: usize = 500;
const MANIFEST: &str = include_str!("../../../runtimes/manifest.json");

const LANGUAGES: [(&str, &str, &str, &str); 2] = [
    ("nodejs", "nodejs:20", "nodejs", "const main = args => args;"),
    ("python", "python:3.11", "python3", "def main(args):\n    return args\n"),
];

/// Median and 99th percentile in milliseconds.
fn told(times: &mut [Duration]) -> String {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1000.0;
    format!("p50 {:8.2} ms   p99 {:8.2} ms", at(0.5), at(0.99))
}

/// One request on a connection of its own; nothing if nobody listens yet.
fn post(address: &str, path: &str, body: &str) -> Option<String> {
    let address = format!("{address}:8080").parse().unwrap();
    let mut connection = TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok()?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    answer.contains("200 OK").then_some(answer)
}

/// From `docker run` to the first answer of the action, by hand.
fn bare(docker: &Docker, image: &str, code: &str) -> Duration {
    let began = Instant::now();
    let id = docker.ask(&["run", "-d", "--network", "bench", "--memory", "256m", "--memory-swap", "256m", image]);
    let address = docker.ask(&["inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", &id]);
    let init = json!({ "value": { "name": "x", "main": "main", "code": code, "binary": false } }).to_string();
    while post(&address, "/init", &init).is_none() {
        std::thread::yield_now();
    }
    post(&address, "/run", &json!({ "value": { "n": 1 } }).to_string()).unwrap();
    let took = began.elapsed();
    docker.ask(&["rm", "-f", &id]);
    took
}

async fn run(container: &Arc<dyn Container>, number: u64) {
    let end = container.run(contract::run(number, &json!({ "n": number })), PATIENCE).await;
    contract::answer(end);
}

fn main() {
    let docker = Docker::shared();
    docker.ask(&["network", "create", "--internal", "bench"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (language, kind, package, code) in LANGUAGES {
        let image = format!("bench/{language}:1");
        docker.import("bench/base:1", &[package], &[]);
        docker.build(language, "bench/base:1", &image);
        let manifest: serde_json::Value = serde_json::from_str(MANIFEST).unwrap();
        for row in manifest["runtimes"][language].as_array().unwrap() {
            docker.ask(&["tag", &image, &format!("bench/{}:1", row["image"]["name"].as_str().unwrap())]);
        }
        let config = Config {
            host: docker.host(),
            image_prefix: Some("bench".into()),
            image_tag: Some("1".into()),
            pull: PullPolicy::Missing,
            network: Network::Named("bench".into()),
            ..Config::new("benc0000", MANIFEST, folder.path())
        };
        bare(docker, &image, code);
        let mut floor: Vec<Duration> = (0..ROUNDS).map(|_| bare(docker, &image, code)).collect();
        println!("{language:8} docker run to the first answer   {}", told(&mut floor));
        runtime.block_on(async {
            let sandbox = DockerSandbox::connect(config).await.unwrap();
            let start = || Start { kind: kind.to_owned(), memory_mb: 256, concurrent: false };
            let init = || contract::init(1, &Code::Text(code.into()));
            let [mut cold, mut prewarmed, mut pause, mut resume] = [const { Vec::new() }; 4];
            for _ in 0..ROUNDS {
                let began = Instant::now();
                let container = sandbox.start(start()).await.unwrap();
                container.init(init(), PATIENCE).await.unwrap();
                run(&container, 1).await;
                cold.push(began.elapsed());
                container.destroy().await;
            }
            for _ in 0..ROUNDS {
                let container = sandbox.start(start()).await.unwrap();
                // Long enough for any runtime to be up, as it is when someone asks.
                tokio::time::sleep(Duration::from_secs(1)).await;
                let began = Instant::now();
                container.init(init(), PATIENCE).await.unwrap();
                run(&container, 1).await;
                prewarmed.push(began.elapsed());
                container.logs(contract::activation(1), 1 << 20).await;
                let began = Instant::now();
                container.pause().await.unwrap();
                pause.push(began.elapsed());
                let began = Instant::now();
                container.resume().await.unwrap();
                run(&container, 2).await;
                resume.push(began.elapsed());
                container.destroy().await;
            }
            let container = sandbox.start(start()).await.unwrap();
            container.init(init(), PATIENCE).await.unwrap();
            let mut warm = Vec::new();
            for number in 0..WARM as u64 {
                let began = Instant::now();
                run(&container, number).await;
                warm.push(began.elapsed());
                container.logs(contract::activation(number), 1 << 20).await;
            }
            container.destroy().await;
            for (what, mut times) in
                [("cold", cold), ("prewarmed", prewarmed), ("warm", warm), ("pause", pause), ("resume and run", resume)]
            {
                println!("{language:8} {what:32} {}", told(&mut times));
            }
        });
    }
}
