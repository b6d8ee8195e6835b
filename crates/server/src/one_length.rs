//! A connection whose requests each have one length.
//!
//! A request with `Content-Length` and `Transfer-Encoding` ends at two places,
//! and whoever stands before us may have gone by the other one: what is behind
//! it would be taken for a request of its own. RFC 9112 (6.1) lets a server
//! answer 400, and so do we. The HTTP library drops the length without a word,
//! so that nobody behind it can tell; hence this looks at what it reads.
//!
//! It answers nothing itself: it makes the second of the two headers one that
//! cannot be parsed, and the library says 400 and closes. To know where heads
//! are it follows the lengths of bodies, which costs nothing for a body with a
//! length and a look at each byte of a head or a chunk's frame.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Longest name that is told from others.
const NAME_BYTES: usize = "transfer-encoding".len();

/// A stream that is read as HTTP/1.
pub struct OneLength<S> {
    stream: S,
    reader: Reader,
}

impl<S> OneLength<S> {
    /// With this stream, of which nothing was read yet.
    pub fn new(stream: S) -> Self {
        Self { stream, reader: Reader::default() }
    }
}

/// Where in a request the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the request line, or in the empty lines before it.
    First { empty: bool },
    /// In a header's name; how many of its bytes came.
    Name(usize),
    /// In a header's value.
    Value(Header),
    /// In a body of so many more bytes.
    Body(u64),
    /// In a chunk's length, or, if that was zero, before the trailers.
    Size { bytes: u64, extension: bool },
    /// In a chunk, its line break included.
    Chunk(u64),
    /// In the trailers; whether their line is empty so far.
    Trailers { empty: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Header {
    Length,
    Encoding,
    Other,
}

/// Follows requests through what is read.
#[derive(Debug)]
struct Reader {
    place: Place,
    name: [u8; NAME_BYTES],
    length: Option<u64>,
    encoded: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self { place: Place::First { empty: true }, name: [0; NAME_BYTES], length: None, encoded: false }
    }
}

impl Reader {
    /// Looks at what was read, and spoils the second length of a request.
    fn follow(&mut self, read: &mut [u8]) {
        let mut at = 0;
        while let Some(byte) = read.get_mut(at) {
            if let Place::Body(left) | Place::Chunk(left) = self.place {
                let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(read.len() - at);
                let left = left - skipped as u64;
                self.place = match self.place {
                    Place::Chunk(_) if left > 0 => Place::Chunk(left),
                    Place::Chunk(_) => Place::Size { bytes: 0, extension: false },
                    _ if left > 0 => Place::Body(left),
                    _ => Place::First { empty: true },
                };
                at += skipped;
                continue;
            }
            if self.step(*byte) {
                // No name has a space behind it.
                *byte = b' ';
            }
            at += 1;
        }
    }

    /// Takes one byte of a head or of a frame; whether it ends the name of a
    /// second length.
    fn step(&mut self, byte: u8) -> bool {
        self.place = match (self.place, byte) {
            (Place::First { empty: true }, b'\r' | b'\n') => Place::First { empty: true },
            (Place::First { .. }, b'\n') => Place::Name(0),
            (Place::First { .. }, _) => Place::First { empty: false },

            (Place::Name(0), b'\r') => Place::Name(0),
            (Place::Name(0), b'\n') => self.body(),
            (Place::Name(_), b'\n') => Place::Name(0),
            (Place::Name(taken), b':') => {
                let header = match self.name.get(..taken) {
                    Some(b"content-length") => Header::Length,
                    Some(b"transfer-encoding") => Header::Encoding,
                    _ => Header::Other,
                };
                let second = match header {
                    Header::Length => self.encoded,
                    Header::Encoding => self.length.is_some(),
                    Header::Other => false,
                };
                match header {
                    Header::Length => self.length = Some(0),
                    Header::Encoding => self.encoded = true,
                    Header::Other => {}
                }
                self.place = Place::Value(header);
                return second;
            }
            (Place::Name(taken), byte) => {
                if let Some(place) = self.name.get_mut(taken) {
                    *place = byte.to_ascii_lowercase();
                }
                Place::Name(taken + 1)
            }

            (Place::Value(_), b'\n') => Place::Name(0),
            (Place::Value(Header::Length), digit @ b'0'..=b'9') => {
                let length = self.length.unwrap_or(0);
                self.length = Some(length.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
                Place::Value(Header::Length)
            }
            (Place::Value(header), _) => Place::Value(header),

            (Place::Size { bytes: 0, .. }, b'\n') => Place::Trailers { empty: true },
            (Place::Size { bytes, .. }, b'\n') => Place::Chunk(bytes.saturating_add(2)),
            (Place::Size { bytes, extension: false }, digit) if digit.is_ascii_hexdigit() => {
                let digit = char::from(digit).to_digit(16).unwrap_or(0);
                Place::Size { bytes: bytes.saturating_mul(16).saturating_add(digit.into()), extension: false }
            }
            (Place::Size { bytes, .. }, b'\r') => Place::Size { bytes, extension: true },
            (Place::Size { bytes, .. }, _) => Place::Size { bytes, extension: true },

            (Place::Trailers { empty: true }, b'\n') => Place::First { empty: true },
            (Place::Trailers { empty }, b'\r') => Place::Trailers { empty },
            (Place::Trailers { .. }, b'\n') => Place::Trailers { empty: true },
            (Place::Trailers { .. }, _) => Place::Trailers { empty: false },

            // Skipped as a whole, before.
            (place @ (Place::Body(_) | Place::Chunk(_)), _) => place,
        };
        false
    }

    /// What comes behind a head.
    fn body(&mut self) -> Place {
        let (length, encoded) = (self.length.take(), std::mem::take(&mut self.encoded));
        match (encoded, length) {
            (true, _) => Place::Size { bytes: 0, extension: false },
            (false, Some(length)) if length > 0 => Place::Body(length),
            (false, _) => Place::First { empty: true },
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for OneLength<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, into))?;
        if let Some(read) = into.filled_mut().get_mut(before..) {
            this.reader.follow(read);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for OneLength<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the library gets to see of this, read in pieces of each size.
    fn seen(text: &str) -> String {
        let mut whole: Option<Vec<u8>> = None;
        for piece in 1..=text.len() {
            let mut bytes = text.as_bytes().to_vec();
            let mut reader = Reader::default();
            bytes.chunks_mut(piece).for_each(|piece| reader.follow(piece));
            assert!(whole.is_none() || whole.as_ref() == Some(&bytes), "in pieces of {piece}");
            whole = Some(bytes);
        }
        String::from_utf8(whole.unwrap_or_default()).expect("as it was")
    }

    #[test]
    fn a_second_length_is_spoilt_whichever_comes_first() {
        for (given, seen_as) in [
            (
                "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
                "Content-Length: 2\r\nTransfer-Encoding  chunked\r\n\r\n",
            ),
            ("transfer-encoding:chunked\ncontent-LENGTH:2\n\n", "transfer-encoding:chunked\ncontent-LENGTH 2\n\n"),
        ] {
            let first = "POST / HTTP/1.1\r\nhost: a\r\n";
            assert_eq!(seen(&format!("{first}{given}")), format!("{first}{seen_as}"));
        }
    }

    #[test]
    fn bodies_and_what_comes_behind_them_are_left_alone() {
        let looks_like_a_head = "A / B\r\ncontent-length: 1\r\ntransfer-encoding: x\r\n\r\n";
        let length = looks_like_a_head.len();
        for text in [
            format!("POST / HTTP/1.1\r\ncontent-length: {length}\r\n\r\n{looks_like_a_head}GET / HTTP/1.1\r\n\r\n"),
            format!(
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{length:X};a=b\r\n{looks_like_a_head}\r\n0\r\n\
                 content-length: 5\r\n\r\nGET / HTTP/1.1\r\ncontent-length: 0\r\n\r\n"
            ),
            "GET / HTTP/1.1\r\ncontent-length: 0\r\n\r\nPOST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
                .into(),
            "GET / HTTP/1.1\r\nx-transfer-encoding: chunked\r\ncontent-length-x: 1\r\ncontent-length: 1\r\n\r\na"
                .into(),
        ] {
            assert_eq!(seen(&text), text);
        }
    }

    #[test]
    fn the_next_request_is_looked_at_as_the_first() {
        let spoilt = seen(
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n\
             POST / HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
        );
        assert!(spoilt.ends_with("transfer-encoding  chunked\r\n\r\n"), "{spoilt}");
    }

    #[test]
    fn nothing_that_comes_makes_it_panic() {
        // All short texts of what matters here.
        let letters = [b'\n', b'\r', b':', b'0', b'f', b'a'];
        for number in 0..6_usize.pow(7) {
            let mut rest = number;
            let mut bytes = [0; 7].map(|_: u8| {
                let letter = letters[rest % 6];
                rest /= 6;
                letter
            });
            Reader::default().follow(&mut bytes);
            let chunked = Place::Size { bytes: u64::MAX / 16, extension: false };
            Reader { place: chunked, ..Reader::default() }.follow(&mut bytes);
        }
    }
}
