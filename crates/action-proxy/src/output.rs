//! The container's own standard output and error, which the platform reads.
//!
//! Written to with plain, blocking writes: whoever logs faster than the platform
//! reads is made to wait, and lines of both streams keep their order.

use std::{
    io::{self, Write},
    mem,
};

use whisker_sandbox::Stream;

/// Ends an activation's part of a stream, for OpenWhisk's log collectors.
const SENTINEL: &[u8] = b"XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n";

/// How much is gathered before it is written.
const GATHERED_BYTES: usize = 32 * 1024;

/// Lines on their way out, gathered as long as they go to one stream.
#[derive(Debug, Default)]
pub(crate) struct Output {
    gathered: Vec<u8>,
    stream: Option<Stream>,
}

impl Output {
    /// Adds a line.
    pub(crate) fn line(&mut self, stream: Stream, text: &[u8]) {
        if self.stream != Some(stream) || self.gathered.len() > GATHERED_BYTES {
            self.flush();
        }
        self.stream = Some(stream);
        self.gathered.extend_from_slice(text);
        self.gathered.push(b'\n');
    }

    /// Writes what was gathered.
    pub(crate) fn flush(&mut self) {
        let bytes = mem::take(&mut self.gathered);
        match self.stream {
            Some(stream) if !bytes.is_empty() => write(stream, &bytes),
            _ => {}
        }
    }

    /// Ends an activation's part of both streams.
    pub(crate) fn end(&mut self) {
        self.flush();
        write(Stream::Stdout, SENTINEL);
        write(Stream::Stderr, SENTINEL);
    }
}

/// Something of our own for the log.
pub(crate) fn complain(text: &str) {
    write(Stream::Stderr, text.as_bytes());
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
