//! Compiling, and nothing else: for a platform that has it done once for each
//! version of an action, in a container of its own, and gives what was made to
//! those that run it.
//!
//! With `WHISKER_COMPILE=stdin` in its environment the proxy listens to nobody
//! and starts no launcher. It reads the body of an `/init` from its standard
//! input, which need not end with it, and writes what `/init` would have run, as
//! a tar, to its standard output. That is binary code again, to be sent as
//! `compiled`. What the compiler said goes to standard error.

use std::{
    io::{self, BufReader, BufWriter, Read, Write},
    path::Path,
};

use anyhow::Context;
use serde::Deserialize;

use crate::{
    answer,
    order::InitBody,
    output,
    server::{Action, BODY_BYTES, Unloadable},
};

/// The variable that asks for it.
pub(crate) const VARIABLE: &str = "WHISKER_COMPILE";

/// Status if the compiler made no program. What it said is on standard error.
const NOT_BUILT: u8 = 1;

/// Status if the code was not even looked at by a compiler; the reason is on
/// standard error, in words for its author.
const REFUSED: u8 = 2;

/// Compiles what standard input has; the status to end with.
pub(crate) fn run(action: &Action) -> anyhow::Result<u8> {
    let mut input = serde_json::Deserializer::from_reader(BufReader::new(io::stdin().take(BODY_BYTES as u64)));
    let InitBody { value: init } = Deserialize::deserialize(&mut input).context("cannot read the code")?;
    if init.code.is_empty() {
        output::complain(answer::NO_CODE);
        return Ok(REFUSED);
    }
    let (init, code) = init.decoded().context("cannot decode the code")?;
    match action.place(&init, code) {
        Ok(folder) => {
            write(Path::new(&folder), io::stdout().lock()).context("cannot hand out the program")?;
            Ok(0)
        }
        Err(Unloadable::NotBuilt(said)) => {
            output::complain_of(&said);
            Ok(NOT_BUILT)
        }
        Err(Unloadable::Refused(words)) => {
            output::complain(&words);
            Ok(REFUSED)
        }
    }
}

/// Writes what is in a folder. It is read once for each container, so that time
/// to unpack it counts for more than bytes, and it is not compressed.
fn write(folder: &Path, to: impl Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(BufWriter::new(to));
    // They are looked at, as all of it is, where it is unpacked.
    tar.follow_symlinks(false);
    tar.append_dir_all(".", folder)?;
    tar.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?.flush()
}
