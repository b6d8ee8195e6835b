//! `/init` and `/run` over HTTP.

use std::{
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig},
};
use http_body_util::{BodyExt, Limited};
use hyper::{Method, Request, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, sync, task::spawn_blocking};
use whisker_artifacts::archive::{self, Limits};

use crate::{
    answer::{self, Answer},
    launcher::{Launcher, Said},
    order::{Init, InitBody, RunBody},
    output,
};

/// Longest body: the longest code of OpenWhisk as base64, and parameters.
const BODY_BYTES: usize = 128 << 20;

/// Lets through what looks like base64 to OpenWhisk, stray bits included.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

const BLANK: u8 = 0;
const BEGUN: u8 = 1;
const READY: u8 = 2;

struct Proxy {
    launcher: Arc<Launcher>,
    /// Where binary code goes.
    folder: PathBuf,
    /// Blank, begun or ready.
    phase: AtomicU8,
    concurrent: bool,
    /// Runs one after the other, where they must not overlap.
    turn: sync::Mutex<()>,
    /// Ids for runs without one.
    numbers: AtomicU64,
}

/// Accepts connections for ever.
pub(crate) async fn run(listener: TcpListener, launcher: Arc<Launcher>, folder: PathBuf) {
    let concurrent = std::env::var("__OW_ALLOW_CONCURRENT").is_ok_and(|value| value == "true");
    let proxy = Arc::new(Proxy {
        launcher,
        folder,
        phase: AtomicU8::new(BLANK),
        concurrent,
        turn: sync::Mutex::new(()),
        numbers: AtomicU64::new(1),
    });
    loop {
        // The platform alone reaches this port, and has a few connections.
        let Ok((connection, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let _ = connection.set_nodelay(true);
        let proxy = proxy.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let proxy = proxy.clone();
                async move { Ok::<_, Infallible>(proxy.answer(request).await) }
            });
            // A connection that breaks is the other end's trouble.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
        });
    }
}

impl Proxy {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let init = match (path.as_str(), &method) {
            ("/init", &Method::POST) => true,
            ("/run", &Method::POST) => false,
            ("/init" | "/run", _) => return answer::error(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed."),
            _ => return answer::error(StatusCode::NOT_FOUND, "Bad request."),
        };
        let body = match Limited::new(request.into_body(), BODY_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                return answer::error(StatusCode::BAD_REQUEST, &format!("Error reading request body: {error}"));
            }
        };
        // To its end, also when the caller goes away: an order half given
        // cannot be taken back.
        let answered = tokio::spawn(async move { if init { self.init(&body).await } else { self.run(&body).await } });
        answered.await.unwrap_or_else(|_| answer::error(StatusCode::INTERNAL_SERVER_ERROR, "Internal error."))
    }

    async fn init(&self, body: &[u8]) -> Answer {
        let InitBody { value: init } = match serde_json::from_slice(body) {
            Ok(body) => body,
            Err(error) => return answer::unreadable(&error),
        };
        if self.phase.load(Ordering::Acquire) != BLANK {
            output::complain(&format!("{}\n", answer::ONCE));
            return answer::error(StatusCode::FORBIDDEN, answer::ONCE);
        }
        if init.code.is_empty() {
            return answer::error(StatusCode::FORBIDDEN, answer::NO_CODE);
        }
        let code = match init.binary.then(|| LENIENT.decode(init.code.trim())).transpose() {
            Ok(code) => code,
            Err(error) => {
                return answer::error(StatusCode::BAD_REQUEST, &format!("cannot decode the request: {error}"));
            }
        };
        if self.phase.compare_exchange(BLANK, BEGUN, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return answer::error(StatusCode::FORBIDDEN, answer::ONCE);
        }
        let activation = init.activation();
        let answer = self.load(init, code).await;
        if answer.status() == StatusCode::OK {
            self.phase.store(READY, Ordering::Release);
        } else {
            self.launcher.end_output(activation);
        }
        answer
    }

    async fn load(&self, init: Init, code: Option<Vec<u8>>) -> Answer {
        let folder = match code {
            None => None,
            Some(code) => {
                let folder = self.folder.clone();
                match spawn_blocking(move || place(&code, &folder)).await {
                    Ok(Ok(folder)) => Some(folder),
                    Ok(Err(refused)) => return answer::error(StatusCode::BAD_GATEWAY, &refused),
                    Err(_) => return answer::error(StatusCode::BAD_GATEWAY, "unpacking was interrupted"),
                }
            }
        };
        let line = match init.line(folder.as_deref(), self.concurrent) {
            Ok(line) => line,
            Err(error) => return answer::unreadable(&error),
        };
        drop(init);
        let Some(Said { json, missing, .. }) = self.launcher.init(&line).await else { return silence().await };
        let failed = serde_json::from_slice::<Value>(&json).is_ok_and(|said| said.get("error").is_some());
        let status = if failed || missing > 0 { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
        answer::cut(status, json, missing)
    }

    async fn run(&self, body: &[u8]) -> Answer {
        if self.phase.load(Ordering::Acquire) != READY {
            return answer::error(StatusCode::INTERNAL_SERVER_ERROR, answer::NO_ACTION);
        }
        let run: RunBody<'_> = match serde_json::from_slice(body) {
            Ok(run) => run,
            Err(error) => return answer::unreadable(&error),
        };
        let activation = run.activation(self.numbers.fetch_add(1, Ordering::Relaxed));
        let line = match run.line(activation) {
            Ok(line) => line,
            Err(error) => return answer::unreadable(&error),
        };
        let turn = if self.concurrent { None } else { Some(self.turn.lock().await) };
        let said = self.launcher.run(activation, &line).await;
        drop(turn);
        let Some(Said { failed, json, missing }) = said else { return silence().await };
        answer::cut(if failed { StatusCode::BAD_GATEWAY } else { StatusCode::OK }, json, missing)
    }
}

/// A launcher that ended takes this process with it: its caller hears of that,
/// and of nothing else.
async fn silence() -> Answer {
    std::future::pending().await
}

/// Unpacks code, or writes it as `exec`.
fn place(code: &[u8], folder: &Path) -> Result<String, String> {
    let host = |error: std::io::Error| format!("The action's code could not be written: {error}");
    fs::create_dir_all(folder).map_err(host)?;
    archive::place(code, folder, Limits::default()).map_err(|refused| refused.to_string())?;
    Ok(folder.to_string_lossy().into_owned())
}
