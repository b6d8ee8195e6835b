//! Zip archives as users upload them, and as attackers do.

use std::io::{self, Cursor, Read, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// Bytes as the API wants them.
pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// A zip archive that is being written.
pub struct Archive {
    writer: ZipWriter<Cursor<Vec<u8>>>,
}

impl Default for Archive {
    fn default() -> Archive {
        Archive { writer: ZipWriter::new(Cursor::default()) }
    }
}

impl Archive {
    /// With one more file; any name goes.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Archive {
        self.entry(name, |writer| writer.write_all(content.as_ref()))
    }

    /// With a file that anyone may run.
    pub fn executable(mut self, name: &str, content: impl AsRef<[u8]>) -> Archive {
        let options = SimpleFileOptions::default().unix_permissions(0o755);
        self.writer.start_file(name, options).expect("a valid entry");
        self.writer.write_all(content.as_ref()).expect("memory takes it");
        self
    }

    /// With a file of so many zeros, which takes next to no room.
    pub fn zeros(self, name: &str, bytes: u64) -> Archive {
        static PIECE: [u8; 1 << 16] = [0; 1 << 16];
        self.entry(name, |writer| {
            let mut left = bytes;
            while left > 0 {
                let piece = left.min(PIECE.len() as u64);
                writer.write_all(&PIECE[..usize::try_from(piece).expect("at most 64 KB")])?;
                left -= piece;
            }
            Ok(())
        })
    }

    /// With a symbolic link.
    pub fn link(mut self, name: &str, target: &str) -> Archive {
        self.writer.add_symlink(name, target, SimpleFileOptions::default()).expect("a valid entry");
        self
    }

    /// Its bytes.
    pub fn bytes(self) -> Vec<u8> {
        self.writer.finish().expect("memory takes it").into_inner()
    }

    /// As the API wants it.
    pub fn base64(self) -> String {
        base64(self.bytes())
    }

    fn entry(mut self, name: &str, write: impl FnOnce(&mut ZipWriter<Cursor<Vec<u8>>>) -> io::Result<()>) -> Archive {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).large_file(true);
        self.writer.start_file(name, options).expect("a valid entry");
        write(&mut self.writer).expect("memory takes it");
        self
    }
}

/// Archives that reach out of the folder which they are unpacked in, each in its
/// own way, beside `code`, which adds what a function needs: a file `escaped`
/// would be elsewhere, one of them below the folder `absolute`.
pub fn escapes(absolute: &str, code: impl Fn() -> Archive) -> Vec<(&'static str, Archive)> {
    vec![
        ("dots", code().file("../escaped", "x")),
        ("deep dots", code().file("a/../../../escaped", "x")),
        ("absolute", code().file(&format!("{absolute}/escaped"), "x")),
        ("link", code().link("way-out", "/etc").file("way-out/escaped", "x")),
        ("link up", code().link("up", "../..").file("up/escaped", "x")),
        ("link alone", code().link("escaped", "/etc/passwd")),
    ]
}

/// A tar.gz that holds one file of ten gigabytes of zeros, in ten megabytes.
pub fn bomb() -> Vec<u8> {
    const FILE_BYTES: u64 = 10 << 30;
    const PIECE_BYTES: u64 = 128 << 20;
    // What gzip made of a piece may be repeated: a stream of streams is one.
    let gzip = |content: &mut dyn Read| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        io::copy(content, &mut encoder).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    };
    let mut head = [0_u8; 512];
    head[..5].copy_from_slice(b"zeros");
    head[100..108].copy_from_slice(b"0000644\0");
    // More than the field's octal digits can say is said in binary.
    head[124] = 0x80;
    head[128..136].copy_from_slice(&FILE_BYTES.to_be_bytes());
    head[156] = b'0';
    head[257..265].copy_from_slice(b"ustar  \0");
    head[148..156].fill(b' ');
    let sum: u32 = head.iter().copied().map(u32::from).sum();
    head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut bytes = gzip(&mut head.as_slice());
    let piece = gzip(&mut io::repeat(0).take(PIECE_BYTES));
    (0..FILE_BYTES / PIECE_BYTES).for_each(|_| bytes.extend_from_slice(&piece));
    bytes
}
