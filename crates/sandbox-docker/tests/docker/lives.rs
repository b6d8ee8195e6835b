//! Ends: of containers, however they come, and of their server.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use tokio::{task::spawn_blocking, time};
use whisker_sandbox::{Container, Error, Sandbox, testing::contract};
use whisker_sandbox_docker::{Config, DockerSandbox};
use whisker_testkit::eventually;

use crate::common::{HOST, NODEJS, PATIENCE, PYTHON, artifacts, config, docker, loaded, sandbox_with, start};

const INSTANCE: &str = "WHISKER_TEST_INSTANCE";
const ECHO: &str = "def main(args):\n    return args\n";

/// Containers of an instance, dead or alive.
fn containers(instance: &str) -> Vec<String> {
    let filter = format!("label=whisker.instance={instance}");
    docker().ask(&["ps", "-aq", "--filter", &filter]).lines().map(str::to_owned).collect()
}

/// A server in another process: two containers, one of them paused.
#[tokio::test]
async fn server_for_the_test_below() {
    let (Ok(host), Ok(instance)) = (std::env::var(HOST), std::env::var(INSTANCE)) else { return };
    let manifest = include_str!("../../../../runtimes/manifest.json");
    let folder = artifacts(&host, &instance);
    let config = Config { host, ..Config::new(instance, manifest, folder) };
    let config = Config {
        image_prefix: Some("test".into()),
        image_tag: Some("1".into()),
        network: whisker_sandbox_docker::Network::Named("test".into()),
        ..config
    };
    let sandbox = DockerSandbox::connect(config).await.unwrap();
    let _first = loaded(&sandbox, PYTHON, 128, ECHO).await;
    let second = sandbox.start(start(NODEJS, 128)).await.unwrap();
    second.pause().await.unwrap();
    eprintln!("ready");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn what_a_killed_server_left_is_swept_by_its_next_life_alone() {
    let other = spawn_blocking(config).await.unwrap();
    let other_instance = other.instance.clone();
    let other = DockerSandbox::connect(other).await.unwrap();
    let bystander = loaded(&other, PYTHON, 128, ECHO).await;
    let config = spawn_blocking(config).await.unwrap();
    let (host, instance) = (config.host.clone(), config.instance.clone());
    let left = spawn_blocking(move || {
        let mut server = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "lives::server_for_the_test_below", "--nocapture"])
            .env(HOST, &host)
            .env(INSTANCE, &instance)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(server.stderr.take().unwrap()).lines().map_while(Result::ok);
        let ready = lines.take_while(|line| line.trim() != "ready").collect::<Vec<_>>();
        server.kill().unwrap();
        server.wait().unwrap();
        let left = containers(&instance);
        assert_eq!(left.len(), 2, "{ready:?}");
        instance
    })
    .await
    .unwrap();
    let next = DockerSandbox::connect(config).await.unwrap();
    next.sweep().await.unwrap();
    spawn_blocking(move || {
        assert_eq!(containers(&left), [""; 0]);
        assert_eq!(containers(&other_instance).len(), 1);
    })
    .await
    .unwrap();
    let answer = contract::answer(bystander.run(contract::run(2, &json!({ "n": 1 })), PATIENCE).await);
    assert_eq!(answer, json!({ "n": 1 }));
    bystander.destroy().await;
}

#[tokio::test]
async fn a_container_that_dies_by_itself_is_noticed() {
    let config = spawn_blocking(config).await.unwrap();
    let instance = config.instance.clone();
    let sandbox = DockerSandbox::connect(config).await.unwrap();
    let idle = loaded(&sandbox, PYTHON, 128, ECHO).await;
    assert!(time::timeout(Duration::from_millis(1), idle.died()).await.is_err());
    spawn_blocking(move || {
        let ids = containers(&instance);
        docker().ask(&["kill", &ids[0]]);
    })
    .await
    .unwrap();
    time::timeout(PATIENCE, idle.died()).await.unwrap();
    let end = idle.run(contract::run(2, &json!({})), PATIENCE).await;
    assert!(matches!(end, Err(Error::Gone)), "{end:?}");
    idle.destroy().await;
}

#[tokio::test]
async fn a_container_that_nobody_holds_is_removed() {
    let config = spawn_blocking(config).await.unwrap();
    let instance = config.instance.clone();
    let sandbox = DockerSandbox::connect(config).await.unwrap();
    let container: Arc<dyn Container> = loaded(&sandbox, PYTHON, 128, ECHO).await;
    drop(container);
    let gone = spawn_blocking(move || {
        eventually(PATIENCE, || match containers(&instance).as_slice() {
            [] => Ok(()),
            left => Err(format!("{left:?} are left")),
        });
    });
    gone.await.unwrap();
}

#[tokio::test]
async fn a_start_that_nobody_waits_for_leaves_nothing() {
    let config = spawn_blocking(config).await.unwrap();
    let instance = config.instance.clone();
    let sandbox = DockerSandbox::connect(config).await.unwrap();
    let abandoned = time::timeout(Duration::from_millis(30), sandbox.start(start(PYTHON, 128))).await;
    drop(abandoned);
    let gone = spawn_blocking(move || {
        eventually(PATIENCE, || match containers(&instance).as_slice() {
            [] => Ok(()),
            left => Err(format!("{left:?} are left")),
        });
    });
    gone.await.unwrap();
}

#[tokio::test]
async fn many_starts_at_once_all_come_up() {
    let sandbox = sandbox_with(|config| config.calls = 3).await;
    let starts = (0..8).map(|_| loaded(&sandbox, PYTHON, 64, ECHO));
    let all = futures::future::join_all(starts).await;
    futures::future::join_all(all.iter().map(|container| container.destroy())).await;
}
