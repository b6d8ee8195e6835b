//! The protocol of launchers (`runtimes/README.md`), for whoever drives one: the
//! sandbox of this host's processes, and the proxy inside our images.
//!
//! [`order`] writes what a launcher is told. The rest reads what it writes to
//! descriptor 3, from any cut of it into pieces.
//!
//! The other end runs user code, so everything is possible: lines without end,
//! bytes that are no text, ids of others. Nothing here fails, and memory is
//! bounded by what the [`Sink`] asked to keep of each line; the rest of a line
//! is counted and forgotten. Pure: no IO, no clock.

pub mod order;

use std::str;

use whisker_entity::ActivationId;
use whisker_sandbox::Stream;

/// What a line is, known from its first few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// `I JSON`: the answer to `init`.
    Init,
    /// `R ID JSON`: a result.
    Result(ActivationId),
    /// `F ID JSON`: user code failed.
    Failure(ActivationId),
    /// `O ID MICROS TEXT` or `E ID MICROS TEXT`: a line of output.
    Line {
        /// Whose line it is.
        activation: ActivationId,
        /// Where it was written to.
        stream: Stream,
        /// When, in microseconds since the Unix epoch.
        time_us: u64,
    },
    /// Any other line: the answer of a plain ActionLoop program, or rubbish.
    Bare,
}

/// Who takes the lines.
pub trait Sink {
    /// How many bytes of this line's payload to keep.
    fn room(&mut self, head: Head) -> usize;

    /// A whole line: as much of its payload as there was room for, and how
    /// long it was in all.
    fn line(&mut self, head: Head, payload: &[u8], length: u64);
}

/// Longest head: letter, id, 20 digits of time, and the spaces between.
const HEAD_BYTES: usize = 1 + 1 + 32 + 1 + 20 + 1;

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub struct Parser {
    /// The head of the line under way, once there were enough bytes for it,
    /// with the room for its payload.
    open: Option<(Head, usize)>,
    /// What is kept of the line under way: all of it until its head is known,
    /// then as much payload as there is room for.
    kept: Vec<u8>,
    /// Length of its payload so far.
    length: u64,
}

impl Parser {
    /// Takes the next bytes, and hands `sink` the lines that they end.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut impl Sink) {
        while !bytes.is_empty() {
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                self.extend(bytes, sink);
                return;
            };
            if self.open.is_none() && self.kept.is_empty() {
                // The usual case: a whole line, used where it lies.
                let (head, payload) = split(&bytes[..end]);
                let room = sink.room(head).min(payload.len());
                sink.line(head, &payload[..room], payload.len() as u64);
            } else {
                self.extend(&bytes[..end], sink);
                self.finish(sink);
            }
            bytes = &bytes[end + 1..];
        }
    }

    /// Adds a piece of a line that has no end yet.
    fn extend(&mut self, mut bytes: &[u8], sink: &mut impl Sink) {
        if self.open.is_none() {
            let missing = HEAD_BYTES.saturating_sub(self.kept.len()).min(bytes.len());
            self.kept.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if self.kept.len() < HEAD_BYTES {
                return;
            }
            self.decide(sink);
        }
        if let Some((_, room)) = self.open {
            let more = room.saturating_sub(self.kept.len()).min(bytes.len());
            self.kept.extend_from_slice(&bytes[..more]);
            self.length += bytes.len() as u64;
        }
    }

    /// Reads the head of what was kept, and keeps only payload from here on.
    fn decide(&mut self, sink: &mut impl Sink) {
        let (head, payload) = split(&self.kept);
        let skipped = self.kept.len() - payload.len();
        let room = sink.room(head);
        self.length = payload.len() as u64;
        self.kept.drain(..skipped);
        self.kept.truncate(room);
        self.open = Some((head, room));
    }

    fn finish(&mut self, sink: &mut impl Sink) {
        if self.open.is_none() {
            self.decide(sink);
        }
        if let Some((head, _)) = self.open.take() {
            sink.line(head, &self.kept, self.length);
        }
        self.length = 0;
        // A long line's buffer is not kept for the short ones that follow.
        self.kept = Vec::new();
    }
}

/// The head of a line, of which at least [`HEAD_BYTES`] or all must be given.
fn split(line: &[u8]) -> (Head, &[u8]) {
    framed(line).unwrap_or((Head::Bare, line))
}

fn framed(line: &[u8]) -> Option<(Head, &[u8])> {
    let (letter, rest) = (*line.first()?, line.get(2..)?);
    if line[1] != b' ' {
        return None;
    }
    if letter == b'I' {
        return Some((Head::Init, rest));
    }
    if !matches!(letter, b'R' | b'F' | b'O' | b'E') || rest.get(32) != Some(&b' ') {
        return None;
    }
    let activation: ActivationId = str::from_utf8(&rest[..32]).ok()?.parse().ok()?;
    let rest = &rest[33..];
    let stream = match letter {
        b'R' => return Some((Head::Result(activation), rest)),
        b'F' => return Some((Head::Failure(activation), rest)),
        b'O' => Stream::Stdout,
        _ => Stream::Stderr,
    };
    let digits = rest.iter().take(21).position(|byte| *byte == b' ')?;
    let time_us = str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    Some((Head::Line { activation, stream, time_us }, &rest[digits + 1..]))
}

#[cfg(test)]
mod tests;
