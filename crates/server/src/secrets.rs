//! The keys that things are encrypted with where they are kept, read from where the settings say.
//!
//! A key is a file, or a variable of the environment, and never a flag: the
//! command lines of all processes can be read by every user of a machine.

use std::{env, fs, os::unix::fs::MetadataExt, path::Path};

use anyhow::{Context, bail};
use whisker_secrets::{Algorithm, Key, Secrets};

use crate::settings::{Encryption, Keys};

/// Reads the keys there are.
pub fn read(settings: &Keys) -> anyhow::Result<Secrets> {
    let aes128 = keys(Algorithm::Aes128, settings.aes_128_key_file.as_deref(), "WHISKER_AES_128_KEY")?;
    let aes256 = keys(Algorithm::Aes256, settings.aes_256_key_file.as_deref(), "WHISKER_AES_256_KEY")?;
    let secrets = Secrets::new(aes128.into_iter().chain(aes256));
    let (algorithm, where_from) = match settings.parameter_encryption {
        Encryption::Off => return Ok(secrets),
        Encryption::Aes128 => (Algorithm::Aes128, "--aes-128-key-file or WHISKER_AES_128_KEY"),
        Encryption::Aes256 => (Algorithm::Aes256, "--aes-256-key-file or WHISKER_AES_256_KEY"),
    };
    secrets.encrypting_with(algorithm).with_context(|| format!("there is something to encrypt: use {where_from}"))
}

/// Keys are lines, the newest one first.
fn keys(algorithm: Algorithm, file: Option<&Path>, variable: &str) -> anyhow::Result<Vec<Key>> {
    let (text, from) = match (file, env::var_os(variable)) {
        (None, None) => return Ok(Vec::new()),
        (Some(_), Some(_)) => bail!("{variable} is set, and a file is given as well: which of them is it?"),
        (Some(path), None) => {
            let from = path.display().to_string();
            (read_file(path).with_context(|| format!("cannot read the key {from}"))?, from)
        }
        (None, Some(text)) => (text.into_string().unwrap_or_default(), variable.to_owned()),
    };
    // An empty file is no key, and not none.
    let lines = text.trim().split('\n');
    let keys = lines.map(|line| Key::parse(algorithm, line)).collect::<Result<_, _>>();
    keys.with_context(|| format!("{from} is no key for {}", algorithm.name()))
}

/// Reads a file that should be nobody else's, and says so if it is.
pub fn read_file(path: &Path) -> anyhow::Result<String> {
    const FOR_OTHERS: u32 = 0o007;
    // Mounted secrets often have such modes, so that it is no reason to end.
    if fs::metadata(path)?.mode() & FOR_OTHERS != 0 {
        tracing::warn!(path = %path.display(), "every user of this machine can read this secret");
    }
    Ok(fs::read_to_string(path)?)
}
