//! Bytes on a connection, and the answers that come back: for [`Client`] and
//! for tests that send what no client would.
//!
//! [`Client`]: crate::Client

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use rustls::{ClientConnection, StreamOwned};

use crate::Origin;

/// Longest that an answer may take before the wire gives up: longer than any
/// wait that the server promises.
const PATIENCE: Duration = Duration::from_secs(90);

/// One connection.
pub struct Wire {
    reader: BufReader<Stream>,
}

/// What the bytes go through.
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => &tls.sock,
        }
    }

    /// Whether nothing came on it, on a socket that does not block.
    fn is_quiet(&mut self) -> bool {
        let quiet = |error: &io::Error| error.kind() == ErrorKind::WouldBlock;
        match self {
            Stream::Plain(socket) => socket.peek(&mut [0]).is_err_and(|error| quiet(&error)),
            // What came may be TLS's own, such as a ticket to resume with.
            Stream::Tls(tls) => tls.read(&mut [0]).is_err_and(|error| quiet(&error)),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(into),
            Stream::Tls(tls) => tls.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(bytes),
            Stream::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.flush(),
            Stream::Tls(tls) => tls.flush(),
        }
    }
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// Its body, without framing.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Whether the connection can carry another request.
    pub fn keeps_alive(&self) -> bool {
        !self.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"))
    }
}

impl Wire {
    /// Connects.
    pub fn open(origin: impl Into<Origin>) -> io::Result<Wire> {
        let origin = origin.into();
        let stream = TcpStream::connect_timeout(&origin.address(), Duration::from_secs(10))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let Some(config) = origin.tls() else { return Ok(Wire { reader: BufReader::new(Stream::Plain(stream)) }) };
        let connection = ClientConnection::new(config, origin.name()).map_err(io::Error::other)?;
        let mut tls = StreamOwned::new(connection, stream);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        Ok(Wire { reader: BufReader::new(Stream::Tls(Box::new(tls))) })
    }

    /// Gives up on reads after this long instead.
    pub fn patience(&self, patience: Duration) -> io::Result<()> {
        self.reader.get_ref().socket().set_read_timeout(Some(patience))
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)?;
        self.reader.get_mut().flush()
    }

    /// Whether the other side has closed, or said something unasked.
    pub fn is_stale(&mut self) -> bool {
        let heard = !self.reader.buffer().is_empty();
        let stream = self.reader.get_mut();
        if heard || stream.socket().set_nonblocking(true).is_err() {
            return true;
        }
        let quiet = stream.is_quiet();
        stream.socket().set_nonblocking(false).is_err() || !quiet
    }

    /// The certificate that the other side showed (DER), if it speaks TLS.
    pub fn certificate(&self) -> Option<Vec<u8>> {
        match self.reader.get_ref() {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => tls.conn.peer_certificates()?.first().map(|der| der.to_vec()),
        }
    }

    /// Reads until the other side closes; the bytes that came.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// Reads one answer. An answer to `HEAD` has no body, whatever it declares.
    pub fn answer(&mut self, to_head: bool) -> io::Result<Answer> {
        loop {
            let mut answer = self.head()?;
            if answer.status == 100 {
                continue;
            }
            if !to_head && !matches!(answer.status, 204 | 304) {
                answer.body = self.body(&answer)?;
            }
            return Ok(answer);
        }
    }

    fn head(&mut self) -> io::Result<Answer> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.filter(|_| line.starts_with("HTTP/1.")).ok_or_else(|| broken(&line))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Answer { status, headers, body: Vec::new() });
            }
            let (name, value) = line.split_once(':').ok_or_else(|| broken(&line))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn body(&mut self, answer: &Answer) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if answer.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
            loop {
                let line = self.line()?;
                let length = usize::from_str_radix(&line, 16).map_err(|_| broken(&line))?;
                self.take(length, &mut body)?;
                self.line()?;
                if length == 0 {
                    return Ok(body);
                }
            }
        }
        match answer.header("content-length") {
            Some(length) => self.take(length.parse().map_err(|_| broken(length))?, &mut body)?,
            None => {
                self.reader.read_to_end(&mut body)?;
            }
        }
        Ok(body)
    }

    fn take(&mut self, length: usize, into: &mut Vec<u8>) -> io::Result<()> {
        let start = into.len();
        into.resize(start + length, 0);
        self.reader.read_exact(&mut into[start..])
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end_matches(['\r', '\n']).len());
        Ok(line)
    }
}

fn broken(line: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("no HTTP: {line:?}"))
}
