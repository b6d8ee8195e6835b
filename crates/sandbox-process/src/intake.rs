//! What a container has said: answers by activation, and log lines.
//!
//! Fed with bytes by the pipes; asked by runs and by `logs`. Pure but for the
//! wakers of runs that wait. Memory is bounded: log lines by a cap for each
//! activation, results by their run's limit, and only activations that were
//! announced have a place at all.

use std::task::Waker;

use serde_json::{Value, value::RawValue};
use whisker_entity::ActivationId;
use whisker_frame::{Head, Parser, Sink};
use whisker_sandbox::{InitEnd, LogLine, Logs, RunEnd, Stream};

/// Longest line of raw output; a longer one becomes several, as the launchers
/// do it.
const RAW_LINE_BYTES: usize = 16 * 1024;

/// What each kept line costs beyond its text.
const LINE_OVERHEAD_BYTES: u64 = size_of::<LogLine>() as u64;

/// How much of an init's answer is read.
const INIT_ANSWER_BYTES: usize = 1 << 20;

/// How much of a result is to be kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResultLimit {
    pub limit_bytes: u64,
    pub truncation_bytes: u64,
}

/// Everything heard from one container.
pub(crate) struct Intake {
    frames: Parser,
    heard: Heard,
    raw: [Vec<u8>; 2],
}

struct Heard {
    activations: Vec<Activation>,
    /// Whose the raw output is: the activation announced last.
    owner: Option<ActivationId>,
    init: Phase<InitEnd>,
    log_cap_bytes: u64,
    any_frame: bool,
    /// First raw bytes of standard error before any frame came: what the
    /// isolation itself may have had to complain of.
    complaint: String,
}

enum Phase<T> {
    Idle,
    Waiting(Option<Waker>),
    Done(T),
}

struct Activation {
    id: ActivationId,
    limit: ResultLimit,
    run: Phase<RunEnd>,
    lines: Vec<LogLine>,
    cost_bytes: u64,
    truncated: bool,
}

impl Intake {
    pub(crate) fn new(log_cap_bytes: u64) -> Intake {
        Intake {
            frames: Parser::default(),
            heard: Heard {
                activations: Vec::new(),
                owner: None,
                init: Phase::Idle,
                log_cap_bytes,
                any_frame: false,
                complaint: String::new(),
            },
            raw: Default::default(),
        }
    }

    /// From now on lines of this activation are kept.
    fn announce(&mut self, id: ActivationId) -> &mut Activation {
        self.heard.owner = Some(id);
        let activations = &mut self.heard.activations;
        let place = match activations.iter().position(|activation| activation.id == id) {
            Some(place) => place,
            None => {
                activations.push(Activation {
                    id,
                    limit: ResultLimit { limit_bytes: 0, truncation_bytes: 0 },
                    run: Phase::Idle,
                    lines: Vec::new(),
                    cost_bytes: 0,
                    truncated: false,
                });
                activations.len() - 1
            }
        };
        &mut activations[place]
    }

    pub(crate) fn expect_init(&mut self, id: ActivationId) {
        self.announce(id);
        self.heard.init = Phase::Waiting(None);
    }

    pub(crate) fn expect_run(&mut self, id: ActivationId, limit: ResultLimit) {
        let activation = self.announce(id);
        activation.limit = limit;
        activation.run = Phase::Waiting(None);
    }

    /// The answer to `init`, if it came; else `waker` is called when it does.
    pub(crate) fn take_init(&mut self, waker: Option<&Waker>) -> Option<InitEnd> {
        take(&mut self.heard.init, waker)
    }

    /// The end of a run, if it came; else `waker` is called when it does.
    pub(crate) fn take_run(&mut self, id: ActivationId, waker: Option<&Waker>) -> Option<RunEnd> {
        let activation = self.heard.find(id)?;
        take(&mut activation.run, waker)
    }

    /// Nobody waits for this run any more.
    pub(crate) fn forget_run(&mut self, id: ActivationId) {
        if let Some(activation) = self.heard.find(id) {
            activation.run = Phase::Idle;
        }
    }

    /// Whose lines have not been asked for, if the raw output is somebody's.
    pub(crate) fn owner(&self) -> Option<ActivationId> {
        self.heard.owner
    }

    /// Whether a frame was ever heard: then isolation and launcher stand.
    pub(crate) fn any_frame(&self) -> bool {
        self.heard.any_frame
    }

    /// What came on standard error before any frame.
    pub(crate) fn complaint(&self) -> &str {
        &self.heard.complaint
    }

    /// Wakes all who wait; they will find that nothing came.
    pub(crate) fn wake_all(&mut self) {
        if let Phase::Waiting(waker) = &mut self.heard.init {
            waker.take().into_iter().for_each(Waker::wake);
        }
        for activation in &mut self.heard.activations {
            if let Phase::Waiting(waker) = &mut activation.run {
                waker.take().into_iter().for_each(Waker::wake);
            }
        }
    }

    /// Bytes from descriptor 3.
    pub(crate) fn frames(&mut self, bytes: &[u8]) {
        self.frames.push(bytes, &mut self.heard);
    }

    /// Bytes from the real standard output or error, read at `time_us`.
    pub(crate) fn raw(&mut self, stream: Stream, mut bytes: &[u8], time_us: u64) {
        if stream == Stream::Stderr && !self.heard.any_frame && self.heard.complaint.len() < 1000 {
            let beginning = &bytes[..bytes.len().min(1000)];
            self.heard.complaint.push_str(&String::from_utf8_lossy(beginning));
        }
        let Some(owner) = self.heard.owner else { return };
        let pending = &mut self.raw[stream as usize];
        while !bytes.is_empty() {
            let (piece, rest, ends) = match memchr::memchr(b'\n', bytes) {
                Some(end) => (&bytes[..end], &bytes[end + 1..], true),
                None => (bytes, &bytes[bytes.len()..], false),
            };
            // As much as makes a longest line; what is left comes round again.
            let fits = (RAW_LINE_BYTES - pending.len()).min(piece.len());
            pending.extend_from_slice(&piece[..fits]);
            let whole = fits == piece.len();
            bytes = if whole { rest } else { &bytes[fits..] };
            if (whole && ends) || pending.len() == RAW_LINE_BYTES {
                self.heard.keep(owner, stream, time_us, pending);
                pending.clear();
            }
        }
    }

    /// Hands over an activation's lines and forgets it.
    pub(crate) fn take_logs(&mut self, id: ActivationId, limit_bytes: u64, time_us: u64) -> Logs {
        if self.heard.owner == Some(id) {
            for stream in [Stream::Stdout, Stream::Stderr] {
                let pending = std::mem::take(&mut self.raw[stream as usize]);
                if !pending.is_empty() {
                    self.heard.keep(id, stream, time_us, &pending);
                }
            }
            self.heard.owner = None;
        }
        let activations = &mut self.heard.activations;
        let Some(place) = activations.iter().position(|activation| activation.id == id) else {
            return Logs::default();
        };
        let activation = activations.swap_remove(place);
        cut(activation.lines, activation.truncated, limit_bytes)
    }
}

/// What a line takes of the limit besides its text: OpenWhisk counts the bytes
/// of its container engine's log file, where each line stands in an object
/// with its stream and time.
const LINE_BYTES: u64 = 72;

/// As many whole lines as the limit allows, and of the first that does not
/// fit as much as does.
fn cut(lines: Vec<LogLine>, truncated: bool, limit_bytes: u64) -> Logs {
    let mut logs = Logs { lines, truncated, incomplete: false };
    let mut left = limit_bytes;
    for index in 0..logs.lines.len() {
        let length = logs.lines[index].text.len() as u64 + LINE_BYTES;
        if length <= left {
            left -= length;
            continue;
        }
        let line = &mut logs.lines[index];
        line.text.truncate(boundary(&line.text, left.saturating_sub(LINE_BYTES)));
        let kept = if line.text.is_empty() { index } else { index + 1 };
        logs.lines.truncate(kept);
        logs.truncated = true;
        break;
    }
    logs
}

/// The last character boundary at or before `limit`.
fn boundary(text: &str, limit: u64) -> usize {
    let mut end = usize::try_from(limit).unwrap_or(usize::MAX).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

fn take<T>(phase: &mut Phase<T>, waker: Option<&Waker>) -> Option<T> {
    match phase {
        Phase::Idle => None,
        Phase::Waiting(waiting) => {
            if let Some(waker) = waker
                && !waiting.as_ref().is_some_and(|known| known.will_wake(waker))
            {
                *waiting = Some(waker.clone());
            }
            None
        }
        Phase::Done(_) => match std::mem::replace(phase, Phase::Idle) {
            Phase::Done(end) => Some(end),
            Phase::Idle | Phase::Waiting(_) => None,
        },
    }
}

/// An answer that nobody waits for says nothing.
fn settle<T>(phase: &mut Phase<T>, end: impl FnOnce() -> T) {
    if let Phase::Waiting(waker) = phase {
        let waker = waker.take();
        *phase = Phase::Done(end());
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Heard {
    fn find(&mut self, id: ActivationId) -> Option<&mut Activation> {
        self.activations.iter_mut().find(|activation| activation.id == id)
    }

    /// Whose answer an unframed line is: the init's, or that of the only run.
    fn waiting(&mut self) -> Option<&mut Activation> {
        let waits = |activation: &&mut Activation| matches!(activation.run, Phase::Waiting(_));
        self.activations.iter_mut().find(waits)
    }

    fn keep(&mut self, id: ActivationId, stream: Stream, time_us: u64, text: &[u8]) {
        let cap = self.log_cap_bytes;
        if let Some(activation) = self.find(id) {
            let cost = text.len() as u64 + LINE_OVERHEAD_BYTES;
            if activation.truncated || activation.cost_bytes + cost > cap {
                activation.truncated = true;
                return;
            }
            activation.cost_bytes += cost;
            let text = String::from_utf8_lossy(text).into_owned();
            activation.lines.push(LogLine { time_us, stream, text });
        }
    }
}

impl Sink for Heard {
    fn room(&mut self, head: Head) -> usize {
        let activation = match head {
            Head::Init => return INIT_ANSWER_BYTES,
            Head::Line { activation, .. } => {
                let cap = self.log_cap_bytes;
                let room = self.find(activation).map_or(0, |activation| cap - activation.cost_bytes);
                return usize::try_from(room).unwrap_or(usize::MAX);
            }
            Head::Result(id) | Head::Failure(id) => self.find(id),
            Head::Bare if matches!(self.init, Phase::Waiting(_)) => return INIT_ANSWER_BYTES,
            Head::Bare => self.waiting(),
        };
        let wanted = activation.filter(|activation| matches!(activation.run, Phase::Waiting(_)));
        let room = wanted.map_or(0, |activation| activation.limit.limit_bytes.max(activation.limit.truncation_bytes));
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    fn line(&mut self, head: Head, payload: &[u8], length: u64) {
        self.any_frame |= head != Head::Bare;
        match head {
            Head::Init => settle(&mut self.init, || read_init(payload)),
            Head::Line { activation, stream, time_us } => {
                if length > payload.len() as u64 {
                    if let Some(activation) = self.find(activation) {
                        activation.truncated = true;
                    }
                    return;
                }
                self.keep(activation, stream, time_us, payload);
            }
            Head::Result(id) => {
                if let Some(Activation { run, limit, .. }) = self.find(id) {
                    settle(run, || read_result(payload, length, *limit));
                }
            }
            Head::Failure(id) => {
                if let Some(Activation { run, limit, .. }) = self.find(id) {
                    settle(run, || read_failure(payload, length, *limit));
                }
            }
            Head::Bare if matches!(self.init, Phase::Waiting(_)) => {
                settle(&mut self.init, || read_init(payload));
            }
            Head::Bare => {
                if let Some(Activation { run, limit, .. }) = self.waiting() {
                    settle(run, || read_result(payload, length, *limit));
                }
            }
        }
    }
}

/// `{"ok":true}` is good; all else is the runtime's word on what went wrong.
fn read_init(payload: &[u8]) -> InitEnd {
    let answer: Value = match serde_json::from_slice(payload) {
        Ok(answer) => answer,
        Err(_) => return InitEnd::Failed(String::from_utf8_lossy(payload).into_owned().into()),
    };
    if answer.get("ok") == Some(&Value::Bool(true)) {
        return InitEnd::Ready;
    }
    InitEnd::Failed(error_member(answer))
}

fn error_member(mut answer: Value) -> Value {
    match answer.get_mut("error") {
        Some(error) => error.take(),
        None => answer,
    }
}

fn read_result(payload: &[u8], length: u64, limit: ResultLimit) -> RunEnd {
    if length > limit.limit_bytes {
        return too_long(payload, length, limit);
    }
    let Ok(text) = std::str::from_utf8(payload) else {
        return RunEnd::Nonsense(String::from_utf8_lossy(payload).into_owned());
    };
    let text = text.trim_ascii();
    if text.starts_with(['{', '['])
        && let Ok(raw) = RawValue::from_string(text.to_owned())
    {
        return RunEnd::Answered(raw);
    }
    RunEnd::Nonsense(text.to_owned())
}

fn read_failure(payload: &[u8], length: u64, limit: ResultLimit) -> RunEnd {
    if length > limit.limit_bytes {
        return too_long(payload, length, limit);
    }
    match serde_json::from_slice(payload) {
        Ok(answer) => RunEnd::Failed(error_member(answer)),
        Err(_) => RunEnd::Nonsense(String::from_utf8_lossy(payload).into_owned()),
    }
}

fn too_long(payload: &[u8], length_bytes: u64, limit: ResultLimit) -> RunEnd {
    let kept = usize::try_from(limit.truncation_bytes).unwrap_or(usize::MAX).min(payload.len());
    let mut beginning = &payload[..kept];
    // A character that the cut went through is left out.
    if let Err(error) = std::str::from_utf8(beginning)
        && error.error_len().is_none()
    {
        beginning = &beginning[..error.valid_up_to()];
    }
    RunEnd::TooLong { length_bytes, beginning: String::from_utf8_lossy(beginning).into_owned() }
}

#[cfg(test)]
mod tests;
