//! What a container wrote, cut into activations.
//!
//! Runtimes end an activation's output with a line that nobody else writes, on
//! both streams. Images of our own recipes write frames to standard output
//! instead, if they are asked to: each line has its owner and its time there, so
//! that the two streams keep their order and overlapping runs their lines.
//!
//! User code could write either as well, and would mix up nothing but its own
//! logs: a container has one action of one namespace. Pure: no IO, no clock.
//! Memory is bounded by a cap on what was not asked for yet.

use std::collections::VecDeque;

use whisker_entity::ActivationId;
use whisker_frame::{Head, Parser, Sink};
use whisker_sandbox::{LogLine, Logs, Stream};

/// Most activations that are known to be open. Not even those of one concurrent
/// container are as many; of more, the oldest would lose its lines.
const MOST_OPEN: usize = 1024;

/// Ends an activation's part of a stream.
const SENTINEL: &[u8] = b"XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX";

/// Longest line; a longer one becomes several, as Docker's log drivers do it.
const LINE_BYTES: usize = 16 * 1024;

/// What is kept of a line among frames that is none; of a longer one the rest is
/// lost.
const RAW_BYTES: usize = 1 << 20;

/// What each kept line costs beyond its text.
const LINE_OVERHEAD_BYTES: u64 = size_of::<LogLine>() as u64;

/// What a line takes of an activation's limit besides its text: OpenWhisk
/// counts the bytes of Docker's log file, where each line stands in an object
/// with its stream and time.
const COUNTED_BYTES: u64 = 72;

/// Output that was not asked for yet.
#[derive(Debug)]
pub(crate) struct Output {
    entries: VecDeque<Entry>,
    /// What reads standard output, where that has frames.
    frames: Option<Parser>,
    /// Whether its last line has no end yet.
    unfinished: bool,
    /// Unfinished lines, and when the last of them was read.
    pending: [Vec<u8>; 2],
    pending_us: u64,
    /// Ends of activations among the entries, by stream.
    marks: [usize; 2],
    ever_marked: bool,
    /// Activations that began and have not taken what is theirs, the newest last.
    open: VecDeque<ActivationId>,
    /// Lines that came when their activation was not open any more.
    late: u64,
    cost_bytes: u64,
    cap_bytes: u64,
    dropped: bool,
}

#[derive(Debug)]
enum Entry {
    Line(LogLine, Owner),
    End(Stream, Owner),
}

/// Whose it is, where that is told.
type Owner = Option<ActivationId>;

impl Output {
    /// Of an image that writes frames, or of one that does not.
    pub(crate) fn new(cap_bytes: u64, frames: bool) -> Output {
        Output {
            entries: VecDeque::new(),
            frames: frames.then(Parser::default),
            unfinished: false,
            pending: Default::default(),
            pending_us: 0,
            marks: [0; 2],
            ever_marked: false,
            open: VecDeque::new(),
            late: 0,
            cost_bytes: 0,
            cap_bytes,
            dropped: false,
        }
    }

    /// Takes note that an activation begins. What an earlier one wrote too late
    /// for its own record is forgotten, where it can be told from what is to come;
    /// how many lines of it there were since this was called last.
    pub(crate) fn begin(&mut self, activation: ActivationId) -> u64 {
        if self.open.is_empty() && self.has_no_ends() {
            self.finish_lines(self.pending_us);
            self.late += self.entries.len() as u64;
            self.entries.clear();
            self.marks = [0; 2];
            self.cost_bytes = 0;
            self.dropped = false;
        }
        if !self.open.contains(&activation) {
            if self.open.len() == MOST_OPEN {
                self.open.pop_front();
            }
            self.open.push_back(activation);
        }
        std::mem::take(&mut self.late)
    }

    /// Whether nothing has told yet where one activation's output ends.
    fn has_no_ends(&self) -> bool {
        self.frames.is_none() && !self.ever_marked
    }

    /// Whether this is of an activation that has taken its output already.
    fn is_late(&self, owner: Owner) -> bool {
        owner.is_some_and(|owner| !self.open.contains(&owner))
    }

    /// Bytes that were read at `time_us`.
    pub(crate) fn push(&mut self, stream: Stream, mut bytes: &[u8], time_us: u64) {
        if stream == Stream::Stdout
            && let Some(mut parser) = self.frames.take()
        {
            self.unfinished = bytes.last().map_or(self.unfinished, |last| *last != b'\n');
            parser.push(bytes, &mut Framed { output: self, time_us });
            self.frames = Some(parser);
            return;
        }
        self.pending_us = time_us;
        while !bytes.is_empty() {
            let (piece, rest, ends) = match memchr::memchr(b'\n', bytes) {
                Some(end) => (&bytes[..end], &bytes[end + 1..], true),
                None => (bytes, &bytes[bytes.len()..], false),
            };
            bytes = rest;
            let pending = &mut self.pending[stream as usize];
            if ends && pending.is_empty() && piece.len() <= LINE_BYTES {
                self.line(stream, piece, time_us);
                continue;
            }
            pending.extend_from_slice(piece);
            let mut held = std::mem::take(pending);
            let mut start = 0;
            while held.len() - start > LINE_BYTES {
                self.line(stream, &held[start..start + LINE_BYTES], time_us);
                start += LINE_BYTES;
            }
            held.drain(..start);
            if ends {
                self.line(stream, &held, time_us);
            } else {
                self.pending[stream as usize] = held;
            }
        }
    }

    /// No more will come: what is unfinished is a line as well.
    pub(crate) fn end(&mut self, time_us: u64) {
        if self.unfinished {
            self.push(Stream::Stdout, b"\n", time_us);
        }
        self.finish_lines(time_us);
    }

    fn finish_lines(&mut self, time_us: u64) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let pending = std::mem::take(&mut self.pending[stream as usize]);
            if !pending.is_empty() {
                self.line(stream, &pending, time_us);
            }
        }
    }

    fn line(&mut self, stream: Stream, text: &[u8], time_us: u64) {
        let Some(before) = text.strip_suffix(SENTINEL) else { return self.keep(stream, text, time_us, None) };
        // What was printed without a line end stands before it.
        if !before.is_empty() {
            self.keep(stream, before, time_us, None);
        }
        self.mark(stream, None);
    }

    fn mark(&mut self, stream: Stream, owner: Owner) {
        if self.is_late(owner) {
            return;
        }
        // Bounded like lines: an end costs as much as an empty one.
        if self.cost_bytes < 2 * self.cap_bytes {
            self.cost_bytes += LINE_OVERHEAD_BYTES;
            self.entries.push_back(Entry::End(stream, owner));
            self.marks[stream as usize] += 1;
            self.ever_marked = self.marks.iter().all(|marks| *marks > 0) || self.ever_marked;
        }
    }

    fn keep(&mut self, stream: Stream, text: &[u8], time_us: u64, owner: Owner) {
        if self.is_late(owner) {
            self.late += 1;
            return;
        }
        let cost = text.len() as u64 + LINE_OVERHEAD_BYTES;
        if self.cost_bytes + cost > self.cap_bytes {
            self.dropped = true;
            return;
        }
        self.cost_bytes += cost;
        let text = String::from_utf8_lossy(text).into_owned();
        self.entries.push_back(Entry::Line(LogLine { time_us, stream, text }, owner));
    }

    /// Whether both streams of the activation have ended.
    pub(crate) fn is_complete(&self, activation: ActivationId) -> bool {
        self.marks.iter().all(|marks| *marks > 0)
            && (self.frames.is_none()
                || self
                    .entries
                    .iter()
                    .rev()
                    .any(|entry| matches!(entry, Entry::End(_, Some(owner)) if *owner == activation)))
    }

    /// Whether this container has ended an activation with sentinels before.
    pub(crate) fn has_sentinels(&self) -> bool {
        self.ever_marked
    }

    /// The activation's output: what is known for its own, and of what has no
    /// known owner what stands before a stream's first sentinel, or all there
    /// is. What remains is another's.
    pub(crate) fn take(&mut self, activation: ActivationId, limit_bytes: u64) -> Logs {
        if self.has_no_ends() {
            // What follows on such a line is another's.
            self.finish_lines(self.pending_us);
        }
        let mut logs = Logs { lines: Vec::new(), truncated: self.dropped, incomplete: false };
        let mut closed = [false; 2];
        let mut left = limit_bytes;
        let mut full = false;
        self.open.retain(|open| *open != activation);
        let entries = std::mem::take(&mut self.entries);
        self.cost_bytes = 0;
        self.marks = [0; 2];
        self.dropped = false;
        for entry in entries {
            let (Entry::Line(LogLine { stream, .. }, owner) | Entry::End(stream, owner)) = &entry;
            let stream = *stream;
            let mine = owner.map_or(!closed[stream as usize], |owner| owner == activation);
            match entry {
                Entry::End(_, owner) if mine => closed[stream as usize] |= owner.is_none(),
                Entry::Line(mut line, _) if mine => {
                    if full {
                        continue;
                    }
                    let counted = line.text.len() as u64 + COUNTED_BYTES;
                    if counted > left {
                        // As much of the first line that does not fit as does.
                        full = true;
                        logs.truncated = true;
                        line.text.truncate(boundary(&line.text, left.saturating_sub(COUNTED_BYTES)));
                        if line.text.is_empty() {
                            continue;
                        }
                    }
                    left = left.saturating_sub(counted);
                    logs.lines.push(line);
                }
                other => {
                    let text = match &other {
                        Entry::Line(line, _) => line.text.len(),
                        Entry::End(..) => {
                            self.marks[stream as usize] += 1;
                            0
                        }
                    };
                    self.cost_bytes += text as u64 + LINE_OVERHEAD_BYTES;
                    self.entries.push_back(other);
                }
            }
        }
        logs
    }
}

/// Standard output as frames.
struct Framed<'a> {
    output: &'a mut Output,
    /// When it was read: the date of what is no frame.
    time_us: u64,
}

impl Sink for Framed<'_> {
    fn room(&mut self, head: Head) -> usize {
        match head {
            Head::Line { .. } => LINE_BYTES,
            Head::Bare => RAW_BYTES,
            Head::Init | Head::Result(_) | Head::Failure(_) => 0,
        }
    }

    fn line(&mut self, head: Head, payload: &[u8], length: u64) {
        match head {
            Head::Line { activation, stream, time_us } => self.output.keep(stream, payload, time_us, Some(activation)),
            Head::Bare => {
                self.output.dropped |= length > payload.len() as u64;
                let (mut rest, ended) = match ended(payload) {
                    Some((before, activation)) => (before, Some(activation)),
                    None => (payload, None),
                };
                while rest.len() > LINE_BYTES {
                    let (piece, more) = rest.split_at(LINE_BYTES);
                    self.output.line(Stream::Stdout, piece, self.time_us);
                    rest = more;
                }
                if ended.is_none() || !rest.is_empty() {
                    self.output.line(Stream::Stdout, rest, self.time_us);
                }
                if ended.is_some() {
                    self.output.mark(Stream::Stdout, ended);
                }
            }
            // The proxy says none of these here.
            Head::Init | Head::Result(_) | Head::Failure(_) => {}
        }
    }
}

/// The end of an activation, and what stands before it on its line.
fn ended(line: &[u8]) -> Option<(&[u8], ActivationId)> {
    /// As many digits as an activation's id has.
    const DIGITS: usize = 32;

    let (before, digits) = line.split_at_checked(line.len().checked_sub(DIGITS)?)?;
    let before = before.strip_suffix(b" ")?.strip_suffix(SENTINEL)?;
    Some((before, std::str::from_utf8(digits).ok()?.parse().ok()?))
}

/// The last character boundary at or before `limit`.
fn boundary(text: &str, limit: u64) -> usize {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    (0..=limit.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: &str = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n";

    fn id(number: u128) -> ActivationId {
        ActivationId::new(0, number)
    }

    fn texts(logs: &Logs) -> Vec<String> {
        logs.lines.iter().map(|line| format!("{} {}", line.stream.name(), line.text)).collect()
    }

    #[test]
    fn sentinels_cut_each_stream_by_itself() {
        let mut output = Output::new(1 << 20, false);
        output.push(Stream::Stdout, b"one\ntw", 1);
        output.push(Stream::Stderr, b"bad\n", 2);
        output.push(Stream::Stdout, format!("o\nunfinished{END}next\n").as_bytes(), 3);
        assert!(!output.is_complete(id(1)));
        output.push(Stream::Stderr, END.as_bytes(), 4);
        assert!(output.is_complete(id(1)) && output.has_sentinels());
        let logs = output.take(id(1), 1 << 20);
        assert_eq!(texts(&logs), ["stdout one", "stderr bad", "stdout two", "stdout unfinished"]);
        assert!(!logs.truncated);
        assert!(!output.is_complete(id(1)));
        output.push(Stream::Stdout, END.as_bytes(), 5);
        output.push(Stream::Stderr, END.as_bytes(), 5);
        assert_eq!(texts(&output.take(id(1), 1 << 20)), ["stdout next"]);
    }

    #[test]
    fn a_flood_is_dropped_but_its_end_is_seen() {
        let mut output = Output::new(10_000, false);
        for _ in 0..100_000 {
            output.push(Stream::Stdout, b"flood\n", 1);
        }
        output.push(Stream::Stdout, END.as_bytes(), 2);
        output.push(Stream::Stderr, END.as_bytes(), 2);
        assert!(output.is_complete(id(1)));
        let logs = output.take(id(1), 1 << 20);
        assert!(logs.truncated && logs.lines.len() < 10_000 / 5);
        assert!(!output.take(id(1), 1 << 20).truncated);
    }

    #[test]
    fn a_line_without_end_takes_no_memory_without_end() {
        let mut output = Output::new(100_000, false);
        for _ in 0..1000 {
            output.push(Stream::Stderr, &[b'x'; 1000], 1);
        }
        assert!(output.pending[1].len() <= LINE_BYTES);
        output.end(2);
        let logs = output.take(id(1), 1 << 20);
        assert!(logs.truncated && logs.lines.iter().all(|line| line.text.len() <= LINE_BYTES));
    }

    #[test]
    fn what_goes_beyond_the_limit_is_cut() {
        let mut output = Output::new(1 << 20, false);
        output.push(Stream::Stdout, "short\nlöng\nlast\n".as_bytes(), 1);
        let limit = 2 * COUNTED_BYTES + 5 + 2;
        let logs = output.take(id(1), limit);
        assert_eq!(texts(&logs), ["stdout short", "stdout l"]);
        assert!(logs.truncated);
    }

    #[test]
    fn a_flood_of_sentinels_is_bounded() {
        let mut output = Output::new(1000, false);
        for _ in 0..10_000 {
            output.push(Stream::Stdout, END.as_bytes(), 1);
        }
        assert!(output.entries.len() < 2000 / 8);
    }

    #[test]
    fn frames_keep_order_owner_and_time() {
        let mut output = Output::new(1 << 20, true);
        let (one, two) = (id(1), id(2));
        output.begin(one);
        output.begin(two);
        const SENTINEL: &str = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX";
        let text = format!("O {one} 5 a\nE {two} 6 b\nE {one} 7 c\nraw\nno end{SENTINEL} {one}\nO {two} 8 d\n");
        let (beginning, rest) = text.as_bytes().split_at(20);
        output.push(Stream::Stdout, beginning, 9);
        output.push(Stream::Stdout, rest, 9);
        assert!(!output.is_complete(one));
        output.push(Stream::Stderr, format!("past it\n{END}").as_bytes(), 9);
        assert!(output.is_complete(one) && !output.is_complete(two));
        let logs = output.take(one, 1 << 20);
        assert_eq!(texts(&logs), ["stdout a", "stderr c", "stdout raw", "stdout no end", "stderr past it"]);
        assert_eq!(logs.lines.iter().map(|line| line.time_us).collect::<Vec<_>>(), [5, 7, 9, 9, 9]);
        output.push(Stream::Stdout, format!("{SENTINEL} {two}\nlast words").as_bytes(), 9);
        output.push(Stream::Stderr, END.as_bytes(), 9);
        output.end(9);
        assert!(output.is_complete(two));
        assert_eq!(texts(&output.take(two, 1 << 20)), ["stderr b", "stdout d", "stdout last words"]);
    }

    #[test]
    fn what_comes_too_late_is_nobody_elses() {
        let mut output = Output::new(1 << 20, true);
        let (one, two) = (id(1), id(2));
        output.begin(one);
        output.push(Stream::Stdout, format!("O {one} 5 in time\n").as_bytes(), 9);
        assert_eq!(texts(&output.take(one, 1 << 20)), ["stdout in time"]);
        output.push(Stream::Stdout, format!("O {one} 6 late\nO {one} 7 later\n").as_bytes(), 9);
        assert_eq!((output.begin(two), output.begin(two)), (2, 0));
        output.push(Stream::Stdout, format!("O {two} 8 mine\n").as_bytes(), 9);
        assert_eq!(texts(&output.take(two, 1 << 20)), ["stdout mine"]);

        // Where nothing tells whose a line is, it is by its time.
        let mut output = Output::new(1 << 20, false);
        output.begin(one);
        output.push(Stream::Stdout, b"in time, without end", 1);
        assert_eq!(texts(&output.take(one, 1 << 20)), ["stdout in time, without end"]);
        output.push(Stream::Stdout, b"late\nnor this", 2);
        assert_eq!(output.begin(two), 2);
        output.push(Stream::Stdout, b"mine\n", 3);
        assert_eq!(texts(&output.take(two, 1 << 20)), ["stdout mine"]);
    }
}
