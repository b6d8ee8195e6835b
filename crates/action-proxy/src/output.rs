//! The container's own standard output and error, which the platform reads.
//!
//! Written to with plain, blocking writes: whoever logs faster than the platform
//! reads is made to wait, and lines of both streams keep their order.
//!
//! A platform that reads frames says so by a variable. It gets the launcher's
//! frames on standard output, each line with its owner and its time, and the
//! order of both streams with them, and sentinels that name the activation. Any
//! other gets lines and OpenWhisk's sentinels. What bypasses the launcher comes as
//! it is, so standard error has its sentinel either way.

use std::{
    io::{self, Write},
    mem,
};

use whisker_entity::ActivationId;
use whisker_sandbox::Stream;

/// The variable, and what it is for frames.
pub(crate) const VARIABLE: &str = "WHISKER_OUTPUT";
const FRAMES: &str = "frames";

/// Ends an activation's part of a stream, for OpenWhisk's log collectors.
const SENTINEL: &[u8] = b"XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n";

/// How much is gathered before it is written.
const GATHERED_BYTES: usize = 32 * 1024;

/// Lines on their way out, gathered as long as they go to one stream.
#[derive(Debug)]
pub(crate) struct Output {
    frames: bool,
    gathered: Vec<u8>,
    stream: Stream,
}

impl Output {
    /// As the platform asks for.
    pub(crate) fn new() -> Output {
        let frames = std::env::var(VARIABLE).is_ok_and(|value| value == FRAMES);
        Output { frames, gathered: Vec::new(), stream: Stream::Stdout }
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, activation: ActivationId, stream: Stream, time_us: u64, text: &[u8]) {
        let to = if self.frames { Stream::Stdout } else { stream };
        if self.stream != to || self.gathered.len() > GATHERED_BYTES {
            self.flush();
        }
        self.stream = to;
        if self.frames {
            let letter = if stream == Stream::Stdout { 'O' } else { 'E' };
            self.gathered.extend_from_slice(format!("{letter} {activation} {time_us} ").as_bytes());
        }
        self.gathered.extend_from_slice(text);
        self.gathered.push(b'\n');
    }

    /// Writes what was gathered.
    pub(crate) fn flush(&mut self) {
        let bytes = mem::take(&mut self.gathered);
        if !bytes.is_empty() {
            write(self.stream, &bytes);
        }
    }

    /// Ends an activation's part of both streams.
    pub(crate) fn end(&mut self, activation: ActivationId) {
        self.flush();
        if self.frames {
            // Behind text without a line end it is still seen for what it is.
            let sentinel = SENTINEL.trim_ascii_end();
            write(Stream::Stdout, &[sentinel, format!(" {activation}\n").as_bytes()].concat());
        } else {
            write(Stream::Stdout, SENTINEL);
        }
        write(Stream::Stderr, SENTINEL);
    }
}

/// Something of our own for the log.
pub(crate) fn complain(text: &str) {
    complain_of(text.as_bytes());
}

/// What something else said, for the log.
pub(crate) fn complain_of(said: &[u8]) {
    write(Stream::Stderr, said);
}

fn write(stream: Stream, bytes: &[u8]) {
    // Nobody is left to be told if nobody reads.
    let _ = match stream {
        Stream::Stdout => written(io::stdout().lock(), bytes),
        Stream::Stderr => written(io::stderr().lock(), bytes),
    };
}

fn written(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}
