//! Settings, as plain values, and the URL that they are written as.

use std::{path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;
use whisker_documents::keys::Users;
use whisker_secrets::Seals;

use crate::signature::Key;

/// Where a Cosmos DB is, and how it is used.
#[derive(Debug, Clone)]
pub struct Config {
    /// `https://host:port` of the account.
    pub base: String,
    /// The account's key.
    pub key: Key,
    /// The database.
    pub database: String,
    /// What its containers are called.
    pub containers: Containers,
    /// How long it may be silent before it counts as away.
    pub patience: Duration,
    /// Requests at once; further ones wait.
    pub connections: usize,
    /// Certificates (PEM) to trust in the place of the system's.
    pub ca: Option<PathBuf>,
    /// How users' keys are kept.
    pub users: Users,
    /// What they are sealed with, if they are to be, and opened.
    pub seals: Seals,
}

/// The containers, by their names: OpenWhisk's three, and one for large code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Containers {
    /// Actions, packages, triggers and rules (`WhiskEntity`).
    pub whisks: String,
    /// Activation records (`WhiskActivation`).
    pub activations: String,
    /// Subjects and limits (`WhiskAuth`).
    pub subjects: String,
    /// Code that is too large for its document.
    pub code: String,
}

/// Why a text is no URL of a Cosmos DB.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Another scheme.
    #[error("the URL of a Cosmos DB is cosmos://ACCOUNT.documents.azure.com/DATABASE")]
    Scheme,
    /// No host, or one that is none.
    #[error("the URL names no host, or one with characters that hosts do not have; the key is given apart")]
    Host,
    /// No database, or a name that Cosmos DB does not allow.
    #[error("{0:?} is no name of a database or a container: 1 to 255 characters, none of / \\ ? #")]
    Name(String),
    /// No key, or one that is none.
    #[error("the account's key is given apart from the URL, in base64 as Azure shows it")]
    Key,
    /// A parameter that is not known.
    #[error("{0:?} is no parameter here: whisks, activations, subjects, code, users, patience and ca are")]
    Parameter(String),
    /// Users' keys are not kept so.
    #[error("users is clear or sealed, not {0:?}")]
    Users(String),
    /// A parameter whose value makes no sense.
    #[error("{0} cannot have this value")]
    Value(&'static str),
}

impl Config {
    /// Reads `cosmos://account.documents.azure.com/database?patience=…`, which
    /// is always TLS, on port 443 unless another is named.
    ///
    /// Parameters: `whisks`, `activations`, `subjects` and `code`, names of
    /// containers; `users` (`clear`, `sealed`), `patience` (`900ms`, `5s`), and
    /// `ca`, a file. The key is given apart: a URL is shown and logged in too
    /// many places.
    pub fn parse(url: &str, key: Option<&str>) -> Result<Self, InvalidUrl> {
        let rest = url.strip_prefix("cosmos://").ok_or(InvalidUrl::Scheme)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, database) = rest.split_once('/').unwrap_or((rest, ""));
        let in_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
        if host.is_empty() || host.starts_with(':') || !host.bytes().all(in_host) {
            return Err(InvalidUrl::Host);
        }
        let base = format!("https://{host}");
        base.parse::<http::Uri>().map_err(|_| InvalidUrl::Host)?;
        let database = name(&decoded(database.trim_end_matches('/')).ok_or(InvalidUrl::Value("the database"))?)?;
        let mut config = Self {
            base,
            key: key.and_then(Key::parse).ok_or(InvalidUrl::Key)?,
            database,
            containers: Containers {
                whisks: "whisks".into(),
                activations: "activations".into(),
                subjects: "subjects".into(),
                code: "code".into(),
            },
            patience: whisker_remote::PATIENCE,
            connections: 32,
            ca: None,
            users: Users::default(),
            seals: Seals::default(),
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (parameter, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value).ok_or(InvalidUrl::Value("a parameter"))?;
            match parameter {
                "whisks" => config.containers.whisks = name(&value)?,
                "activations" => config.containers.activations = name(&value)?,
                "subjects" => config.containers.subjects = name(&value)?,
                "code" => config.containers.code = name(&value)?,
                "patience" => {
                    config.patience = whisker_remote::patience(&value).ok_or(InvalidUrl::Value("patience"))?
                }
                "ca" => config.ca = Some(value.into()),
                "users" => config.users = Users::parse(&value).ok_or(InvalidUrl::Users(value))?,
                other => return Err(InvalidUrl::Parameter(other.to_owned())),
            }
        }
        Ok(config)
    }

    /// Where it is, as people are told.
    pub fn place(&self) -> String {
        format!("{}/{}", self.base, self.database)
    }
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned())
}

fn name(text: &str) -> Result<String, InvalidUrl> {
    let good = (1..=255).contains(&text.len()) && !text.contains(['/', '\\', '?', '#']) && !text.ends_with(' ');
    if good { Ok(text.to_owned()) } else { Err(InvalidUrl::Name(text.to_owned())) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const KEY: Option<&str> = Some("czNjcmV0");

    #[test]
    fn a_url_says_where_and_how() {
        let config = Config::parse("cosmos://me.documents.azure.com:444/ow?whisks=w&patience=5s", KEY).unwrap();
        assert_eq!((&*config.base, &*config.database), ("https://me.documents.azure.com:444", "ow"));
        assert_eq!((&*config.containers.whisks, &*config.containers.subjects), ("w", "subjects"));
        assert_eq!(config.patience, Duration::from_secs(5));
        assert_eq!(config.place(), "https://me.documents.azure.com:444/ow");
        assert_eq!(config.users, Users::Clear);
        assert_eq!(Config::parse("cosmos://db/ow?users=sealed", KEY).unwrap().users, Users::Sealed);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_key() {
        for (url, key, words) in [
            ("https://db", KEY, "cosmos://"),
            ("cosmos:///db", KEY, "no host"),
            ("cosmos://czNjcmV0@host/db", KEY, "given apart"),
            ("cosmos://host", KEY, "no name"),
            ("cosmos://host/db", None, "given apart"),
            ("cosmos://host/db", Some("s3cret!"), "base64"),
            ("cosmos://host/db?prefix=a", KEY, "\"prefix\""),
            ("cosmos://host/db?patience=soon", KEY, "patience"),
            ("cosmos://host/db?users=Sealed", KEY, "not \"Sealed\""),
        ] {
            let error = Config::parse(url, key).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("czNj") && !error.contains("s3cret"), "{url}: {error}");
        }
        let config = Config::parse("cosmos://host/db", KEY).unwrap();
        assert!(!format!("{config:?}").contains("czNj"));
    }
}
