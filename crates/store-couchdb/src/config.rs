//! Settings, as plain values, and the URL that they are written as.

use std::{fmt, path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;
use whisker_documents::keys::Users;
use whisker_secrets::Seals;

/// Where a CouchDB is, and how it is used.
#[derive(Clone)]
pub struct Config {
    /// `http://host:port`, with a path below which it is served where it has one.
    pub base: String,
    /// Who asks: name and password.
    pub credentials: Option<(String, String)>,
    /// What its databases are called.
    pub databases: Databases,
    /// Whether those that are missing are made, as they are unless this is changed.
    pub makes_databases: bool,
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

/// OpenWhisk's three databases, by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Databases {
    /// Actions, packages, triggers and rules (`WhiskEntity`).
    pub whisks: String,
    /// Activation records (`WhiskActivation`).
    pub activations: String,
    /// Subjects and limits (`WhiskAuth`).
    pub subjects: String,
}

/// Why a text is no URL of a CouchDB. Never quotes what may be a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Neither of the schemes.
    #[error("the URL of a CouchDB begins with couchdb:// or, for TLS, couchdbs://")]
    Scheme,
    /// No host, or one that is none.
    #[error("the URL names no host, or one with characters that hosts do not have")]
    Host,
    /// User and password that cannot be read.
    #[error("user and password are written as user:password@, percent-encoded; the password may be given apart")]
    Credentials,
    /// A parameter that is not known.
    #[error("{0:?} is no parameter here: prefix, whisks, activations, subjects, users, patience and ca are")]
    Parameter(String),
    /// A parameter whose value makes no sense.
    #[error("{0} cannot have this value")]
    Value(&'static str),
    /// Users' keys are not kept so.
    #[error("users is clear or sealed, not {0:?}")]
    Users(String),
    /// A name that CouchDB does not allow.
    #[error("{0:?} is no name of a database: a lower-case letter, then those, digits and any of _$()+-")]
    Database(String),
}

/// The prefix of databases where the URL names none.
const PREFIX: &str = "whisker_";

impl Config {
    /// Reads `couchdb://user:password@host:5984/?prefix=…`.
    ///
    /// `couchdbs` is the same over TLS. Parameters: `prefix` of all databases'
    /// names, or `whisks`, `activations`, `subjects` for a whole name each;
    /// `users` (`clear`, `sealed`), `patience` (`900ms`, `5s`), and `ca`, a file.
    /// A password that is given apart takes the place of the URL's.
    pub fn parse(url: &str, password: Option<&str>) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = match (url.strip_prefix("couchdb://"), url.strip_prefix("couchdbs://")) {
            (Some(rest), _) => ("http", rest),
            (_, Some(rest)) => ("https", rest),
            (None, None) => return Err(InvalidUrl::Scheme),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, host) = match authority.rsplit_once('@') {
            Some((credentials, host)) => (Some(self::credentials(credentials, password)?), host),
            None => (None, authority),
        };
        let in_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
        if host.is_empty() || host.starts_with(':') || !host.bytes().all(in_host) {
            return Err(InvalidUrl::Host);
        }
        let port = if host.rsplit_once(']').map_or(host, |(_, port)| port).contains(':') {
            ""
        } else if scheme == "https" {
            ":6984"
        } else {
            ":5984"
        };
        let path = path.trim_end_matches('/');
        let slash = if path.is_empty() { "" } else { "/" };
        let base = format!("{scheme}://{host}{port}{slash}{path}");
        base.parse::<http::Uri>().map_err(|_| InvalidUrl::Host)?;

        let mut parameters = Parameters::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            parameters.read(pair)?;
        }
        let prefix = parameters.prefix.as_deref().unwrap_or(PREFIX);
        let name = |whole: Option<String>, what: &str| database(whole.unwrap_or_else(|| format!("{prefix}{what}")));
        Ok(Self {
            base,
            credentials,
            databases: Databases {
                whisks: name(parameters.whisks, "whisks")?,
                activations: name(parameters.activations, "activations")?,
                subjects: name(parameters.subjects, "subjects")?,
            },
            makes_databases: true,
            patience: parameters.patience.unwrap_or(whisker_remote::PATIENCE),
            connections: 32,
            ca: parameters.ca,
            users: parameters.users,
            seals: Seals::default(),
        })
    }
}

impl Config {
    /// Where it is, as people are told.
    pub fn place(&self) -> &str {
        &self.base
    }
}

// The password is nobody's to read.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("base", &self.base)
            .field("user", &self.credentials.as_ref().map(|(user, _)| user))
            .field("databases", &self.databases)
            .field("makes_databases", &self.makes_databases)
            .field("patience", &self.patience)
            .field("connections", &self.connections)
            .field("ca", &self.ca)
            .field("users", &self.users)
            .field("seals", &self.seals)
            .finish()
    }
}

/// What may follow the question mark.
#[derive(Default)]
struct Parameters {
    prefix: Option<String>,
    whisks: Option<String>,
    activations: Option<String>,
    subjects: Option<String>,
    patience: Option<Duration>,
    ca: Option<PathBuf>,
    users: Users,
}

impl Parameters {
    fn read(&mut self, pair: &str) -> Result<(), InvalidUrl> {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value).ok_or(InvalidUrl::Value("a parameter"))?;
        match name {
            "prefix" => self.prefix = Some(value),
            "whisks" => self.whisks = Some(value),
            "activations" => self.activations = Some(value),
            "subjects" => self.subjects = Some(value),
            "patience" => self.patience = Some(whisker_remote::patience(&value).ok_or(InvalidUrl::Value("patience"))?),
            "ca" => self.ca = Some(value.into()),
            "users" => self.users = Users::parse(&value).ok_or(InvalidUrl::Users(value))?,
            other => return Err(InvalidUrl::Parameter(other.to_owned())),
        }
        Ok(())
    }
}

fn credentials(text: &str, apart: Option<&str>) -> Result<(String, String), InvalidUrl> {
    let part = |text| decoded(text).ok_or(InvalidUrl::Credentials);
    match (text.split_once(':'), apart) {
        (Some((user, _)), Some(apart)) => Ok((part(user)?, apart.to_owned())),
        (None, Some(apart)) => Ok((part(text)?, apart.to_owned())),
        (Some((user, password)), None) => Ok((part(user)?, part(password)?)),
        (None, None) => Err(InvalidUrl::Credentials),
    }
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned())
}

fn database(name: String) -> Result<String, InvalidUrl> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_$()+-".contains(&b);
    let good = name.len() <= 238 && name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if good && name.bytes().all(inner) { Ok(name) } else { Err(InvalidUrl::Database(name)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_url_says_where_and_how() {
        let config = Config::parse("couchdb://admin:s3%3Acret@db.example:15984/?prefix=ow_&patience=5s", None).unwrap();
        assert_eq!(config.base, "http://db.example:15984");
        assert_eq!(config.credentials, Some(("admin".into(), "s3:cret".into())));
        assert_eq!(config.databases.activations, "ow_activations");
        assert_eq!(config.patience, Duration::from_secs(5));
        for (url, base) in [
            ("couchdb://db", "http://db:5984"),
            ("couchdbs://db/", "https://db:6984"),
            ("couchdb://[::1]/couch/", "http://[::1]:5984/couch"),
            ("couchdbs://[::1]:1/", "https://[::1]:1"),
        ] {
            assert_eq!(Config::parse(url, None).unwrap().base, base, "{url}");
        }
        let named = Config::parse("couchdb://db/?prefix=a_&whisks=my-whisks", None).unwrap();
        assert_eq!(named.databases.whisks, "my-whisks");
        assert_eq!(named.databases.subjects, "a_subjects");
        assert_eq!(named.users, Users::Clear);
        assert_eq!(Config::parse("couchdb://db/?users=sealed", None).unwrap().users, Users::Sealed);
        for url in ["couchdb://u@db", "couchdb://u:other@db"] {
            let apart = Config::parse(url, Some("p@ss")).unwrap();
            assert_eq!(apart.credentials, Some(("u".into(), "p@ss".into())), "{url}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (url, words) in [
            ("http://db", "couchdb://"),
            ("couchdb://", "no host"),
            ("couchdb://u:s3cret@", "no host"),
            ("couchdb://s3cret@db", "user:password@"),
            ("couchdb://u:s3cret@db/?prefux=a", "\"prefux\""),
            ("couchdb://u:s3cret@db/?prefix=Whisk_", "lower-case"),
            ("couchdb://u:s3cret@db/?patience=soon", "patience"),
            ("couchdb://u:s3cret@db/?connections=4", "no parameter"),
            ("couchdb://u:s3cret@db/?users=Sealed", "not \"Sealed\""),
        ] {
            let error = Config::parse(url, None).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("s3cret"), "{url}: {error}");
        }
        let config = Config::parse("couchdb://u:s3cret@db", None).unwrap();
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
