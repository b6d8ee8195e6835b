//! Clients that go on until they are told to stop.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use whisker_testkit::{Client, Request, eventually, pause};

/// Time between two requests of one client: enough load to be in the middle of
/// something at any moment.
const PACE: Duration = Duration::from_millis(20);

/// What clients saw.
#[derive(Default)]
pub struct Load {
    accepted: Mutex<Vec<String>>,
    refused: Mutex<Vec<String>>,
    read: AtomicUsize,
    unread: Mutex<Vec<String>>,
    over: AtomicBool,
}

impl Load {
    /// Some clients that have an action invoked without waiting, and some that
    /// read it, while something is done.
    pub fn during<T>(&self, guest: &Client, action: &str, clients: usize, act: impl FnOnce() -> T) -> T {
        let invoke = Request::new("POST", guest.target(&format!("actions/{action}"))).json(&json!({}));
        let read = Request::new("GET", guest.target(&format!("actions/{action}")));
        thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| self.go_on(|| self.invoke(guest, &invoke)));
                scope.spawn(|| self.go_on(|| self.read(guest, &read)));
            }
            // Also when it panics, or the clients would never end.
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
            self.over.store(true, Ordering::Relaxed);
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn go_on(&self, each: impl Fn()) {
        while !self.over.load(Ordering::Relaxed) {
            each();
            pause(PACE);
        }
    }

    fn invoke(&self, guest: &Client, request: &Request) {
        match guest.try_send(request) {
            Ok(response) if response.status() == 202 => {
                let id = response.json()["activationId"].as_str().expect("an id").to_owned();
                self.accepted.lock().unwrap_or_else(PoisonError::into_inner).push(id);
            }
            Ok(response) => note(&self.refused, format!("{} {}", response.status(), response.text())),
            Err(error) => note(&self.refused, error.to_string()),
        }
    }

    fn read(&self, guest: &Client, request: &Request) {
        match guest.try_send(request) {
            Ok(response) if response.status() == 200 => drop(self.read.fetch_add(1, Ordering::Relaxed)),
            Ok(response) => note(&self.unread, format!("{} {}", response.status(), response.text())),
            Err(error) => note(&self.unread, error.to_string()),
        }
    }

    /// Waits until so many more were accepted.
    #[track_caller]
    pub fn accept_more(&self, count: usize) {
        let before = self.accepted().len();
        eventually(Duration::from_secs(120), || match self.accepted().len() - before {
            more if more >= count => Ok(()),
            more => Err(format!("{more} of {count}; refused: {:?}", self.refused())),
        });
    }

    /// Ids that were answered 202.
    pub fn accepted(&self) -> Vec<String> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Invocations that were answered otherwise, or not at all.
    pub fn refused(&self) -> Vec<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often each of those was said, without what differs each time.
    pub fn refused_kinds(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for words in self.refused() {
            let kind = words.split("\"code\"").next().unwrap_or(&words).to_owned();
            *kinds.entry(kind).or_default() += 1;
        }
        kinds
    }

    /// Reads that were answered with what was asked for.
    pub fn read_count(&self) -> usize {
        self.read.load(Ordering::Relaxed)
    }

    /// Reads that were answered otherwise, or not at all.
    pub fn unread(&self) -> Vec<String> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn note(list: &Mutex<Vec<String>>, words: String) {
    list.lock().unwrap_or_else(PoisonError::into_inner).push(words);
}

/// Clients that look for records at the same time.
const LOOKERS: usize = 8;

/// Waits until each of these has its record; how long that took. Of each the
/// status, in the order of the ids.
#[track_caller]
pub fn recorded(guest: &Client, ids: &[String], within: Duration) -> (Duration, Vec<String>) {
    let began = Instant::now();
    let mut statuses: Vec<Option<String>> = vec![None; ids.len()];
    eventually(within, || {
        let share = ids.len().div_ceil(LOOKERS).max(1);
        thread::scope(|scope| {
            for (ids, statuses) in ids.chunks(share).zip(statuses.chunks_mut(share)) {
                scope.spawn(|| look(guest, ids, statuses));
            }
        });
        let left: Vec<&String> = ids.iter().zip(&statuses).filter(|(_, s)| s.is_none()).map(|(id, _)| id).collect();
        match left.as_slice() {
            [] => Ok(()),
            left => Err(format!("{} of {} without a record: {:?}", left.len(), ids.len(), &left[..left.len().min(5)])),
        }
    });
    (began.elapsed(), statuses.into_iter().flatten().collect())
}

/// Reads those that were not there before.
fn look(guest: &Client, ids: &[String], statuses: &mut [Option<String>]) {
    for (id, status) in ids.iter().zip(statuses).filter(|(_, status)| status.is_none()) {
        let answer = guest.get(&format!("activations/{id}"));
        if answer.status() == 200 {
            *status = Some(answer.json()["response"]["status"].as_str().expect("a status").to_owned());
        }
    }
}
