//! Whatever a container writes, however it is cut into pieces, comes out as
//! the same lines, none of them longer than there was room for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use whisker_frame::{Head, Parser, Sink};

const ROOM: usize = 100;

#[derive(Default, PartialEq, Debug)]
struct Lines(Vec<(Head, Vec<u8>, u64)>);

impl Sink for Lines {
    fn room(&mut self, _: Head) -> usize {
        ROOM
    }

    fn line(&mut self, head: Head, payload: &[u8], length: u64) {
        assert!(payload.len() <= ROOM);
        self.0.push((head, payload.to_vec(), length));
    }
}

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (size, bytes) = input;
    let (mut whole, mut pieces) = (Lines::default(), Lines::default());
    Parser::default().push(&bytes, &mut whole);
    let mut parser = Parser::default();
    for piece in bytes.chunks(usize::from(size).max(1)) {
        parser.push(piece, &mut pieces);
    }
    assert_eq!(whole, pieces);
});
