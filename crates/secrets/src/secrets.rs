//! The keys there are, and which of them new values are encrypted with.

use serde_json::{Value, value::RawValue};
use whisker_entity::{Parameter, Parameters};

use crate::{Algorithm, Key};

/// Locks and unlocks parameters. Without keys it does neither.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    current: Option<Algorithm>,
    aes128: Option<Key>,
    aes256: Option<Key>,
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
    /// With these keys, none of which is used for new values yet.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Self {
        keys.into_iter().fold(Self::default(), |secrets, key| match key.algorithm() {
            Algorithm::Aes128 => Self { aes128: Some(key), ..secrets },
            Algorithm::Aes256 => Self { aes256: Some(key), ..secrets },
        })
    }

    /// Encrypts new values from now on.
    pub fn encrypting_with(self, algorithm: Algorithm) -> Result<Self, Error> {
        self.key(algorithm)?;
        Ok(Self { current: Some(algorithm), ..self })
    }

    fn key(&self, algorithm: Algorithm) -> Result<&Key, Error> {
        let key = match algorithm {
            Algorithm::Aes128 => &self.aes128,
            Algorithm::Aes256 => &self.aes256,
        };
        key.as_ref().ok_or(Error::NoKey(algorithm))
    }

    /// Parameters with all values encrypted. Those that are already, with
    /// whichever algorithm, stay as they are, so that what was read can be put
    /// again. Without a current algorithm nothing is encrypted.
    pub fn lock(&self, parameters: Parameters) -> Result<Parameters, Error> {
        let Some(algorithm) = self.current else { return Ok(parameters) };
        let key = self.key(algorithm)?;
        let lock = |parameter: &Parameter| {
            if parameter.encryption.is_some() {
                return Ok(parameter.clone());
            }
            let value = Value::String(key.encrypt(&parameter.value.to_string()).ok_or(Error::Encrypt)?);
            let encryption = Some(algorithm.name().to_owned());
            Ok(Parameter { key: parameter.key.clone(), value, init: parameter.init, encryption })
        };
        parameters.iter().map(lock).collect()
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
        let text = self.key(algorithm)?.decrypt(&locked).ok_or(Error::Unfit(algorithm))?;
        // In JSON line breaks are never inside a string.
        let text = if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], " ") } else { text };
        RawValue::from_string(text).map(Some).map_err(|_| Error::Unfit(algorithm))
    }
}

#[cfg(test)]
mod tests;
