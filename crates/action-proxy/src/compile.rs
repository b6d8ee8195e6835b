//! Making a program of source, by one of the scripts of `runtimes/`.
//!
//! Done at initialisation, as OpenWhisk's images do it, or beforehand by itself:
//! see [`once`](crate::once).

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// How source becomes what is run.
#[derive(Debug, Clone)]
pub(crate) struct Compiler {
    /// The script.
    pub script: PathBuf,
    /// The toolchain's program, its first argument.
    pub program: String,
    /// What was prepared when the image was built.
    pub prepared: PathBuf,
}

/// Most that is passed on of what a compiler says.
const SAID_BYTES: u64 = 1 << 20;

/// Runs a script as `runtimes/README.md` says, in the folder that is its first
/// argument. The answer is a word on standard output and no exit status: children
/// of the container's first process are waited for in one place.
const STEPS: &str = r#"cd "$1" || exit; shift
sh "$@" 3>tar >said 2>&1 && [ ! -s said ] && mkdir made && tar -xf tar -C made && rm tar && echo made"#;

impl Compiler {
    /// Makes a program of what is in `source`, below the existing folder `work`:
    /// the folder that holds it, or what the compiler said. Blocks.
    pub(crate) fn compile(&self, source: &Path, main: &str, work: &Path) -> io::Result<Result<PathBuf, Vec<u8>>> {
        let mut child = Command::new("sh")
            .args(["-c", STEPS, "sh"])
            .arg(work)
            .arg(&self.script)
            .arg(&self.program)
            .arg(source)
            .arg(&self.prepared)
            .arg(main)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut answer = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut answer)?;
        }
        if answer.trim() == "made" {
            return Ok(Ok(work.join("made")));
        }
        let mut said = Vec::new();
        if let Ok(file) = File::open(work.join("said")) {
            file.take(SAID_BYTES).read_to_end(&mut said)?;
        }
        Ok(Err(said))
    }
}

/// Whether the code is a program already: it, or its `exec`, begins as one.
pub(crate) fn is_program(folder: &Path) -> bool {
    let mut beginning = Vec::new();
    let read = File::open(folder.join("exec")).and_then(|file| file.take(4).read_to_end(&mut beginning));
    read.is_ok() && (beginning.starts_with(b"#!") || beginning.starts_with(b"\x7fELF"))
}

/// Writes source text as the compiler's scripts expect it.
pub(crate) fn write_source(folder: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("exec"), text)
}
