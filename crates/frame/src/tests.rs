#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef";

#[derive(Default)]
struct Lines {
    room: usize,
    lines: Vec<(Head, Vec<u8>, u64)>,
}

impl Sink for Lines {
    fn room(&mut self, _: Head) -> usize {
        self.room
    }

    fn line(&mut self, head: Head, payload: &[u8], length: u64) {
        assert!(payload.len() <= self.room);
        self.lines.push((head, payload.to_vec(), length));
    }
}

fn parse(pieces: &[&[u8]], room: usize) -> Vec<(Head, Vec<u8>, u64)> {
    let mut sink = Lines { room, ..Lines::default() };
    let mut parser = Parser::default();
    for piece in pieces {
        parser.push(piece, &mut sink);
        assert!(parser.kept.len() <= room.max(HEAD_BYTES));
    }
    sink.lines
}

fn check(line: &str, head: Head, payload: &str) {
    let text = format!("{line}\n");
    let expected = vec![(head, payload.as_bytes().to_vec(), payload.len() as u64)];
    assert_eq!(parse(&[text.as_bytes()], 1000), expected);
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    assert_eq!(parse(&bytes, 1000), expected, "byte by byte");
}

#[test]
fn every_frame_is_told_from_the_others() {
    let id: ActivationId = ID.parse().unwrap();
    let line = |stream| Head::Line { activation: id, stream, time_us: 1_700_000_000_000_000 };
    check("I {\"ok\":true}", Head::Init, "{\"ok\":true}");
    check(&format!("R {ID} {{}}"), Head::Result(id), "{}");
    check(&format!("F {ID} {{\"error\":1}}"), Head::Failure(id), "{\"error\":1}");
    check(&format!("O {ID} 1700000000000000 a b"), line(Stream::Stdout), "a b");
    check(&format!("E {ID} 1700000000000000 "), line(Stream::Stderr), "");
}

#[test]
fn what_is_no_frame_is_a_bare_line() {
    for line in [
        "{\"ok\":true}",
        "[]",
        "",
        "R",
        "R ",
        "X 0123456789abcdef0123456789abcdef {}",
        "R 0123456789ABCDEF0123456789abcdeX {}",
        "R short {}",
        "O 0123456789abcdef0123456789abcdef soon text",
        "O 0123456789abcdef0123456789abcdef 99999999999999999999999 text",
        "O 0123456789abcdef0123456789abcdef 12",
    ] {
        check(line, Head::Bare, line);
    }
}

#[test]
fn a_long_line_is_counted_but_not_kept() {
    let head = format!("R {ID} ");
    let piece = [b'x'; 1000];
    let mut pieces = vec![head.as_bytes()];
    pieces.extend((0..1000).map(|_| &piece[..]));
    pieces.push(b"\nI {}\n");
    let lines = parse(&pieces, 10);
    assert_eq!(lines[0].1, b"xxxxxxxxxx");
    assert_eq!(lines[0].2, 1_000_000);
    assert_eq!(lines[1], (Head::Init, b"{}".to_vec(), 2));
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"\n".to_vec()),
        Just(format!("R {ID} ").into_bytes()),
        Just(format!("O {ID} 17 ").into_bytes()),
        Just(b"I ".to_vec()),
        prop::collection::vec(any::<u8>(), 0..100),
    ]
}

proptest! {
    /// However the bytes are cut into pieces, the lines are the same.
    #[test]
    fn pieces_do_not_matter(
        bytes in prop::collection::vec(piece(), 0..20).prop_map(|pieces| pieces.concat()),
        size in 1usize..80,
        room in 0usize..80,
    ) {
        let cut: Vec<&[u8]> = bytes.chunks(size).collect();
        let lines = parse(&[&bytes[..]], room);
        prop_assert_eq!(&lines, &parse(&cut, room));
        prop_assert_eq!(lines.len(), bytes.iter().filter(|byte| **byte == b'\n').count());
    }
}
