//! Asking a server through its data folder.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;
use whisker_admin::{Answer, Command, Parts, Socket, UserCommand, ask};
use whisker_store::Memory;

struct Server {
    changes: Arc<AtomicUsize>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    fn start(folder: &Path) -> Server {
        let (changes, cancel) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let (counter, socket) = (changes.clone(), Socket::open(folder).unwrap());
        let changed = move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        };
        let store = Arc::new(Memory::new());
        let parts = Parts { subjects: store.clone(), entities: store, secrets: Arc::default() };
        let task = tokio::spawn(socket.run(parts, changed, cancel.clone()));
        Server { changes, cancel, task }
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap();
    }
}

async fn get(folder: &Path) -> Option<Answer> {
    asked(folder, Command::User(UserCommand::Get { subject: "anna-b".into(), namespace: None, all: true })).await
}

async fn block(folder: &Path) -> Option<Answer> {
    asked(folder, Command::User(UserCommand::Block { subjects: vec!["anna-b".into()] })).await
}

async fn asked(folder: &Path, command: Command) -> Option<Answer> {
    let folder = folder.to_owned();
    spawn_blocking(move || ask(&folder, &command).unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_server_answers_until_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(get(folder.path()).await, None);
    let server = Server::start(folder.path());
    let mode = std::fs::metadata(folder.path().join("admin.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(get(folder.path()).await.unwrap().code, 1);
    assert_eq!(server.changes.load(Ordering::SeqCst), 0, "who reads changes nothing");
    assert_eq!(block(folder.path()).await.unwrap().code, 1);
    assert_eq!(server.changes.load(Ordering::SeqCst), 1);
    server.stop().await;
    assert_eq!(get(folder.path()).await, None);
    assert!(!folder.path().join("admin.sock").exists());
}

#[tokio::test]
async fn what_a_killed_server_left_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    drop(std::os::unix::net::UnixListener::bind(folder.path().join("admin.sock")).unwrap());
    assert_eq!(get(folder.path()).await, None);
    let server = Server::start(folder.path());
    assert!(get(folder.path()).await.is_some());
    server.stop().await;
}

#[tokio::test]
async fn a_folder_may_lie_deep() {
    let folder = tempfile::tempdir().unwrap();
    let deep: PathBuf = (0..8).fold(folder.path().to_owned(), |path, _| path.join("twenty-letters-long-"));
    std::fs::create_dir_all(&deep).unwrap();
    let server = Server::start(&deep);
    assert!(get(&deep).await.is_some());
    server.stop().await;
    assert_eq!(get(&deep).await, None);
}

#[tokio::test]
async fn what_is_no_command_is_told_so_and_hurts_nobody() {
    use std::{
        io::{Read, Write},
        net::Shutdown,
    };
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let path = folder.path().join("admin.sock");
    let said = spawn_blocking(move || {
        let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
        stream.write_all(b"{\"Shutdown\":{}}").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    });
    assert!(said.await.unwrap().contains("does not know this command"));
    assert!(get(folder.path()).await.is_some());
    server.stop().await;
}
