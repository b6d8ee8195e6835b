//! What is encrypted where it is kept.
//!
//! # Parameters
//!
//! The controller [locks](Secrets::lock) the parameters of actions and packages
//! when they are put; they are stored, shown and sent to an invoker as they
//! are then, and the invoker [unlocks](Secrets::unlock) them when a run is
//! about to see them. Whoever reads the store, its backups, the journal of the
//! bus or the API's answers reads ciphertext.
//!
//! The format is OpenWhisk's (`ParameterEncryption.scala`), so that its
//! documents can be read and it can read ours: base64 of a number (the length
//! of the nonce, 32 bits, the high ones first), the nonce, and the compact JSON
//! of the value in AES-GCM with a tag of 128 bits. `aes-128` has nonces of 12
//! bytes, `aes-256` of 128.
//!
//! What this does not do: a ciphertext is not bound to its parameter. Whoever
//! may read one can put it into an action of theirs and run it, as with
//! OpenWhisk; its format has no place for more.
//!
//! # Everything else
//!
//! Subjects' keys in our own stores and what the journals hold are nobody's
//! format but ours, and [`Seals`] does better by them: they are bound to their
//! place, and say which key they need.

mod cipher;
mod seals;
mod secrets;

pub use cipher::{Algorithm, InvalidKey, Key, UnknownAlgorithm};
pub use seals::{Seals, Unsealable};
pub use secrets::{Error, Secrets};
