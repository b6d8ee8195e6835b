//! A sandbox whose containers are values and whose user code is a closure.
//!
//! It keeps every promise of the seam on `tokio::time`, so that a test on a
//! paused clock can watch an hour of a pool's life in a millisecond. It is
//! strict: a caller that breaks the contract (a second `init`, a run in a
//! paused or busy container) meets a panic that says so, because a real
//! container would answer that with a puzzle.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::value::RawValue;
use tokio::{sync::watch, time};
use whisker_entity::ActivationId;

use crate::{Code, Container, Ended, Error, Init, InitEnd, LogLine, Logs, Run, RunEnd, Sandbox, Start, Stream};

/// What the fake's user code does with one `init` or `run`.
#[derive(Debug, Clone, Default)]
pub struct Act {
    /// How long it takes, on tokio's clock. `None`: it never ends by itself.
    pub takes: Option<Duration>,
    /// Lines that it writes, before it ends.
    pub lines: Vec<(Stream, String)>,
    /// How it ends.
    pub end: ActEnd,
}

/// How an [`Act`] ends, if it is given the time.
#[derive(Debug, Clone, Default)]
pub enum ActEnd {
    /// A run answers its own argument; an init is ready.
    #[default]
    Echo,
    /// It answers this text, which is read as a real backend would read it.
    Answers(String),
    /// The runtime reports that user code failed.
    Fails(serde_json::Value),
    /// The process ends.
    Exits,
    /// The process is killed for want of memory.
    ExhaustsMemory,
}

impl Act {
    /// Answers the argument at once.
    pub fn echo() -> Act {
        Act { takes: Some(Duration::ZERO), ..Act::default() }
    }

    /// Answers `json` at once.
    pub fn answers(json: impl Into<String>) -> Act {
        Act { end: ActEnd::Answers(json.into()), ..Act::echo() }
    }

    /// Fails at once with the runtime's `error`.
    pub fn fails(error: impl Into<serde_json::Value>) -> Act {
        Act { end: ActEnd::Fails(error.into()), ..Act::echo() }
    }

    /// The process ends at once.
    pub fn exits() -> Act {
        Act { end: ActEnd::Exits, ..Act::echo() }
    }

    /// The process is killed at once for want of memory.
    pub fn exhausts_memory() -> Act {
        Act { end: ActEnd::ExhaustsMemory, ..Act::echo() }
    }

    /// Never ends by itself.
    pub fn hangs() -> Act {
        Act { takes: None, ..Act::echo() }
    }

    /// The same, ending after `takes`.
    #[must_use]
    pub fn after(mut self, takes: Duration) -> Act {
        self.takes = Some(takes);
        self
    }

    /// The same, writing one more line to standard output.
    #[must_use]
    pub fn prints(mut self, line: impl Into<String>) -> Act {
        self.lines.push((Stream::Stdout, line.into()));
        self
    }

    /// The same, writing one more line to standard error.
    #[must_use]
    pub fn complains(mut self, line: impl Into<String>) -> Act {
        self.lines.push((Stream::Stderr, line.into()));
        self
    }
}

/// What user code is asked to do.
#[derive(Debug)]
pub enum Event<'a> {
    /// To load.
    Init(&'a Init),
    /// To run; `code` is what this container was initialised with.
    Run {
        /// The run.
        run: &'a Run,
        /// The code as text; empty where it was binary.
        code: &'a str,
        /// How many runs this container had before.
        earlier_runs: u64,
    },
}

/// What happened to a container, in order; for assertions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It was started for this kind, with this much memory in MB.
    Started(String, u32),
    /// `init` was called.
    Init(ActivationId),
    /// `run` was called.
    Run(ActivationId),
    /// `logs` was called.
    Logs(ActivationId),
    /// It was frozen.
    Paused,
    /// It was thawed.
    Resumed,
    /// It died by itself.
    Died,
    /// It was destroyed, or its last handle dropped.
    Destroyed,
}

type Body = dyn Fn(Event<'_>) -> Act + Send + Sync;

/// A sandbox in memory. Clones share their state.
#[derive(Clone)]
pub struct Fake {
    shared: Arc<Shared>,
}

struct Shared {
    body: Box<Body>,
    state: Mutex<State>,
    numbers: AtomicU64,
}

#[derive(Default)]
struct State {
    start_takes: Duration,
    refuse_starts: u32,
    swept: u32,
    /// Every container there ever was, by number; dropped ones stay as `None`.
    seen: BTreeMap<u64, Vec<Seen>>,
    alive: HashMap<u64, Alive>,
}

struct Alive {
    dead: watch::Sender<Option<Ended>>,
    memory_mb: u32,
}

impl Default for Fake {
    /// A fake whose code names its behaviour: see [`super::Programs::fake`].
    fn default() -> Fake {
        Fake::new(super::contract::fake_program)
    }
}

impl Fake {
    /// A fake whose user code is `body`, called once for each `init` and run.
    pub fn new(body: impl Fn(Event<'_>) -> Act + Send + Sync + 'static) -> Fake {
        Fake { shared: Arc::new(Shared { body: Box::new(body), state: Mutex::default(), numbers: AtomicU64::new(0) }) }
    }

    /// From now on a start takes this long.
    pub fn starts_take(&self, takes: Duration) {
        self.shared.state().start_takes = takes;
    }

    /// The next `count` starts fail with [`Error::Host`].
    pub fn refuse_starts(&self, count: u32) {
        self.shared.state().refuse_starts = count;
    }

    /// Containers that are neither dead nor destroyed.
    pub fn alive(&self) -> usize {
        self.shared.state().alive.len()
    }

    /// Memory in MB of those containers.
    pub fn memory_mb(&self) -> u64 {
        self.shared.state().alive.values().map(|alive| u64::from(alive.memory_mb)).sum()
    }

    /// How many containers were ever started.
    pub fn started(&self) -> usize {
        self.shared.state().seen.len()
    }

    /// How often [`Sandbox::sweep`] was called.
    pub fn swept(&self) -> u32 {
        self.shared.state().swept
    }

    /// What the container of this number (the first is 0) has seen.
    pub fn seen(&self, container: u64) -> Vec<Seen> {
        self.shared.state().seen.get(&container).cloned().unwrap_or_default()
    }

    /// Lets a container die by itself, whether or not it is busy.
    pub fn kill(&self, container: u64) {
        self.shared.end(container, Ended::Exited, Seen::Died);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state stays whole when a test's assertion panics under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saw(&self, container: u64, seen: Seen) {
        self.state().seen.entry(container).or_default().push(seen);
    }

    fn end(&self, container: u64, how: Ended, seen: Seen) {
        let gone = self.state().alive.remove(&container);
        if let Some(alive) = gone {
            self.saw(container, seen);
            alive.dead.send_replace(Some(how));
        }
    }
}

#[async_trait]
impl Sandbox for Fake {
    async fn start(&self, start: Start) -> Result<Arc<dyn Container>, Error> {
        let takes = self.shared.state().start_takes;
        if !takes.is_zero() {
            time::sleep(takes).await;
        }
        let mut state = self.shared.state();
        if state.refuse_starts > 0 {
            state.refuse_starts -= 1;
            return Err(Error::host("start a fake container")(std::io::ErrorKind::Other.into()));
        }
        let number = self.shared.numbers.fetch_add(1, Ordering::Relaxed);
        let (dead, death) = watch::channel(None);
        state.alive.insert(number, Alive { dead, memory_mb: start.memory_mb });
        state.seen.insert(number, vec![Seen::Started(start.kind.clone(), start.memory_mb)]);
        drop(state);
        Ok(Arc::new(FakeContainer {
            shared: self.shared.clone(),
            number,
            concurrent: start.concurrent,
            death,
            inside: Mutex::default(),
        }))
    }

    async fn sweep(&self) -> Result<(), Error> {
        self.shared.state().swept += 1;
        Ok(())
    }
}

/// A container of a [`Fake`].
pub struct FakeContainer {
    shared: Arc<Shared>,
    number: u64,
    concurrent: bool,
    death: watch::Receiver<Option<Ended>>,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    code: Option<String>,
    paused: bool,
    spent: bool,
    busy: u32,
    runs: u64,
    lines: HashMap<ActivationId, Vec<LogLine>>,
}

/// Counts a call as under way for as long as it lives: a caller may drop one.
struct Busy<'a>(&'a FakeContainer);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.inside().busy -= 1;
    }
}

impl FakeContainer {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, what: &str) -> Result<Busy<'_>, Error> {
        let mut inside = self.inside();
        if self.death.borrow().is_some() || inside.spent {
            return Err(Error::Gone);
        }
        assert!(!inside.paused, "{what} in paused container {}", self.number);
        assert!(
            self.concurrent || inside.busy == 0,
            "{what} in container {}, which is busy and not concurrent",
            self.number
        );
        inside.busy += 1;
        Ok(Busy(self))
    }

    /// Lets `act` happen, or as much of it as the deadline leaves.
    async fn perform(&self, activation: ActivationId, act: Act, deadline: Duration) -> Result<ActEnd, Ended> {
        let lines = act.lines.into_iter().map(|(stream, text)| LogLine { time_us: 0, stream, text });
        self.inside().lines.entry(activation).or_default().extend(lines);
        let mut death = self.death.clone();
        let works = async {
            match act.takes {
                Some(takes) if takes.is_zero() => {}
                Some(takes) => time::sleep(takes).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ended = death.wait_for(Option::is_some) => {
                return Err(ended.ok().and_then(|ended| *ended).unwrap_or(Ended::Exited));
            }
            () = works => {}
            () = time::sleep(deadline) => {
                self.inside().spent = true;
                return Err(Ended::TimedOut);
            }
        }
        let ended = match act.end {
            ActEnd::Exits => Ended::Exited,
            ActEnd::ExhaustsMemory => Ended::OutOfMemory,
            end @ (ActEnd::Echo | ActEnd::Answers(_) | ActEnd::Fails(_)) => return Ok(end),
        };
        self.shared.end(self.number, ended, Seen::Died);
        Err(ended)
    }
}

#[async_trait]
impl Container for FakeContainer {
    async fn init(&self, init: Init, deadline: Duration) -> Result<InitEnd, Error> {
        let _busy = self.enter("init")?;
        let code = match &init.code {
            Code::Text(text) => text.to_string(),
            Code::Binary(_) => String::new(),
        };
        let earlier = self.inside().code.replace(code);
        assert!(earlier.is_none(), "second init of container {}", self.number);
        self.shared.saw(self.number, Seen::Init(init.activation));
        let act = (self.shared.body)(Event::Init(&init));
        Ok(match self.perform(init.activation, act, deadline).await {
            Ok(ActEnd::Fails(error)) => {
                self.inside().spent = true;
                InitEnd::Failed(error)
            }
            Ok(_) => InitEnd::Ready,
            Err(ended) => InitEnd::Ended(ended),
        })
    }

    async fn run(&self, run: Run, deadline: Duration) -> Result<RunEnd, Error> {
        let _busy = self.enter("run")?;
        let (code, earlier_runs) = {
            let mut inside = self.inside();
            inside.runs += 1;
            (inside.code.clone(), inside.runs - 1)
        };
        let Some(code) = code else { panic!("run in container {} before init", self.number) };
        self.shared.saw(self.number, Seen::Run(run.activation));
        let act = (self.shared.body)(Event::Run { run: &run, code: &code, earlier_runs });
        Ok(match self.perform(run.activation, act, deadline).await {
            Ok(ActEnd::Answers(text)) => read_answer(text, &run),
            Ok(ActEnd::Fails(error)) => RunEnd::Failed(error),
            Ok(_) => read_answer(run.value.get().to_owned(), &run),
            Err(ended) => RunEnd::Ended(ended),
        })
    }

    async fn logs(&self, activation: ActivationId, limit_bytes: u64) -> Logs {
        self.shared.saw(self.number, Seen::Logs(activation));
        let lines = self.inside().lines.remove(&activation).unwrap_or_default();
        let mut logs = Logs::default();
        let mut length: u64 = 0;
        for line in lines {
            length += line.text.len() as u64 + 1;
            if length > limit_bytes {
                logs.truncated = true;
                break;
            }
            logs.lines.push(line);
        }
        logs
    }

    async fn pause(&self) -> Result<(), Error> {
        if self.death.borrow().is_some() {
            return Err(Error::Gone);
        }
        let mut inside = self.inside();
        assert!(inside.busy == 0, "pause of container {} with a run under way", self.number);
        assert!(!inside.paused, "second pause of container {}", self.number);
        inside.paused = true;
        drop(inside);
        self.shared.saw(self.number, Seen::Paused);
        Ok(())
    }

    async fn resume(&self) -> Result<(), Error> {
        if self.death.borrow().is_some() {
            return Err(Error::Gone);
        }
        let was_paused = std::mem::take(&mut self.inside().paused);
        assert!(was_paused, "resume of container {}, which is not paused", self.number);
        self.shared.saw(self.number, Seen::Resumed);
        Ok(())
    }

    async fn destroy(&self) {
        self.shared.end(self.number, Ended::Exited, Seen::Destroyed);
    }

    async fn died(&self) {
        let mut death = self.death.clone();
        // The sender is dropped only after it has announced the death.
        let _ = death.wait_for(Option::is_some).await;
    }
}

impl Drop for FakeContainer {
    fn drop(&mut self) {
        self.shared.end(self.number, Ended::Exited, Seen::Destroyed);
    }
}

fn read_answer(text: String, run: &Run) -> RunEnd {
    let length_bytes = text.len() as u64;
    if length_bytes > run.result_limit_bytes {
        let kept = usize::try_from(run.truncation_bytes).unwrap_or(usize::MAX);
        let mut end = kept.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        return RunEnd::TooLong { length_bytes, beginning: text[..end].to_owned() };
    }
    let structured = text.starts_with(['{', '[']);
    match serde_json::from_str::<Box<RawValue>>(&text) {
        Ok(raw) if structured => RunEnd::Answered(raw),
        _ => RunEnd::Nonsense(text),
    }
}
