//! Load: HTTP/1.1 over kept connections, each with one request in flight.
//!
//! One thread on `epoll` serves all connections, with three system calls a
//! request: client and server share the machine, and what the client takes is
//! missing from both sides of a comparison. It understands what the servers
//! here answer (`content-length`) and stops at anything else, since a rate of
//! errors is no rate.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use memchr::memmem;
use rustix::{buffer::spare_capacity, event::epoll, fs::Timespec};

use crate::latencies::{Latencies, nanos};

/// Longest wait for any answer.
const PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// What is sent, and how.
pub struct Load<'a> {
    /// To whom.
    pub address: SocketAddr,
    /// Whole requests, sent in turns.
    pub requests: &'a [Vec<u8>],
    /// How many are in flight.
    pub connections: usize,
    /// What the answers' first line has to begin with.
    pub status: u16,
}

/// When it is enough.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After this long.
    Passed(Duration),
    /// After so many requests.
    Sent(usize),
}

struct Connection {
    stream: TcpStream,
    sent: Instant,
    answer: Vec<u8>,
}

/// One request.
pub fn request(method: &str, target: &str, authorization: &str, body: &str) -> Vec<u8> {
    let head = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\nauthorization: {authorization}\r\n");
    let body = match method {
        "GET" => "\r\n".to_owned(),
        _ => format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
    };
    (head + &body).into_bytes()
}

impl Load<'_> {
    /// Sends until it is enough, and times every request.
    pub fn run(&self, until: Until) -> anyhow::Result<Latencies> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::new();
        for number in 0..self.connections {
            let stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll::add(&poll, &stream, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
            connections.push(Connection { stream, sent: Instant::now(), answer: Vec::with_capacity(64 * 1024) });
        }
        let (deadline, count) = match until {
            Until::Passed(length) => (Some(Instant::now() + length), usize::MAX),
            Until::Sent(count) => (None, count),
        };
        let mut times = Vec::with_capacity(1 << 16);
        let (mut sent, mut in_flight) = (0, 0);
        let began = Instant::now();
        for connection in &mut connections {
            if sent < count {
                connection.send(self.next(sent))?;
                (sent, in_flight) = (sent + 1, in_flight + 1);
            }
        }
        let mut events = Vec::with_capacity(self.connections);
        while in_flight > 0 {
            events.clear();
            epoll::wait(&poll, spare_capacity(&mut events), Some(&PATIENCE))?;
            if events.is_empty() {
                bail!("{in_flight} requests got no answer");
            }
            for event in &events {
                let connection = &mut connections[event.data.u64() as usize];
                if !connection.is_answered(self.status)? {
                    continue;
                }
                let now = Instant::now();
                times.push(nanos(now - connection.sent));
                connection.answer.clear();
                in_flight -= 1;
                if sent < count && deadline.is_none_or(|deadline| now < deadline) {
                    connection.send(self.next(sent))?;
                    (sent, in_flight) = (sent + 1, in_flight + 1);
                }
            }
        }
        Ok(Latencies::new(times, began.elapsed()))
    }

    fn next(&self, sent: usize) -> &[u8] {
        &self.requests[sent % self.requests.len()]
    }
}

impl Connection {
    fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.sent = Instant::now();
        // Requests are far smaller than an empty socket's buffer.
        self.stream.write_all(request).context("a request could not be sent")
    }

    /// Reads what has come; whether the answer is whole.
    fn is_answered(&mut self, status: u16) -> anyhow::Result<bool> {
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(length) => self.answer.extend_from_slice(&piece[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let Some(end) = memmem::find(&self.answer, b"\r\n\r\n") else { return Ok(false) };
        let head = &self.answer[..end];
        let Some(length) = content_length(head) else {
            bail!("no content-length: {}", String::from_utf8_lossy(head));
        };
        if self.answer.len() < end + 4 + length {
            return Ok(false);
        }
        if head.get(9..12) != Some(status.to_string().as_bytes()) {
            bail!("not a {status}: {}", String::from_utf8_lossy(&self.answer));
        }
        Ok(true)
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length: ";
    let start = memmem::find(head, NAME)? + NAME.len();
    let digits = head[start..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0')))
}
