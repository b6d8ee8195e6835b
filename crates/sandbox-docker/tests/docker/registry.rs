//! A registry that has one image and takes notes: enough of its protocol for a
//! daemon to pull from, which takes plain HTTP from this machine's loopback.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// A registry on a free port, as long as this process lives.
pub struct Registry {
    port: u16,
    notes: Arc<Mutex<Notes>>,
}

#[derive(Default)]
struct Notes {
    /// Times that the image's manifest was asked for, by whoever was let in.
    pulls: usize,
    refused: usize,
}

struct Content {
    manifest: String,
    blobs: Vec<(String, Vec<u8>)>,
    /// `NAME:PASSWORD` in base64, if not everyone is let in.
    wanted: Option<String>,
}

impl Registry {
    /// One for everybody, or for this name and password only.
    pub fn start(wanted: Option<&str>) -> Registry {
        let layer = gzip(&tar());
        let digest = format!("sha256:{}", sha256(&tar()));
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["/none"]}},"rootfs":{{"type":"layers","diff_ids":["{digest}"]}}}}"#
        )
        .into_bytes();
        let named = |bytes: &[u8]| format!("sha256:{}", sha256(bytes));
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",
            "config":{{"mediaType":"application/vnd.docker.container.image.v1+json","size":{},"digest":"{}"}},
            "layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":{},"digest":"{}"}}]}}"#,
            config.len(),
            named(&config),
            layer.len(),
            named(&layer)
        );
        let blobs = vec![(named(&config), config), (named(&layer), layer)];
        let wanted = wanted.map(|wanted| STANDARD.encode(wanted));
        let content = Arc::new(Content { manifest, blobs, wanted });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let notes = Arc::new(Mutex::default());
        let shared = notes.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (content, notes) = (content.clone(), shared.clone());
                // Daemons break connections off; that is no failure.
                thread::spawn(move || while serve(&connection, &content, &notes).is_some() {});
            }
        });
        Registry { port, notes }
    }

    /// Its image.
    pub fn image(&self, tag: &str) -> String {
        format!("127.0.0.1:{}/me/image{tag}", self.port)
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn pulls(&self) -> usize {
        self.notes.lock().unwrap().pulls
    }

    pub fn refused(&self) -> usize {
        self.notes.lock().unwrap().refused
    }
}

/// One request; `None` at the connection's end.
fn serve(connection: &TcpStream, content: &Content, notes: &Mutex<Notes>) -> Option<()> {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let head = line.starts_with("HEAD");
    let mut shown = None;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("authorization")
        {
            shown = value.trim().strip_prefix("Basic ").map(str::to_owned);
        }
    }
    let (mut status, mut kind, mut body) = ("404 Not Found", "application/json", b"{}".to_vec());
    let mut more = String::new();
    if content.wanted.is_some() && shown != content.wanted {
        notes.lock().unwrap().refused += 1;
        status = "401 Unauthorized";
        more = "WWW-Authenticate: Basic realm=\"test\"\r\n".to_owned();
    } else if path == "/v2/" {
        status = "200 OK";
    } else if path.contains("/manifests/") {
        if head {
            notes.lock().unwrap().pulls += 1;
        }
        (status, kind) = ("200 OK", "application/vnd.docker.distribution.manifest.v2+json");
        body = content.manifest.clone().into_bytes();
        more = format!("Docker-Content-Digest: sha256:{}\r\n", sha256(&body));
    } else if let Some((_, blob)) = content.blobs.iter().find(|(digest, _)| path.ends_with(digest.as_str())) {
        (status, kind, body) = ("200 OK", "application/octet-stream", blob.clone());
    }
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}\
         Docker-Distribution-Api-Version: registry/2.0\r\n\r\n"
    );
    let mut writer = connection;
    writer.write_all(answer.as_bytes()).ok()?;
    if !head {
        writer.write_all(&body).ok()?;
    }
    Some(())
}

/// An archive without a file.
fn tar() -> Vec<u8> {
    vec![0; 10240]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    piped("gzip", &["-n"], bytes)
}

fn sha256(bytes: &[u8]) -> String {
    String::from_utf8(piped("sha256sum", &[], bytes)).unwrap()[..64].to_owned()
}

fn piped(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let mut output = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut output).unwrap();
    child.wait().unwrap();
    output
}
