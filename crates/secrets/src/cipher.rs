//! One algorithm with its key.

use std::{fmt, str::FromStr};

use aes_gcm::{
    AesGcm, KeyInit,
    aead::{Aead, array::ArraySize, consts::U12},
    aes::{Aes128, Aes256},
};
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::seals::Root;

/// Java's decoder takes texts with padding and without, and so do we.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes of the number that comes first.
const LENGTH_BYTES: usize = 4;

type U128 = aes_gcm::aead::consts::U128;

/// How values are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// AES-GCM with a key of 16 bytes.
    Aes128,
    /// AES-GCM with a key of 32 bytes.
    Aes256,
}

/// A name that is no algorithm's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are aes-128 and aes-256")]
pub struct UnknownAlgorithm;

impl Algorithm {
    /// As documents call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes128 => "aes-128",
            Self::Aes256 => "aes-256",
        }
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        [Self::Aes128, Self::Aes256].into_iter().find(|algorithm| algorithm.name() == name).ok_or(UnknownAlgorithm)
    }
}

/// A key, ready for use.
#[derive(Clone)]
pub struct Key {
    cipher: Cipher,
    root: Root,
}

#[derive(Clone)]
enum Cipher {
    Aes128(Box<AesGcm<Aes128, U12>>),
    Aes256(Box<AesGcm<Aes256, U128>>),
}

/// A text that is no key of an algorithm. It does not tell the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the base64 of a key of {bytes} bytes")]
pub struct InvalidKey {
    bytes: usize,
}

impl Key {
    /// Reads the base64 of a key: 16 bytes for `aes-128`, 32 for `aes-256`.
    pub fn parse(algorithm: Algorithm, text: &str) -> Result<Self, InvalidKey> {
        let bytes = match algorithm {
            Algorithm::Aes128 => 16,
            Algorithm::Aes256 => 32,
        };
        let key = BASE64.decode(text.trim()).map_err(|_| InvalidKey { bytes })?;
        let cipher = match algorithm {
            Algorithm::Aes128 => AesGcm::new_from_slice(&key).map(|cipher| Cipher::Aes128(Box::new(cipher))),
            Algorithm::Aes256 => AesGcm::new_from_slice(&key).map(|cipher| Cipher::Aes256(Box::new(cipher))),
        };
        let cipher = cipher.map_err(|_| InvalidKey { bytes })?;
        Ok(Self { cipher, root: Root::of(&key) })
    }

    /// What it is for.
    pub fn algorithm(&self) -> Algorithm {
        match self.cipher {
            Cipher::Aes128(_) => Algorithm::Aes128,
            Cipher::Aes256(_) => Algorithm::Aes256,
        }
    }

    /// What seals are made with.
    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// Encrypts a text with a nonce from the kernel; `None` if it gives none.
    pub(crate) fn encrypt(&self, text: &str) -> Option<String> {
        match &self.cipher {
            Cipher::Aes128(cipher) => encrypt(&**cipher, text),
            Cipher::Aes256(cipher) => encrypt(&**cipher, text),
        }
    }

    /// The text that was encrypted; `None` if it was not, or not with this key.
    pub(crate) fn decrypt(&self, encrypted: &str) -> Option<String> {
        match &self.cipher {
            Cipher::Aes128(cipher) => decrypt(&**cipher, encrypted),
            Cipher::Aes256(cipher) => decrypt(&**cipher, encrypted),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a key for {}", self.algorithm().name())
    }
}

fn encrypt<N: ArraySize>(cipher: &impl Aead<NonceSize = N>, text: &str) -> Option<String> {
    let mut nonce = aes_gcm::Nonce::<N>::default();
    getrandom::fill(&mut nonce).ok()?;
    let sealed = cipher.encrypt(&nonce, text.as_bytes()).ok()?;
    let length = u32::try_from(nonce.len()).ok()?.to_be_bytes();
    Some(BASE64.encode([&length, nonce.as_slice(), sealed.as_slice()].concat()))
}

fn decrypt<N: ArraySize>(cipher: &impl Aead<NonceSize = N>, encrypted: &str) -> Option<String> {
    let bytes = BASE64.decode(encrypted).ok()?;
    let (length, rest) = bytes.split_at_checked(LENGTH_BYTES)?;
    let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
    let (nonce, sealed) = rest.split_at_checked(length)?;
    // Of another length it is another algorithm's.
    let nonce = aes_gcm::Nonce::<N>::try_from(nonce).ok()?;
    String::from_utf8(cipher.decrypt(&nonce, sealed).ok()?).ok()
}
