//! Credentials for registries, from Docker's `config.json`.
//!
//! Read again for every pull, so that passwords can be changed while the server
//! runs. Programs that keep credentials elsewhere (`credsStore`, `credHelpers`)
//! are not run: they ask people, and belong to somebody's session.

use std::{collections::BTreeMap, fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bollard::auth::DockerCredentials;
use serde::Deserialize;

use crate::image::{DOCKER_HUB, Image};

/// How Docker's own registry is called in these files.
const DOCKER_HUB_KEYS: [&str; 3] = ["https://index.docker.io/v1/", "index.docker.io", DOCKER_HUB];

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// Why a file cannot be used. Never shows what is in it.
pub(crate) type Unusable = String;

/// What to show the image's registry, where the file has something for it.
pub(crate) fn find(file: &Path, image: &Image) -> Result<Option<DockerCredentials>, Unusable> {
    let file = read(file)?;
    let registry = image.registry();
    let mut entries = file.auths.iter();
    let Some((key, entry)) = entries.find(|(key, _)| is_for(key, registry)) else { return Ok(None) };
    let (mut username, mut password) = (entry.username.clone(), entry.password.clone());
    if let Some(auth) = entry.auth.as_deref().filter(|auth| !auth.is_empty()) {
        let both = STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let both = both.ok_or_else(|| format!("what it has for {key} is no base64"))?;
        let (name, word) = both.split_once(':').ok_or_else(|| format!("what it has for {key} is no NAME:PASSWORD"))?;
        username = Some(name.to_owned());
        password = Some(word.trim_end_matches('\0').to_owned());
    }
    let identitytoken = entry.identitytoken.clone().filter(|token| !token.is_empty());
    if username.is_none() && identitytoken.is_none() {
        return Ok(None);
    }
    let serveraddress = Some(key.clone());
    Ok(Some(DockerCredentials { username, password, serveraddress, identitytoken, ..DockerCredentials::default() }))
}

/// Whether the file can be read, as at start.
pub(crate) fn check(file: &Path) -> Result<(), Unusable> {
    read(file).map(drop)
}

fn read(file: &Path) -> Result<File, Unusable> {
    let text = fs::read(file).map_err(|error| error.to_string())?;
    // The parser's own words could show a piece of what it read.
    serde_json::from_slice(&text).map_err(|error| format!("line {} is no JSON of its kind", error.line()))
}

fn is_for(key: &str, registry: &str) -> bool {
    if registry == DOCKER_HUB {
        return DOCKER_HUB_KEYS.contains(&key);
    }
    let host = key.trim_start_matches("https://").trim_start_matches("http://");
    host.split('/').next() == Some(registry)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn found(file: &str, image: &str) -> Result<Option<(String, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, file).unwrap();
        let found = find(&path, &Image::new(image))?;
        Ok(found.map(|it| (it.username.unwrap_or_default(), it.password.unwrap_or_default())))
    }

    #[test]
    fn a_registry_gets_its_own_credentials_and_nobody_elses() {
        let file = r#"{ "auths": { "https://index.docker.io/v1/": { "auth": "YTpiOmM=" },
            "host:5000": { "username": "d", "password": "e" }, "empty.example": {} } }"#;
        assert_eq!(found(file, "me/image"), Ok(Some(("a".into(), "b:c".into()))));
        assert_eq!(found(file, "host:5000/me/image"), Ok(Some(("d".into(), "e".into()))));
        assert_eq!(found(file, "empty.example/image"), Ok(None));
        assert_eq!(found(file, "host:5001/me/image"), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_said_without_showing_it() {
        assert_eq!(found("{\n \"auths\": secret", "a").unwrap_err(), "line 2 is no JSON of its kind");
        let file = r#"{ "auths": { "docker.io": { "auth": "c2VjcmV0" } } }"#;
        assert_eq!(found(file, "a").unwrap_err(), "what it has for docker.io is no NAME:PASSWORD");
    }
}
