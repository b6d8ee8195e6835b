//! The keys there are, and which of them new values are encrypted with.

use serde_json::{Value, value::RawValue};
use whisker_entity::{Parameter, Parameters};

use crate::{Algorithm, Key, Seals};

/// Locks and unlocks parameters. Without keys it does neither.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    current: Option<Algorithm>,
    /// Of each algorithm the newest key first: it alone encrypts.
    aes128: Vec<Key>,
    aes256: Vec<Key>,
}

/// Why a value stays locked, or unlocked. None of these tells a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It needs a key that is not there.
    #[error("there is no key for {}", .0.name())]
    NoKey(Algorithm),
    /// It was not encrypted with the key that is there, or is damaged.
    #[error("what is encrypted with {} does not fit its key", .0.name())]
    Unfit(Algorithm),
    /// The kernel gave no random numbers.
    #[error("a value could not be encrypted")]
    Encrypt,
}

impl Secrets {
    /// With these keys, of each algorithm the newest first. None is used for
    /// new values yet.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Self {
        let (aes128, aes256) = keys.into_iter().partition(|key| key.algorithm() == Algorithm::Aes128);
        Self { current: None, aes128, aes256 }
    }

    /// Encrypts new values from now on.
    pub fn encrypting_with(self, algorithm: Algorithm) -> Result<Self, Error> {
        self.newest(algorithm)?;
        Ok(Self { current: Some(algorithm), ..self })
    }

    /// Whether new values are encrypted.
    pub fn is_encrypting(&self) -> bool {
        self.current.is_some()
    }

    /// What else is encrypted at rest, with the same keys: sealed if parameters
    /// are encrypted, with the key that they are, and opened by whichever fits.
    pub fn seals(&self) -> Result<Seals, Error> {
        let newest = self.current.map(|algorithm| self.newest(algorithm)).transpose()?;
        let keys = self.aes256.iter().chain(&self.aes128).map(Key::root);
        Seals::new(newest.map(Key::root), keys).ok_or(Error::Encrypt)
    }

    fn keys(&self, algorithm: Algorithm) -> &[Key] {
        match algorithm {
            Algorithm::Aes128 => &self.aes128,
            Algorithm::Aes256 => &self.aes256,
        }
    }

    fn newest(&self, algorithm: Algorithm) -> Result<&Key, Error> {
        self.keys(algorithm).first().ok_or(Error::NoKey(algorithm))
    }

    /// The text behind a locked one, with whichever key fits.
    fn open(&self, algorithm: Algorithm, locked: &str) -> Result<String, Error> {
        self.newest(algorithm)?;
        self.keys(algorithm).iter().find_map(|key| key.decrypt(locked)).ok_or(Error::Unfit(algorithm))
    }

    /// Parameters with all values encrypted. Those that are already stay as
    /// they are, so that what was read can be put again, but for those of an
    /// older key, which get the current one: so keys are replaced. What fits no
    /// key stays. Without a current algorithm nothing is encrypted.
    pub fn lock(&self, parameters: Parameters) -> Result<Parameters, Error> {
        let Some(algorithm) = self.current else { return Ok(parameters) };
        let key = self.newest(algorithm)?;
        let lock = |parameter: &Parameter| {
            let text = match parameter.encryption.as_deref() {
                None => parameter.value.to_string(),
                Some(by) => match self.outdated(by, &parameter.value) {
                    Some(text) => text,
                    None => return Ok(parameter.clone()),
                },
            };
            let value = Value::String(key.encrypt(&text).ok_or(Error::Encrypt)?);
            let encryption = Some(algorithm.name().to_owned());
            Ok(Parameter { key: parameter.key.clone(), value, init: parameter.init, encryption })
        };
        parameters.iter().map(lock).collect()
    }

    /// The text behind a value that is locked, though not as new ones are.
    fn outdated(&self, by: &str, value: &Value) -> Option<String> {
        let (by, locked) = (by.parse::<Algorithm>().ok()?, value.as_str()?);
        let newest = self.newest(by).ok()?;
        let is_current = self.current == Some(by) && newest.decrypt(locked).is_some();
        if is_current { None } else { self.open(by, locked).ok() }
    }

    /// The value behind a locked one, on one line. `None` for what was never
    /// locked: not a text, or with an algorithm of a name that is nobody's,
    /// which OpenWhisk passes on as it is.
    ///
    /// Unlike OpenWhisk we do not pass on a ciphertext whose key is missing:
    /// user code should fail for want of a password, not send another one.
    pub fn unlock(&self, algorithm: &str, value: &RawValue) -> Result<Option<Box<RawValue>>, Error> {
        let Ok(algorithm) = algorithm.parse::<Algorithm>() else { return Ok(None) };
        let Ok(locked) = serde_json::from_str::<String>(value.get()) else { return Ok(None) };
        let text = self.open(algorithm, &locked)?;
        // In JSON line breaks are never inside a string.
        let text = if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], " ") } else { text };
        RawValue::from_string(text).map(Some).map_err(|_| Error::Unfit(algorithm))
    }
}

#[cfg(test)]
mod tests;
