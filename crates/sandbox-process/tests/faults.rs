//! User code at its worst: its own run says what happened, and neither the
//! server nor a neighbour suffers. Needs root.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{process::Command, time::Duration};

use common::{PATIENCE, loaded, once, sandbox_with, start};
use serde_json::json;
use tokio::time::{Instant, timeout};
use whisker_sandbox::{Code, Container, Ended, Error, InitEnd, RunEnd, Sandbox, testing::contract};
use whisker_testkit::{Archive, Memory, alone, bomb, escapes};

const ECHO: &str = "def main(args):\n    return args\n";

async fn echoes(container: &dyn Container) {
    let answer = contract::answer(container.run(contract::run(9, &json!({ "n": 1 })), PATIENCE).await);
    assert_eq!(answer, json!({ "n": 1 }));
    container.logs(contract::activation(9), 1000).await;
}

#[tokio::test]
async fn who_takes_too_much_memory_dies_alone() {
    let sandbox = sandbox_with(|_| {});
    let neighbour = loaded(&sandbox, "python:3.11", 128, ECHO).await;
    let hog = "def main(args):\n    held = []\n    while True:\n        held.append(b'x' * 1000000)\n";
    let (end, _) = once(&sandbox, "python:3.11", hog, json!({})).await;
    assert!(matches!(end, RunEnd::Ended(Ended::OutOfMemory)), "{end:?}");
    echoes(&*neighbour).await;
    neighbour.destroy().await;
}

#[tokio::test]
async fn memory_files_count_as_memory() {
    let sandbox = sandbox_with(|_| {});
    let hog = "def main(args):\n    import os\n    for n in range(10):\n        f = os.memfd_create('x')\n        \
               for _ in range(100):\n            os.write(f, bytes(1 << 20))\n    return {}\n";
    let (end, _) = once(&sandbox, "python:3.11", hog, json!({})).await;
    assert!(matches!(end, RunEnd::Ended(Ended::OutOfMemory)), "{end:?}");
}

#[tokio::test]
async fn a_fork_bomb_is_stopped_by_the_process_cap() {
    let sandbox = sandbox_with(|config| config.processes = 100);
    let neighbour = loaded(&sandbox, "python:3.11", 128, ECHO).await;
    let bomb = "import os\ndef main(args):\n    while True:\n        try:\n            os.fork()\n        except OSError:\n            pass\n";
    let container = loaded(&sandbox, "python:3.11", 256, bomb).await;
    let end = container.run(contract::run(2, &json!({})), Duration::from_secs(1)).await.unwrap();
    assert!(matches!(end, RunEnd::Ended(_)), "{end:?}");
    echoes(&*neighbour).await;
    let started = Instant::now();
    timeout(PATIENCE, container.destroy()).await.expect("a fork bomb can be ended");
    eprintln!("a fork bomb is gone after {:?}", started.elapsed());
    neighbour.destroy().await;
}

#[tokio::test]
async fn an_endless_log_is_cut() {
    if !alone("an_endless_log_is_cut", &[]) {
        return;
    }
    let sandbox = sandbox_with(|config| config.log_cap_bytes = 1 << 20);
    let memory = Memory::watch();
    for flood in [
        "def main(args):\n    while True:\n        print('flood ' * 100)\n",
        "import os\ndef main(args):\n    while True:\n        os.write(1, b'flood ' * 1000)\n",
        "import os\ndef main(args):\n    while True:\n        os.write(2, b'no end ' * 1000)\n",
    ] {
        let container = loaded(&sandbox, "python:3.11", 128, flood).await;
        let end = container.run(contract::run(2, &json!({})), Duration::from_secs(1)).await.unwrap();
        assert!(matches!(end, RunEnd::Ended(Ended::TimedOut)), "{end:?}");
        let logs = timeout(PATIENCE, container.logs(contract::activation(2), 100_000)).await.expect("a flood ends");
        assert!(logs.truncated);
        let length: usize = logs.lines.iter().map(|line| line.text.len()).sum();
        assert!((50_000..=100_000).contains(&length), "{length}");
        container.destroy().await;
    }
    assert!(memory.grown_bytes() < 20 << 20, "{} bytes more", memory.grown_bytes());
}

#[tokio::test]
async fn an_endless_response_is_not_kept() {
    if !alone("an_endless_response_is_not_kept", &[]) {
        return;
    }
    let sandbox = sandbox_with(|_| {});
    let memory = Memory::watch();
    let code = "import os\ndef main(args):\n    os.write(3, b'R ' + os.environ['__OW_ACTIVATION_ID'].encode() + b' {\"x\":\"')\n    \
                for _ in range(2000):\n        os.write(3, b'x' * 100000)\n    os.write(3, b'\"}\\n')\n    return {}\n";
    let (end, logs) = once(&sandbox, "python:3.11", code, json!({})).await;
    let RunEnd::TooLong { length_bytes, beginning } = end else { panic!("{end:?} {logs:?}") };
    assert_eq!(length_bytes, 200_000_000 + 8);
    assert_eq!(beginning.len(), 1 << 10);
    assert!(memory.grown_bytes() < 10 << 20, "{} bytes more", memory.grown_bytes());
}

#[tokio::test]
async fn who_ignores_signals_is_killed_at_the_deadline() {
    let sandbox = sandbox_with(|_| {});
    let code = "import signal, time, subprocess\nfor s in range(1, 65):\n    try:\n        signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError):\n        pass\n\
                def main(args):\n    subprocess.Popen(['sleep', '1000'], start_new_session=True)\n    while True:\n        time.sleep(1)\n";
    let container = loaded(&sandbox, "python:3.11", 128, code).await;
    let started = Instant::now();
    let run = container.run(contract::run(2, &json!({})), Duration::from_millis(500));
    let end = timeout(PATIENCE, run).await.expect("the deadline holds").unwrap();
    assert!(matches!(end, RunEnd::Ended(Ended::TimedOut)), "{end:?}");
    timeout(PATIENCE, container.destroy()).await.expect("signals cannot be ignored in the end");
    eprintln!("who had 500 ms is gone after {:?}", started.elapsed());
}

#[tokio::test]
async fn who_closes_its_descriptors_ends_only_itself() {
    let sandbox = sandbox_with(|_| {});
    let neighbour = loaded(&sandbox, "python:3.11", 128, ECHO).await;
    for close in ["os.close(3)", "os.closerange(0, 1000)"] {
        let code = format!("import os, time\ndef main(args):\n    {close}\n    time.sleep(1000)\n");
        let container = loaded(&sandbox, "python:3.11", 128, &code).await;
        let end = container.run(contract::run(2, &json!({})), PATIENCE).await.unwrap();
        assert!(matches!(end, RunEnd::Ended(Ended::Exited)), "{end:?}");
        let end = container.run(contract::run(3, &json!({})), PATIENCE).await;
        assert!(matches!(end, Err(Error::Gone)), "{end:?}");
        container.destroy().await;
    }
    echoes(&*neighbour).await;
    neighbour.destroy().await;
}

#[tokio::test]
async fn who_kills_everything_kills_only_itself() {
    let sandbox = sandbox_with(|_| {});
    let neighbour = loaded(&sandbox, "python:3.11", 128, ECHO).await;
    let code = "import os, signal\ndef main(args):\n    for p in (os.getppid(), -1, os.getpid()):\n        try:\n            os.kill(p, 9)\n        except OSError:\n            pass\n";
    let (end, _) = once(&sandbox, "python:3.11", code, json!({})).await;
    assert!(matches!(end, RunEnd::Ended(Ended::Exited)), "{end:?}");
    echoes(&*neighbour).await;
    neighbour.destroy().await;
}

#[tokio::test]
async fn nonsense_on_the_wire_is_this_runs_own_trouble() {
    let sandbox = sandbox_with(|_| {});
    let code = "import os\ndef main(args):\n    os.write(3, bytes(range(11, 256)) * 100 + b'\\n')\n    return {}\n";
    let (end, _) = once(&sandbox, "python:3.11", code, json!({})).await;
    assert!(matches!(end, RunEnd::Nonsense(_)), "{end:?}");
}

#[tokio::test]
async fn an_empty_or_hanging_init_is_its_own_error() {
    let sandbox = sandbox_with(|_| {});
    let container = sandbox.start(start("python:3.11", 128)).await.unwrap();
    let end = container.init(contract::init(1, &Code::Text("".into())), PATIENCE).await;
    assert!(matches!(end, Ok(InitEnd::Failed(_))), "{end:?}");
    container.destroy().await;
}

#[tokio::test]
async fn an_init_that_dies_says_so_and_keeps_its_logs() {
    let sandbox = sandbox_with(|_| {});
    let container = sandbox.start(start("python:3.11", 128)).await.unwrap();
    let code = Code::Text("import os\nos.write(2, b'last words\\n')\nos._exit(1)\n".into());
    let end = container.init(contract::init(1, &code), PATIENCE).await;
    assert!(matches!(end, Ok(InitEnd::Ended(Ended::Exited))), "{end:?}");
    let logs = container.logs(contract::activation(1), 1000).await;
    assert_eq!(logs.lines.len(), 1, "{logs:?}");
    assert_eq!(logs.lines[0].text, "last words");
    container.destroy().await;
}

#[tokio::test]
async fn an_archive_is_unpacked_where_the_launcher_looks() {
    use std::io::Write;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("__main__.py", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(b"from helper import answer\ndef main(args):\n    return {'answer': answer}\n").unwrap();
    zip.start_file("helper.py", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(b"answer = 42\n").unwrap();
    let code = Code::Binary(zip.finish().unwrap().into_inner().into());
    let sandbox = sandbox_with(|_| {});
    let container = sandbox.start(start("python:3.11", 128)).await.unwrap();
    let end = container.init(contract::init(1, &code), PATIENCE).await;
    assert!(matches!(end, Ok(InitEnd::Ready)), "{end:?}");
    let end = container.run(contract::run(1, &json!({})), PATIENCE).await;
    assert_eq!(contract::answer(end), json!({ "answer": 42 }));
    container.destroy().await;

    let container = sandbox.start(start("nodejs:20", 128)).await.unwrap();
    let code = Code::Binary(b"no archive".to_vec().into());
    let end = container.init(contract::init(1, &code), PATIENCE).await;
    let Ok(InitEnd::Failed(error)) = end else { panic!("{end:?}") };
    assert!(error.to_string().contains("The file type is unsupported"), "{error}");
    container.destroy().await;
}

#[tokio::test]
async fn archives_that_lead_out_are_refused() {
    let sandbox = sandbox_with(|_| {});
    let folder = sandbox.folder.path().to_str().unwrap().to_owned();
    for (name, archive) in escapes(&folder, || Archive::default().file("__main__.py", ECHO)) {
        let container = sandbox.start(start("python:3.11", 128)).await.unwrap();
        let code = Code::Binary(archive.bytes().into());
        let end = container.init(contract::init(1, &code), PATIENCE).await.unwrap();
        let InitEnd::Failed(said) = end else { panic!("{name}: {end:?}") };
        assert!(said.as_str().unwrap().starts_with("The action's archive has "), "{name}: {said}");
        let found = Command::new("find").args([&folder, "/tmp", "/etc", "-maxdepth", "6", "-name", "escaped"]).output();
        assert_eq!(String::from_utf8_lossy(&found.unwrap().stdout), "", "{name}");
        container.destroy().await;
    }
}

#[tokio::test]
async fn a_bomb_of_ten_gigabytes_is_refused_in_little_memory() {
    if !alone("a_bomb_of_ten_gigabytes_is_refused_in_little_memory", &[]) {
        return;
    }
    let sandbox = sandbox_with(|_| {});
    let code = Code::Binary(bomb().into());
    let container = sandbox.start(start("python:3.11", 128)).await.unwrap();
    let (started, memory) = (Instant::now(), Memory::watch());
    let end = container.init(contract::init(1, &code), PATIENCE).await.unwrap();
    let (took, grown) = (started.elapsed(), memory.grown_bytes());
    eprintln!("a bomb of ten gigabytes is refused after {took:?} with {} KB more", grown >> 10);
    let InitEnd::Failed(said) = end else { panic!("{end:?}") };
    assert!(said.as_str().unwrap().contains("would unpack to more than"), "{said}");
    assert!(grown < 100 << 20, "{grown} bytes more");
    container.destroy().await;
}

#[tokio::test]
async fn a_long_line_goes_in_while_output_comes_out() {
    let sandbox = sandbox_with(|_| {});
    let code = "import os\nfor n in range(2000):\n    os.write(1, b'x' * 1000 + b'\\n')\ndef main(args):\n    return {'n': len(args['text'])}\n";
    let padded = format!("# {}\n{code}", "x".repeat(5 << 20));
    let container = loaded(&sandbox, "python:3.11", 256, &padded).await;
    let argument = json!({ "text": "y".repeat(3 << 20) });
    let answer = contract::answer(container.run(contract::run(2, &argument), PATIENCE).await);
    assert_eq!(answer, json!({ "n": 3 << 20 }));
    container.destroy().await;
}

#[tokio::test]
async fn a_kind_that_this_host_lacks_is_named() {
    let sandbox = sandbox_with(|_| {});
    for kind in ["cobol:85", "dotnet:6.0"] {
        let error = sandbox.start(start(kind, 128)).await.err().unwrap();
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains(kind), "{error}");
    }
    // What is compiled already would run; source is what cannot become that.
    if let Err(reason) = sandbox.look_for("swift:5.7") {
        let container = sandbox.start(start("swift:5.7", 128)).await.unwrap();
        let init = contract::init(1, &Code::Text("func main(args: Any) -> Any { return args }".into()));
        let error = container.init(init, PATIENCE).await.unwrap_err();
        assert!(matches!(&error, Error::Unavailable { reason: told, .. } if *told == reason), "{error}");
    }
}

#[tokio::test]
async fn a_dropped_run_ends_its_container() {
    let sandbox = sandbox_with(|_| {});
    let container = loaded(&sandbox, "python:3.11", 128, "import time\ndef main(args):\n    time.sleep(1000)\n").await;
    let run = container.run(contract::run(2, &json!({})), PATIENCE);
    assert!(timeout(Duration::from_millis(100), run).await.is_err());
    timeout(PATIENCE, container.died()).await.unwrap();
    container.destroy().await;
}
