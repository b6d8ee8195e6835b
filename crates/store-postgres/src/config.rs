//! Settings: a URL as `psql` takes it.

use std::{fmt, str::FromStr, time::Duration};

use percent_encoding::percent_decode_str;
use tokio_postgres::config::{Host, SslMode};
use whisker_secrets::Seals;

use crate::tls::Trust;

/// How a store is opened. What it shows of itself has no password.
#[derive(Clone)]
pub struct Config {
    pub(crate) database: tokio_postgres::Config,
    pub(crate) trust: Trust,
    /// Connections at once, besides the one that listens; operations beyond
    /// that wait, up to ten seconds. At least 1.
    pub connections: usize,
    /// How long anything may take before the database is asked for a sign of
    /// life, without which it counts as away. 10 ms to 10 minutes.
    pub patience: Duration,
    /// What subjects, who have keys, are sealed with.
    pub seals: Seals,
}

/// Why a URL is none. Never quotes the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum InvalidUrl {
    /// Not in a form that `psql` would take.
    #[error("this is no URL of a PostgreSQL database (postgres://user@host/database): {0}")]
    Malformed(String),
    /// One of its parameters.
    #[error("{name} in the URL of the database cannot be {value:?}: {words}")]
    Parameter {
        /// Which one.
        name: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        words: &'static str,
    },
}

/// So that a database that is away is told within a second.
const PATIENCE: Duration = Duration::from_millis(700);

impl Config {
    /// Reads `postgres://user[:password]@host[:port]/database[?parameters]`. A
    /// password that is given apart takes the place of the URL's.
    ///
    /// Parameters are those of `psql`, as far as the driver knows them.
    /// `sslmode` means what it means there: `disable`, `prefer` (the default:
    /// encrypted if the server can, whoever that is), `require` (always
    /// encrypted; with `sslrootcert` by a server of that authority),
    /// `verify-ca` and `verify-full` (of an authority that is trusted, and for
    /// the latter of that name). `sslrootcert` is a file of certificates; those
    /// of the system are used without it. One parameter is ours: `patience`
    /// (`700ms`, the default, `5s`), after which a database that gives no sign
    /// of life counts as away.
    pub fn parse(url: &str, password: Option<&str>) -> Result<Self, InvalidUrl> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(InvalidUrl::Malformed("it begins otherwise".into()));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut authorities, mut patience, mut rest) = (None, None, PATIENCE, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(decoded(value)),
                Some(("sslrootcert", value)) => authorities = Some(decoded(value)),
                Some(("patience", value)) => patience = duration(decoded(value))?,
                _ => rest.push(pair),
            }
        }
        // `system` is psql's name for what we use anyway.
        let authorities = authorities.filter(|path| path != "system").map(Into::into);
        let (ssl_mode, trust) = match mode.as_deref() {
            Some("disable") => (SslMode::Disable, Trust::Anyone),
            Some("prefer") | None => (SslMode::Prefer, Trust::Anyone),
            Some("require") if authorities.is_none() => (SslMode::Require, Trust::Anyone),
            Some("require" | "verify-ca") => (SslMode::Require, Trust::Authority(authorities)),
            Some("verify-full") => (SslMode::Require, Trust::Name(authorities)),
            Some(other) => {
                let words = "it is disable, prefer, require, verify-ca or verify-full";
                return Err(InvalidUrl::Parameter { name: "sslmode", value: other.to_owned(), words });
            }
        };
        let plain = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        let mut database = tokio_postgres::Config::from_str(&plain).map_err(|error| {
            // The driver's words name what is wrong and quote no value.
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            InvalidUrl::Malformed(cause.unwrap_or_else(|| error.to_string()))
        })?;
        if database.get_hosts().is_empty() && database.get_hostaddrs().is_empty() {
            return Err(InvalidUrl::Malformed("it names no host".into()));
        }
        database.ssl_mode(ssl_mode);
        if let Some(password) = password {
            database.password(password);
        }
        if database.get_application_name().is_none() {
            database.application_name("whisker");
        }
        Ok(Self { database, trust, connections: 16, patience, seals: Seals::default() })
    }

    /// Hosts, ports and database, for people.
    pub fn place(&self) -> String {
        let hosts = self.database.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let hosts: Vec<_> = hosts.collect();
        let ports: Vec<_> = self.database.get_ports().iter().map(ToString::to_string).collect();
        let ports = if ports.is_empty() { "5432".to_owned() } else { ports.join(",") };
        let database = self.database.get_dbname().or(self.database.get_user()).unwrap_or("its default");
        format!("{}:{ports}, database {database}", hosts.join(","))
    }
}

fn duration(value: String) -> Result<Duration, InvalidUrl> {
    let bounds = Duration::from_millis(10)..=Duration::from_secs(600);
    match humantime::parse_duration(&value) {
        Ok(duration) if bounds.contains(&duration) => Ok(duration),
        _ => Err(InvalidUrl::Parameter { name: "patience", value, words: "it is 10ms to 10m, as 900ms or 5s" }),
    }
}

fn decoded(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Config({}, {} connections)", self.place(), self.connections)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn sslmode_means_what_psql_means() {
        for (query, mode, trust) in [
            ("", SslMode::Prefer, "Anyone"),
            ("?sslmode=disable", SslMode::Disable, "Anyone"),
            ("?connect_timeout=3&sslmode=require", SslMode::Require, "Anyone"),
            ("?sslmode=require&sslrootcert=/a%20b", SslMode::Require, "Authority(Some(\"/a b\"))"),
            ("?sslmode=verify-ca&sslrootcert=system", SslMode::Require, "Authority(None)"),
            ("?sslrootcert=/ca&sslmode=verify-full", SslMode::Require, "Name(Some(\"/ca\"))"),
        ] {
            let config = Config::parse(&format!("postgres://anna@host/db{query}"), None).unwrap();
            assert_eq!(
                (config.database.get_ssl_mode(), format!("{:?}", config.trust).as_str()),
                (mode, trust),
                "{query}"
            );
        }
    }

    #[test]
    fn patience_is_ours_and_bounded() {
        let patience = |query: &str| Config::parse(&format!("postgres://h/db{query}"), None).map(|it| it.patience);
        assert_eq!(patience("").unwrap(), PATIENCE);
        assert_eq!(patience("?sslmode=disable&patience=5s").unwrap(), Duration::from_secs(5));
        for wrong in ["?patience=5ms", "?patience=11m", "?patience=soon", "?patience="] {
            assert!(patience(wrong).unwrap_err().to_string().starts_with("patience"), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_url_is_said_without_showing_it() {
        for url in [
            "postgres://u:hunter2@h/db?sslmode=maybe",
            "postgres://u:hunter2@h:port/db",
            "mysql://u:hunter2@h/d",
            "postgres://u:hunter2@h/db?unknown=1",
            "postgres://u:hunter2@/db",
            "",
        ] {
            let error = Config::parse(url, None).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn passwords_are_shown_nowhere() {
        let config = Config::parse("postgres://anna:hunter2@host:5433,other/db", Some("better")).unwrap();
        let shown = format!("{config:?} {}", config.place());
        assert!(
            shown.contains("host,other:5433") && !shown.contains("hunter2") && !shown.contains("better"),
            "{shown}"
        );
        assert_eq!(config.database.get_password(), Some("better".as_bytes()));
    }
}
