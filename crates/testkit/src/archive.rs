//! Zip archives as users upload them, and as attackers do.

use std::io::{Cursor, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
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

    fn entry(
        mut self,
        name: &str,
        write: impl FnOnce(&mut ZipWriter<Cursor<Vec<u8>>>) -> std::io::Result<()>,
    ) -> Archive {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).large_file(true);
        self.writer.start_file(name, options).expect("a valid entry");
        write(&mut self.writer).expect("memory takes it");
        self
    }
}
