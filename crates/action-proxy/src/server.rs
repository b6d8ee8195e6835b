//! `/init` and `/run` over HTTP.

use std::{
    convert::Infallible,
    error::Error,
    fs, io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

use http_body_util::{BodyExt, Limited};
use hyper::{
    Method, Request, StatusCode,
    body::{Body, Buf, Bytes, Incoming},
    header::CONTENT_TYPE,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, sync, task::spawn_blocking};
use whisker_artifacts::archive::{self, Limits};
use whisker_frame::order;

use crate::{
    answer::{self, Answer},
    compile::{self, Compiler},
    launcher::{Launcher, Said},
    order::{Init, InitBody, RunBody},
    output,
};

/// What an initialisation is whose binary code follows it as it is.
const BYTES: &str = "application/octet-stream";

/// Longest body: the longest code of OpenWhisk as base64, and parameters.
pub(crate) const BODY_BYTES: usize = 128 << 20;

const BLANK: u8 = 0;
const BEGUN: u8 = 1;
const READY: u8 = 2;

/// What becomes of code.
pub(crate) struct Action {
    /// Where it goes.
    pub folder: PathBuf,
    /// How source becomes a program, where it has to.
    pub compiler: Option<Compiler>,
    /// Whether the launcher becomes that program.
    pub handover: bool,
}

/// Why code cannot be loaded.
pub(crate) enum Unloadable {
    /// In words for its author.
    Refused(String),
    /// What the compiler said.
    NotBuilt(Vec<u8>),
}

struct Proxy {
    launcher: Arc<Launcher>,
    action: Arc<Action>,
    /// Blank, begun or ready.
    phase: AtomicU8,
    concurrent: bool,
    /// Runs one after the other, where they must not overlap.
    turn: sync::Mutex<()>,
    /// Ids for runs without one.
    numbers: AtomicU64,
}

/// Accepts connections for ever.
pub(crate) async fn run(listener: TcpListener, launcher: Arc<Launcher>, action: Action) {
    let concurrent = std::env::var("__OW_ALLOW_CONCURRENT").is_ok_and(|value| value == "true");
    let proxy = Arc::new(Proxy {
        launcher,
        action: Arc::new(action),
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
        let bytes = request.headers().get(CONTENT_TYPE).is_some_and(|given| given == BYTES);
        let init = match (path.as_str(), &method) {
            ("/init", &Method::POST) => true,
            ("/run", &Method::POST) => false,
            ("/init" | "/run", _) => return answer::error(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed."),
            _ => return answer::error(StatusCode::NOT_FOUND, "Bad request."),
        };
        let body = match whole(request.into_body()).await {
            Ok(body) => body,
            Err(error) => {
                return answer::error(StatusCode::BAD_REQUEST, &format!("Error reading request body: {error}"));
            }
        };
        // To its end, also when the caller goes away: an order half given
        // cannot be taken back.
        let answered = tokio::spawn(async move {
            match (init, bytes) {
                (true, true) => self.init_bytes(body.into()).await,
                (true, false) => self.init(body).await,
                (false, _) => self.run(&body).await,
            }
        });
        answered.await.unwrap_or_else(|_| answer::error(StatusCode::INTERNAL_SERVER_ERROR, "Internal error."))
    }

    /// Why nothing is initialised: it is too late for that, or there is no code.
    fn refusal(&self, has_code: bool) -> Option<Answer> {
        if self.phase.load(Ordering::Acquire) != BLANK {
            output::complain(&format!("{}\n", answer::ONCE));
            return Some(answer::error(StatusCode::FORBIDDEN, answer::ONCE));
        }
        (!has_code).then(|| answer::error(StatusCode::FORBIDDEN, answer::NO_CODE))
    }

    /// An initialisation whose binary code follows it as it is: a line of JSON
    /// without code, and the code.
    async fn init_bytes(&self, mut code: Bytes) -> Answer {
        let end = code.iter().position(|byte| *byte == b'\n').map_or(code.len(), |end| end + 1);
        let init = match serde_json::from_slice(&code[..end]) {
            Ok(InitBody { value: init }) => Init { binary: true, ..init }.apart(),
            Err(error) => return answer::unreadable(&error),
        };
        // Nothing else holds the body, which goes when the code is written.
        code.advance(end);
        if let Some(refusal) = self.refusal(!code.is_empty()) {
            return refusal;
        }
        self.begin(init, Some(code)).await
    }

    async fn init(&self, body: Vec<u8>) -> Answer {
        let InitBody { value: init } = match serde_json::from_slice(&body) {
            Ok(body) => body,
            Err(error) => return answer::unreadable(&error),
        };
        if let Some(refusal) = self.refusal(!init.code.is_empty()) {
            return refusal;
        }
        let (init, code) = match init.decoded() {
            Ok(parts) => parts,
            Err(error) => {
                return answer::error(StatusCode::BAD_REQUEST, &format!("cannot decode the request: {error}"));
            }
        };
        // The container's memory is the action's, and unpacked code takes of it as well.
        drop(body);
        self.begin(init, code).await
    }

    async fn begin(&self, init: Init<'static>, code: Option<Bytes>) -> Answer {
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

    async fn load(&self, init: Init<'static>, code: Option<Bytes>) -> Answer {
        let init = Arc::new(init);
        let placed = if code.is_none() && self.action.compiler.is_none() {
            Ok(None)
        } else {
            let (action, init) = (self.action.clone(), init.clone());
            match spawn_blocking(move || action.place(&init, code)).await {
                Ok(placed) => placed.map(Some),
                Err(_) => Err(Unloadable::Refused("unpacking was interrupted".to_owned())),
            }
        };
        let folder = match placed {
            Ok(folder) => folder,
            Err(Unloadable::Refused(words)) => return answer::error(StatusCode::BAD_GATEWAY, &words),
            Err(Unloadable::NotBuilt(said)) => {
                output::complain_of(&said);
                return answer::error(StatusCode::BAD_GATEWAY, answer::NOT_BUILT);
            }
        };
        let line = match &folder {
            Some(folder) if self.action.handover => Ok(order::handover(&init.env, folder)),
            _ => init.line(folder.as_deref(), self.concurrent),
        };
        let line = match line {
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

/// All of a body, in one piece from the start: code may be half of what the
/// container's memory holds.
async fn whole(body: Incoming) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
    let mut body = Limited::new(body, BODY_BYTES);
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(BODY_BYTES);
    let mut bytes = Vec::with_capacity(announced.min(BODY_BYTES));
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}

/// A launcher that ended takes this process with it: its caller hears of that,
/// and of nothing else.
async fn silence() -> Answer {
    std::future::pending().await
}

impl Action {
    /// Unpacks code, or writes it as `exec`, and compiles what is source: the
    /// folder that holds what is to be run. Blocks.
    pub(crate) fn place(&self, init: &Init<'_>, code: Option<Bytes>) -> Result<String, Unloadable> {
        let host = |error: io::Error| Unloadable::Refused(format!("The action's code could not be written: {error}"));
        let source = self.folder.join("source");
        fs::create_dir_all(&source).map_err(host)?;
        match code {
            Some(code) => {
                let placed = match init.compiled {
                    true => archive::place_tar(&code[..], &source, Limits::default()),
                    false => archive::place(&code, &source, Limits::default()),
                };
                placed.map_err(|refused| Unloadable::Refused(refused.to_string()))?;
            }
            None => compile::write_source(&source, &init.code).map_err(host)?,
        }
        let folder = match &self.compiler {
            Some(compiler) if !init.compiled && !compile::is_program(&source) => {
                let main = if init.main.is_empty() { "main" } else { &init.main };
                compiler.compile(&source, main, &self.folder).map_err(host)?.map_err(Unloadable::NotBuilt)?
            }
            _ => source,
        };
        Ok(folder.to_string_lossy().into_owned())
    }
}
