//! What was made, what is being made, and what could not be.
//!
//! One task makes an artifact, and belongs to nobody who waits for it: a
//! caller that runs out of time leaves the work to the next. What is in use is
//! never removed; a [`Held`] says so for as long as it lives.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::watch, task::spawn_blocking, time::Instant};

use crate::{
    Key,
    disk::{Disk, Size},
};

/// How many refusals are remembered; the oldest goes first, and its code is
/// then tried again.
const REFUSALS: usize = 256;

/// Most bytes of details that are kept of a refusal.
const DETAILS_BYTES: usize = 16 * 1024;

/// Why there is no artifact.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The code's fault. Remembered: the same code is not tried again soon.
    #[error("{}", .0.words)]
    Refused(Refusal),
    /// The host's trouble. Not remembered.
    #[error("cannot keep what code becomes")]
    Host(#[source] Arc<io::Error>),
}

/// What its author is told about code that does not become an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub words: Arc<str>,
    /// Lines for the log: what a compiler said.
    pub details: Arc<str>,
    /// How long to remember it: `None` for what cannot become right by itself.
    pub lasts: Option<Duration>,
}

impl Refusal {
    /// A reason that stays one, without details.
    pub fn new(words: impl Into<Arc<str>>) -> Refusal {
        Refusal { words: words.into(), details: "".into(), lasts: None }
    }

    /// With lines for the log, of which the first 16 KB are kept.
    pub fn with_details(mut self, details: &str) -> Refusal {
        let mut end = details.len().min(DETAILS_BYTES);
        while !details.is_char_boundary(end) {
            end -= 1;
        }
        self.details = details[..end].into();
        self
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Refused(refusal)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Host(Arc::new(error))
    }
}

/// An artifact in use.
#[derive(Debug)]
pub struct Held {
    folder: PathBuf,
}

impl Held {
    /// Where it is. Not to be written to.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// A bounded store of artifacts in a folder of its own. Dropping it leaves
/// what is kept for the next life.
#[derive(Debug, Clone)]
pub struct Artifacts {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    disk: Disk,
    limit_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    slots: HashMap<Key, Slot>,
    refusals: VecDeque<(Key, Refusal, Instant)>,
    /// Of all that is kept.
    bytes: u64,
    /// Counts uses, to tell what was used last.
    uses: u64,
}

#[derive(Debug)]
enum Slot {
    /// Being made, or counted before its first use in this life.
    Making(watch::Receiver<Option<Made>>),
    /// On the disk.
    Kept(Entry),
}

type Made = Result<Arc<Held>, Failure>;

#[derive(Debug, Clone)]
struct Entry {
    size: Size,
    used: u64,
    /// Whether it was seen to be whole in this life.
    seen: bool,
    held: Weak<Held>,
}

impl Artifacts {
    /// Opens the folder, which is one server's at a time. At most
    /// `limit_bytes` are kept, besides what is being made. Blocks.
    pub fn open(folder: &Path, limit_bytes: u64) -> io::Result<Artifacts> {
        let disk = Disk::open(folder)?;
        let mut state = State::default();
        for found in disk.look_through()? {
            state.uses += 1;
            state.bytes += found.size.bytes;
            let entry = Entry { size: found.size, used: state.uses, seen: false, held: Weak::new() };
            state.slots.insert(found.key, Slot::Kept(entry));
        }
        let shared = Shared { disk, limit_bytes, state: Mutex::new(state) };
        // The bound may be a lower one than in the life before.
        for key in shared.lock().make_room(limit_bytes) {
            shared.disk.remove(key)?;
        }
        Ok(Artifacts { shared: Arc::new(shared) })
    }

    /// The artifact of this key, made by `make` in the folder that it is
    /// given if there is none. Whoever asks meanwhile waits for the same.
    ///
    /// Waits as long as `make` takes; dropping the wait does not stop it.
    pub async fn get<F>(&self, key: Key, make: impl FnOnce(PathBuf) -> F + Send + 'static) -> Made
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let mut receiver = {
            let mut state = self.shared.lock();
            match state.look(key, &self.shared.disk) {
                Look::Here(held) => return Ok(held),
                Look::Refused(refusal) => return Err(refusal.into()),
                Look::Soon(receiver) => receiver,
                Look::Missing(known) => {
                    let (sender, receiver) = watch::channel(None);
                    state.slots.insert(key, Slot::Making(receiver.clone()));
                    let work = Work { shared: self.shared.clone(), key, known };
                    // Ends with `make`, which sets its own limits.
                    tokio::spawn(work.run(make, sender));
                    receiver
                }
            }
        };
        let made = receiver.wait_for(Option::is_some).await.ok().and_then(|made| made.clone());
        made.unwrap_or_else(|| Err(io::Error::other("making it was interrupted").into()))
    }

    /// Bytes on disk that are kept, about.
    pub fn bytes(&self) -> u64 {
        self.shared.lock().bytes
    }
}

enum Look {
    Here(Arc<Held>),
    Refused(Refusal),
    Soon(watch::Receiver<Option<Made>>),
    /// Nothing, or something that has to be counted first.
    Missing(Option<Size>),
}

impl State {
    fn look(&mut self, key: Key, disk: &Disk) -> Look {
        self.uses += 1;
        match self.slots.get_mut(&key) {
            Some(Slot::Making(receiver)) => return Look::Soon(receiver.clone()),
            Some(Slot::Kept(entry)) if entry.seen => {
                entry.used = self.uses;
                return Look::Here(entry.hold(key, disk));
            }
            // Out of the books while it is counted.
            Some(Slot::Kept(entry)) => {
                self.bytes -= entry.size.bytes;
                return Look::Missing(Some(entry.size));
            }
            None => {}
        }
        match self.refusals.iter().find(|(refused, ..)| *refused == key) {
            Some((_, refusal, since)) if refusal.lasts.is_none_or(|lasts| since.elapsed() < lasts) => {
                Look::Refused(refusal.clone())
            }
            Some(_) => {
                self.refusals.retain(|(refused, ..)| *refused != key);
                Look::Missing(None)
            }
            None => Look::Missing(None),
        }
    }

    /// Gives up what was not used lately until no more than `limit_bytes` are
    /// kept, or all that is left is in use. The keys given are to be removed.
    fn make_room(&mut self, limit_bytes: u64) -> Vec<Key> {
        let mut gone = Vec::new();
        while self.bytes > limit_bytes {
            let idle = self.slots.iter().filter_map(|(key, slot)| match slot {
                Slot::Kept(entry) if entry.held.strong_count() == 0 => Some((entry.used, *key, entry.size.bytes)),
                Slot::Kept(_) | Slot::Making(_) => None,
            });
            let Some((_, key, bytes)) = idle.min() else { break };
            self.slots.remove(&key);
            self.bytes -= bytes;
            gone.push(key);
        }
        gone
    }

    fn remember(&mut self, key: Key, refusal: Refusal) {
        if self.refusals.len() == REFUSALS {
            self.refusals.pop_front();
        }
        self.refusals.push_back((key, refusal, Instant::now()));
    }
}

impl Entry {
    fn hold(&mut self, key: Key, disk: &Disk) -> Arc<Held> {
        self.held.upgrade().unwrap_or_else(|| {
            let held = Arc::new(Held { folder: disk.content(key) });
            self.held = Arc::downgrade(&held);
            held
        })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole between any two statements that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The making of one artifact.
struct Work {
    shared: Arc<Shared>,
    key: Key,
    /// How much of it there should be on the disk already.
    known: Option<Size>,
}

impl Work {
    async fn run<F>(self, make: impl FnOnce(PathBuf) -> F + Send, sender: watch::Sender<Option<Made>>)
    where
        F: Future<Output = Result<(), Failure>> + Send,
    {
        let clear = Clear { work: &self, over: false };
        let made = self.make(make).await;
        let fresh = made.as_ref().is_ok_and(|(_, fresh)| *fresh);
        let made = self.enter(made.map(|(size, _)| size)).await;
        clear.over();
        sender.send_replace(Some(made));
        // It keeps what it sent, and with that a hold on the artifact.
        drop(sender);
        if fresh {
            let Work { shared, key, .. } = self;
            // Nobody waits for it. If it is evicted first there is nothing to see to.
            let synced = spawn_blocking(move || shared.disk.sync(key)).await;
            if let Ok(Err(error)) = synced
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(%key, %error, "an artifact may not outlive a power cut");
            }
        }
    }

    /// Its size on the disk, and whether it is a new one.
    async fn make<F>(&self, make: impl FnOnce(PathBuf) -> F + Send) -> Result<(Size, bool), Failure>
    where
        F: Future<Output = Result<(), Failure>> + Send,
    {
        let Work { shared, key, known, .. } = self;
        let key = *key;
        if let Some(size) = *known {
            let shared = shared.clone();
            let whole = blocking(move || match shared.disk.is_whole(key, size) {
                true => Ok(true),
                false => shared.disk.remove(key).map(|()| false),
            });
            if whole.await? {
                return Ok((size, false));
            }
            tracing::warn!(%key, "a kept artifact was damaged and is made again");
        }
        let begun = shared.clone();
        let folder = blocking(move || begun.disk.begin()).await?;
        let made = make(folder.join("content")).await;
        let shared = shared.clone();
        blocking(move || {
            let kept = made.and_then(|()| Ok(shared.disk.keep(key, &folder)?));
            if kept.is_err() {
                shared.disk.discard(&folder);
            }
            Ok(kept)
        })
        .await?
        .map(|size| (size, true))
    }

    /// Puts the outcome into the books.
    async fn enter(&self, made: Result<Size, Failure>) -> Made {
        let Work { shared, key, .. } = self;
        let (made, gone) = {
            let mut state = shared.lock();
            state.slots.remove(key);
            match made {
                Ok(size) => {
                    state.uses += 1;
                    let mut entry = Entry { size, used: state.uses, seen: true, held: Weak::new() };
                    let held = entry.hold(*key, &shared.disk);
                    state.slots.insert(*key, Slot::Kept(entry));
                    state.bytes += size.bytes;
                    let mut gone = state.make_room(shared.limit_bytes);
                    if state.bytes > shared.limit_bytes {
                        // All else is in use, so it is this one that goes.
                        drop(held);
                        state.slots.remove(key);
                        state.bytes -= size.bytes;
                        gone.push(*key);
                        (Err(io::Error::from(io::ErrorKind::QuotaExceeded).into()), gone)
                    } else {
                        (Ok(held), gone)
                    }
                }
                Err(failure) => {
                    if let Failure::Refused(refusal) = &failure {
                        state.remember(*key, refusal.clone());
                    }
                    (Err(failure), Vec::new())
                }
            }
        };
        if !gone.is_empty() {
            let shared = shared.clone();
            let removed = spawn_blocking(move || gone.into_iter().try_for_each(|key| shared.disk.remove(key)));
            if let Ok(Err(error)) = removed.await {
                tracing::warn!(%error, "an artifact that was given up stays until the next start");
            }
        }
        made
    }
}

/// Leaves the way free for the next one if `make` panics.
struct Clear<'a> {
    work: &'a Work,
    over: bool,
}

impl Clear<'_> {
    fn over(mut self) {
        self.over = true;
    }
}

impl Drop for Clear<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.work.shared.lock().slots.remove(&self.work.key);
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Failure> {
    let done = spawn_blocking(work).await.unwrap_or_else(|ended| Err(io::Error::other(ended)));
    Ok(done?)
}

#[cfg(test)]
mod tests;
