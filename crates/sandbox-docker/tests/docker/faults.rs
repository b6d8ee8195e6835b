//! User code at its worst: its own run says what happened, and neither the
//! server nor a neighbour suffers.

use std::time::Duration;

use serde_json::json;
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout},
};
use whisker_sandbox::{Code, Container, Ended, Error, InitEnd, RunEnd, Sandbox, testing::contract};
use whisker_sandbox_docker::DockerSandbox;
use whisker_testkit::{Archive, Memory, bomb, escapes};

use crate::common::{
    PATIENCE, PYTHON, alone, config, docker, foreign, lines, loaded, once, python, sandbox_with, start,
};

const ECHO: &str = "def main(args):\n    return args\n";

async fn echoes(container: &dyn Container) {
    let answer = contract::answer(container.run(contract::run(9, &json!({ "n": 1 })), PATIENCE).await);
    assert_eq!(answer, json!({ "n": 1 }));
    container.logs(contract::activation(9), 1000).await;
}

#[tokio::test]
async fn who_takes_too_much_memory_dies_alone() {
    let sandbox = sandbox_with(|_| {}).await;
    let neighbour = loaded(&sandbox, PYTHON, 128, ECHO).await;
    let hog = "def main(args):\n    held = []\n    while True:\n        held.append(b'x' * 1000000)\n";
    let (end, _) = once(&sandbox, PYTHON, hog, json!({})).await;
    assert!(matches!(end, RunEnd::Ended(Ended::OutOfMemory)), "{end:?}");
    echoes(&*neighbour).await;
    neighbour.destroy().await;
}

#[tokio::test]
async fn files_in_memory_count_as_memory() {
    let sandbox = sandbox_with(|_| {}).await;
    let fills = "def main(args):\n    try:\n        with open('/tmp/x', 'wb') as f:\n            for _ in range(1000):\n                \
                 f.write(bytes(1 << 20))\n    except OSError as error:\n        return {'errno': error.errno}\n";
    let (end, _) = once(&sandbox, PYTHON, fills, json!({})).await;
    // The disk is full before the memory is.
    assert_eq!(contract::answer(Ok(end)), json!({ "errno": 28 }));
}

#[tokio::test]
async fn a_fork_bomb_is_stopped_by_the_process_cap() {
    let sandbox = sandbox_with(|config| config.processes = 100).await;
    let neighbour = loaded(&sandbox, PYTHON, 128, ECHO).await;
    let bomb = "import os\ndef main(args):\n    while True:\n        try:\n            os.fork()\n        except OSError:\n            pass\n";
    let container = loaded(&sandbox, PYTHON, 256, bomb).await;
    let end = container.run(contract::run(2, &json!({})), Duration::from_secs(1)).await.unwrap();
    assert!(matches!(end, RunEnd::Ended(_)), "{end:?}");
    echoes(&*neighbour).await;
    let started = Instant::now();
    timeout(PATIENCE, container.destroy()).await.expect("a fork bomb can be ended");
    eprintln!("a fork bomb is gone after {:?}", started.elapsed());
    neighbour.destroy().await;
}

#[tokio::test]
async fn an_endless_log_is_cut_and_takes_no_disk() {
    if !alone("faults::an_endless_log_is_cut_and_takes_no_disk").await {
        return;
    }
    let sandbox = sandbox_with(|config| config.log_cap_bytes = 1 << 20).await;
    let memory = Memory::watch();
    for flood in [
        "def main(args):\n    while True:\n        print('flood ' * 100)\n",
        "import os\ndef main(args):\n    while True:\n        os.write(1, b'flood ' * 1000)\n",
        "import os\ndef main(args):\n    while True:\n        os.write(2, b'no end ' * 1000)\n",
    ] {
        let container = loaded(&sandbox, PYTHON, 128, flood).await;
        let end = container.run(contract::run(2, &json!({})), Duration::from_secs(1)).await.unwrap();
        assert!(matches!(end, RunEnd::Ended(Ended::TimedOut)), "{end:?}");
        let logs = container.logs(contract::activation(2), 100_000).await;
        assert!(logs.truncated);
        let length: usize = logs.lines.iter().map(|line| line.text.len()).sum();
        assert!((50_000..=100_000).contains(&length), "{length}");
        container.destroy().await;
    }
    assert!(memory.grown_bytes() < 20 << 20, "{} bytes more", memory.grown_bytes());
}

#[tokio::test]
async fn a_flood_within_the_limit_arrives_whole_and_in_order() {
    let sandbox = sandbox_with(|_| {}).await;
    let code = "import os, sys\ndef main(args):\n    for n in range(50000):\n        print('line', n)\n    return {}\n";
    let (end, logs) = once(&sandbox, PYTHON, code, json!({})).await;
    assert!(matches!(end, RunEnd::Answered(_)), "{end:?}");
    // Cut at the limit that `once` has, and until there each line in its place.
    assert!(logs.truncated && !logs.incomplete);
    assert!(logs.lines.len() > 10_000, "{}", logs.lines.len());
    let whole = &logs.lines[..logs.lines.len() - 1];
    assert!(whole.iter().enumerate().all(|(n, line)| line.text == format!("line {n}")));
}

#[tokio::test]
async fn an_endless_response_is_not_kept() {
    if !alone("faults::an_endless_response_is_not_kept").await {
        return;
    }
    let sandbox = sandbox_with(|_| {}).await;
    let memory = Memory::watch();
    let code = "import os\ndef main(args):\n    os.write(3, b'R ' + os.environ['__OW_ACTIVATION_ID'].encode() + b' {\"x\":\"')\n    \
                for _ in range(2000):\n        os.write(3, b'x' * 100000)\n    os.write(3, b'\"}\\n')\n    return {}\n";
    let (end, logs) = once(&sandbox, PYTHON, code, json!({})).await;
    let RunEnd::TooLong { length_bytes, beginning } = end else { panic!("{end:?} {logs:?}") };
    assert_eq!(length_bytes, 200_000_000 + 8);
    assert_eq!(beginning.len(), 1 << 10);
    assert!(memory.grown_bytes() < 10 << 20, "{} bytes more", memory.grown_bytes());
}

#[tokio::test]
async fn who_ignores_signals_is_killed_at_the_deadline() {
    let sandbox = sandbox_with(|_| {}).await;
    let code = "import signal, time, subprocess\nfor s in range(1, 65):\n    try:\n        signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError):\n        pass\n\
                def main(args):\n    subprocess.Popen(['sleep', '1000'], start_new_session=True)\n    while True:\n        time.sleep(1)\n";
    let container = loaded(&sandbox, PYTHON, 128, code).await;
    let started = Instant::now();
    let run = container.run(contract::run(2, &json!({})), Duration::from_millis(500));
    let end = timeout(PATIENCE, run).await.expect("the deadline holds").unwrap();
    assert!(matches!(end, RunEnd::Ended(Ended::TimedOut)), "{end:?}");
    timeout(PATIENCE, container.destroy()).await.expect("signals cannot be ignored in the end");
    eprintln!("who had 500 ms is gone after {:?}", started.elapsed());
}

#[tokio::test]
async fn who_closes_its_descriptors_ends_only_itself() {
    let sandbox = sandbox_with(|_| {}).await;
    let neighbour = loaded(&sandbox, PYTHON, 128, ECHO).await;
    for close in ["os.close(3)", "os.closerange(0, 1000)"] {
        let code = format!("import os, time\ndef main(args):\n    {close}\n    time.sleep(1000)\n");
        let (end, _) = once(&sandbox, PYTHON, &code, json!({})).await;
        assert!(matches!(end, RunEnd::Ended(Ended::Exited)), "{end:?}");
    }
    echoes(&*neighbour).await;
    neighbour.destroy().await;
}

#[tokio::test]
async fn a_second_init_from_user_code_is_refused() {
    let sandbox = sandbox_with(|_| {}).await;
    let code = r#"
import json, urllib.request, urllib.error
def main(args):
    body = json.dumps({"value": {"name": "x", "main": "main", "code": "def main(args):\n    return {'other': True}", "binary": False}})
    try:
        urllib.request.urlopen("http://127.0.0.1:8080/init", body.encode())
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": json.load(error)}
"#;
    let container = loaded(&sandbox, PYTHON, 128, code).await;
    let refused = json!({ "status": 403, "body": { "error": "Cannot initialize the action more than once." } });
    for number in 2..4 {
        let end = container.run(contract::run(number, &json!({})), PATIENCE).await;
        assert_eq!(contract::answer(end), refused);
        container.logs(contract::activation(number), 1000).await;
    }
    container.destroy().await;
}

#[tokio::test]
async fn orphans_are_taken_leave_of() {
    let sandbox = sandbox_with(|_| {}).await;
    let code = r#"
import os, subprocess, time
def ended(process):
    try:
        return b") Z " in open(f"/proc/{process}/stat", "rb").read()
    except OSError:
        return False  # It was taken leave of while it was looked at.
def main(args):
    for _ in range(20):
        subprocess.run(["sh", "-c", "true & :"])
    left = lambda: sum(ended(name) for name in os.listdir("/proc") if name.isdigit())
    patience = time.time() + 50
    while left() and time.time() < patience:
        time.sleep(0.01)
    return {"left": left()}
"#;
    assert_eq!(python(&sandbox, code).await, json!({ "left": 0 }));
}

#[tokio::test]
async fn archives_that_lead_out_are_refused() {
    let config = spawn_blocking(config).await.unwrap();
    let filter = format!("label=whisker.instance={}", config.instance);
    let sandbox = DockerSandbox::connect(config).await.unwrap();
    let archives = escapes("/tmp", || Archive::default().file("__main__.py", ECHO));
    for (name, archive) in archives {
        let container = sandbox.start(start(PYTHON, 128)).await.unwrap();
        let code = Code::Binary(archive.bytes().into());
        let end = container.init(contract::init(1, &code), PATIENCE).await.unwrap();
        let InitEnd::Failed(said) = end else { panic!("{name}: {end:?}") };
        assert!(said.as_str().unwrap().starts_with("The action's archive has "), "{name}: {said}");
        let filter = filter.clone();
        let found = spawn_blocking(move || {
            let id = docker().ask(&["ps", "-q", "--filter", &filter]);
            docker().ask(&["exec", &id, "sh", "-c", "find / -name '*escaped*' -not -path '/proc/*' 2>/dev/null; true"])
        });
        assert_eq!(found.await.unwrap(), "", "{name}");
        container.destroy().await;
    }
}

#[tokio::test]
async fn a_bomb_of_ten_gigabytes_is_refused_in_little_memory() {
    let sandbox = sandbox_with(|_| {}).await;
    let code = Code::Binary(spawn_blocking(bomb).await.unwrap().into());
    // Whoever took more would be killed instead.
    let container = sandbox.start(start(PYTHON, 100)).await.unwrap();
    let started = Instant::now();
    let end = container.init(contract::init(1, &code), PATIENCE).await.unwrap();
    eprintln!("a bomb of ten gigabytes is refused after {:?}", started.elapsed());
    let InitEnd::Failed(said) = end else { panic!("{end:?}") };
    assert!(said.as_str().unwrap().contains("would unpack to more than"), "{said}");
    container.destroy().await;
}

#[tokio::test]
async fn code_may_be_a_third_of_the_memory() {
    let sandbox = sandbox_with(|_| {}).await;
    let archive = || {
        let mut state = 1u32;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()
        });
        // Nothing that deflate makes smaller.
        let noise: Vec<u8> = noise.take(40 << 20 >> 1).flat_map(|[first, second, ..]| [first, second]).collect();
        Archive::default().file("__main__.py", ECHO).file("noise", noise).bytes()
    };
    let code = spawn_blocking(archive).await.unwrap();
    assert!(code.len() > 40 << 20, "{}", code.len());
    let container = sandbox.start(start(PYTHON, 128)).await.unwrap();
    let end = container.init(contract::init(1, &Code::Binary(code.into())), PATIENCE).await.unwrap();
    assert!(matches!(end, InitEnd::Ready), "{end:?}");
    echoes(&*container).await;
    container.destroy().await;
}

#[tokio::test]
async fn a_missing_sentinel_is_told() {
    let sandbox = sandbox_with(|_| {}).await;
    // It has written one, so that more are expected.
    let container = foreign(&sandbox).await;
    let end = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX";
    contract::answer(container.run(contract::run(2, &json!({ "name": end })), PATIENCE).await);
    let logs = container.logs(contract::activation(2), 1000).await;
    assert!(!logs.incomplete, "a stream alone says nothing yet: {logs:?}");
    container.destroy().await;

    // Standard error cannot be ended, for it is closed: the platform's own image
    // is expected to end it.
    let sandbox = sandbox_with(|config| {
        config.manifest =
            config.manifest.replace("\"dockerskeleton\"", "\"foreign\"").replace("\"openwhisk\"", "\"test\"");
    })
    .await;
    let container = foreign(&sandbox).await;
    contract::answer(container.run(contract::run(2, &json!({ "name": "Ann" })), PATIENCE).await);
    assert_eq!(lines(&*container, 2, true).await, ["ran Ann"]);
    // Its end may come while another runs.
    let next = container.run(contract::run(3, &json!({})), PATIENCE).await;
    assert!(matches!(next, Err(Error::Gone)), "{next:?}");
    container.destroy().await;

    // Of what is cut, no end is missed.
    let container = foreign(&sandbox).await;
    contract::answer(container.run(contract::run(2, &json!({ "name": "x".repeat(5000) })), PATIENCE).await);
    let logs = container.logs(contract::activation(2), 1000).await;
    assert!(logs.truncated && !logs.incomplete, "{logs:?}");
    container.destroy().await;
}
