//! Which image, how it is had, and what is said when it is not.

use std::fs;

use serde_json::json;
use tokio::task::spawn_blocking;
use whisker_sandbox::{Code, Error, ImageFault, InitEnd, RunEnd, Sandbox, black_box, testing::contract};
use whisker_sandbox_docker::{DockerSandbox, PullPolicy, Unavailable};

use crate::{
    common::{NODEJS, PATIENCE, config, docker, foreign, lines, sandbox_with, start},
    registry::Registry,
};

fn message(started: Result<impl Sized, Error>) -> String {
    started.map(|_| ()).unwrap_err().to_string()
}

#[tokio::test]
async fn a_black_box_runs_with_and_without_code() {
    let sandbox = sandbox_with(|_| {}).await;
    let container = foreign(&sandbox).await;
    for (argument, expected) in [
        (json!({ "name": "Ann" }), r#"Answered(RawValue({"name": "Ann"}))"#),
        (json!({ "raw": "7" }), r#"Nonsense("7")"#),
        (json!({ "raw": "{\"error\":\"no\"}", "status": 502 }), r#"Failed(String("no"))"#),
        (json!({ "raw": "no", "status": 500 }), r#"Nonsense("no")"#),
        (json!({ "raw": "[1]", "close": true }), "Answered(RawValue([1]))"),
        (json!({ "raw": "[2]" }), "Answered(RawValue([2]))"),
    ] {
        let end = container.run(contract::run(2, &argument), PATIENCE).await.unwrap();
        assert_eq!(format!("{end:?}"), expected, "{argument}");
        // No sentinel comes: what is there is taken.
        let expected = format!("ran {}", argument["name"].as_str().unwrap_or("None"));
        assert_eq!(lines(&*container, 2, false).await, [expected]);
    }
    container.destroy().await;
    let container = sandbox.start(start(&black_box(crate::common::FOREIGN), 128)).await.unwrap();
    let init = contract::init(1, &Code::Binary(vec![b'x'; 100_000].into()));
    assert!(matches!(container.init(init, PATIENCE).await, Ok(InitEnd::Ready)));
    container.destroy().await;
}

#[tokio::test]
async fn a_server_that_ends_has_its_run_done_elsewhere() {
    let sandbox = sandbox_with(|_| {}).await;
    let container = foreign(&sandbox).await;
    let end = container.run(contract::run(2, &json!({ "status": 503 })), PATIENCE).await;
    assert!(matches!(end, Err(Error::Gone)), "{end:?}");
    container.destroy().await;
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let sandbox = sandbox_with(|config| config.image_tag = Some("2".into())).await;
    let said = message(sandbox.start(start(NODEJS, 128)).await);
    assert!(said.contains("its image test/action-nodejs-v20:2 is neither here"), "{said}");
    assert!(message(sandbox.start(start("cobol:85", 128)).await).contains("no such kind"));

    spawn_blocking(|| docker().build_own("FROM test/base:1\nCMD [\"/none/such\"]\n", &[], "test/empty:1"))
        .await
        .unwrap();
    let started = sandbox.start(start(&black_box("test/empty:1"), 128)).await;
    match started.map(|_| ()) {
        Err(Error::Image(fault)) => assert_eq!(fault, ImageFault::NoCommand("test/empty:1".into())),
        other => panic!("{other:?}"),
    }
    spawn_blocking(|| docker().build_own("FROM test/base:1\nLABEL for=nothing\n", &[], "test/nothing:1"))
        .await
        .unwrap();
    let started = sandbox.start(start(&black_box("test/nothing:1"), 128)).await;
    match started.map(|_| ()) {
        Err(Error::Image(fault)) => assert_eq!(fault, ImageFault::Nothing("test/nothing:1".into())),
        other => panic!("{other:?}"),
    }
    spawn_blocking(|| docker().build_own("FROM test/base:1\nCMD [\"false\"]\n", &[], "test/ends:1")).await.unwrap();
    let container = sandbox.start(start(&black_box("test/ends:1"), 128)).await.unwrap();
    let end = container.init(contract::init(1, &Code::Text("".into())), PATIENCE).await.unwrap();
    assert!(matches!(end, InitEnd::Ended(whisker_sandbox::Ended::Exited)), "{end:?}");
    container.destroy().await;
}

#[tokio::test]
async fn pulls_of_the_same_image_are_one() {
    let registry = Registry::start(None);
    let sandbox = sandbox_with(|config| config.pull = PullPolicy::Always).await;
    let kind = black_box(&registry.image(""));
    // The image has no program, which is found out once it was pulled.
    let starts = (0..8).map(|_| sandbox.start(start(&kind, 128)));
    for started in futures::future::join_all(starts).await {
        let said = message(started);
        assert!(said.contains("no such program"), "{said}");
    }
    assert_eq!(registry.pulls(), 1);
    // The newest is wanted each time.
    message(sandbox.start(start(&kind, 128)).await);
    assert_eq!(registry.pulls(), 2);
}

#[tokio::test]
async fn a_registry_is_shown_the_credentials_for_it() {
    // With letters that the two alphabets of base64 write differently.
    let password = "~~~???>>>";
    let registry = Registry::start(Some(&format!("me:{password}")));
    let kind = black_box(&registry.image(":latest"));
    let sandbox = sandbox_with(|config| config.pull = PullPolicy::Always).await;
    let refused = sandbox.start(start(&kind, 128)).await;
    match refused.map(|_| ()) {
        Err(Error::Image(fault)) => assert_eq!(fault, ImageFault::NotPulled(registry.image(":latest"))),
        other => panic!("{other:?}"),
    }
    assert!(registry.refused() > 0 && registry.pulls() == 0);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    let auth = whisker_testkit::base64(format!("me:{password}").as_bytes());
    fs::write(&file, json!({ "auths": { registry.address(): { "auth": auth } } }).to_string()).unwrap();
    let sandbox = sandbox_with(|config| {
        config.pull = PullPolicy::Always;
        config.credentials = Some(file.clone());
    })
    .await;
    let said = message(sandbox.start(start(&kind, 128)).await);
    assert!(said.contains("no such program"), "{said}");
    assert_eq!(registry.pulls(), 1);
}

#[tokio::test]
async fn credentials_that_cannot_be_read_end_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    fs::write(&file, "{ \"auths\": secret }").unwrap();
    let mut config = spawn_blocking(config).await.unwrap();
    config.credentials = Some(file);
    let refused = DockerSandbox::connect(config).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, Unavailable::Credentials { .. }));
    assert!(!refused.to_string().contains("secret"), "{refused}");
}

#[tokio::test]
async fn an_older_copy_does_where_the_tag_is_not_latest() {
    // A registry that nobody is at.
    let image = "127.0.0.1:1/test/foreign";
    let sandbox = sandbox_with(|config| config.pull = PullPolicy::Always).await;
    spawn_blocking(move || {
        for tag in ["1", "latest"] {
            docker().ask(&["tag", crate::common::FOREIGN, &format!("{image}:{tag}")]);
        }
    })
    .await
    .unwrap();
    let container = sandbox.start(start(&black_box(&format!("{image}:1")), 128)).await.unwrap();
    container.destroy().await;
    let said = message(sandbox.start(start(&black_box(image), 128)).await);
    assert!(said.contains("could not be pulled"), "{said}");
}

#[tokio::test]
async fn without_a_daemon_the_start_says_so() {
    let mut config = spawn_blocking(config).await.unwrap();
    config.host = "unix:///none/such".into();
    let refused = DockerSandbox::connect(config).await.map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("no Docker daemon answers at unix:///none/such"), "{refused}");
}

#[tokio::test]
async fn a_result_that_never_ends_is_cut() {
    let sandbox = sandbox_with(|_| {}).await;
    let container = foreign(&sandbox).await;
    let end = container.run(contract::run(2, &json!({ "endless": true })), PATIENCE).await.unwrap();
    let RunEnd::TooLong { length_bytes, beginning } = end else { panic!("{end:?}") };
    assert!(length_bytes > 1 << 20 && beginning.len() == 1 << 10);
    container.destroy().await;
}
