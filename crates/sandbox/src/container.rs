//! Containers, what is asked of them and how that can end.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use whisker_entity::{ActivationId, CodeHash};

use crate::{Error, Logs};

/// A backend: makes isolated containers on this host.
#[async_trait]
pub trait Sandbox: Send + Sync + 'static {
    /// Starts a container whose runtime waits for [`Container::init`].
    ///
    /// Returns when the container exists; its runtime may still be loading, in
    /// which case `init` waits for it. Fails when the host cannot make one.
    async fn start(&self, start: Start) -> Result<Arc<dyn Container>, Error>;

    /// Removes what a former life of this server left behind: processes,
    /// cgroups, network namespaces, folders. Called once, before any `start`.
    async fn sweep(&self) -> Result<(), Error>;
}

/// What a container is made for. Nothing action-specific: it may wait, warm,
/// for any action of its kind.
#[derive(Debug, Clone)]
pub struct Start {
    /// Runtime kind of the manifest, such as `nodejs:20`, or that of a
    /// [`black_box`].
    pub kind: String,
    /// Hard memory limit in MB, swap included.
    pub memory_mb: u32,
    /// Whether several runs may be under way in it at once.
    pub concurrent: bool,
}

/// What the kinds of black boxes begin with. The manifest has no such family,
/// since OpenWhisk gives the word to all of them.
const BLACK_BOX: &str = "blackbox:";

/// The kind of containers made of a user's own image.
pub fn black_box(image: &str) -> String {
    format!("{BLACK_BOX}{image}")
}

/// The image of a black box's kind; `None` for a kind of the manifest.
pub fn image_of(kind: &str) -> Option<&str> {
    kind.strip_prefix(BLACK_BOX)
}

/// One isolated container. Dropping the last handle kills it; [`destroy`]
/// also waits until nothing of it is left.
///
/// Methods take `&self` because runs of a concurrent container overlap; `init`
/// is called once and before any `run`, `pause` only with no run under way.
///
/// [`destroy`]: Container::destroy
#[async_trait]
pub trait Container: Send + Sync + 'static {
    /// Loads the action's code. `deadline` counts from when that is ready to
    /// be loaded: a backend unpacks and compiles it once for all containers,
    /// and sets limits of its own on that.
    async fn init(&self, init: Init, deadline: Duration) -> Result<InitEnd, Error>;

    /// Runs the action once. Returns as soon as the outcome is known, without
    /// waiting for logs; `deadline` counts from this call. A run that outlives
    /// it ends as [`Ended::TimedOut`] and the container must be destroyed.
    async fn run(&self, run: Run, deadline: Duration) -> Result<RunEnd, Error>;

    /// Everything the activation wrote, from the start of its `init` (for the
    /// first) or `run` to its end, cut at `limit_bytes`, of which a line may
    /// take some more than its text has. Called once for each activation,
    /// after its last `init` or `run` returned, also when that ended badly.
    /// Bounded: lines that a lingering process still writes are not waited for.
    async fn logs(&self, activation: ActivationId, limit_bytes: u64) -> Logs;

    /// Freezes every process of the container.
    async fn pause(&self) -> Result<(), Error>;

    /// Thaws a paused container.
    async fn resume(&self) -> Result<(), Error>;

    /// Kills every process and removes every trace. Doing it twice is fine.
    async fn destroy(&self);

    /// Resolves when the container has died by itself or was destroyed.
    async fn died(&self);
}

/// The body of an initialisation.
#[derive(Clone)]
pub struct Init {
    /// The activation that pays for this initialisation; owns its log lines.
    pub activation: ActivationId,
    /// Bare name of the action.
    pub name: String,
    /// Entry point, `main` where the action names none.
    pub main: String,
    /// The action's code.
    pub code: Code,
    /// The hash that the store knows the code by, where it has one: the same
    /// hash is the same code, so that a backend need not look at all of it.
    pub code_hash: Option<CodeHash>,
    /// Environment for user code: init parameters under their own names, then
    /// the `__OW_*` context of the first activation.
    pub env: BTreeMap<String, String>,
}

impl Init {
    /// What tells this code from any other.
    pub fn identity(&self) -> CodeIdentity {
        let form = if matches!(self.code, Code::Text(_)) { "text" } else { "binary" };
        match self.code_hash {
            Some(hash) => CodeIdentity { known: "stored", form, hash: hash.to_bytes() },
            None => {
                let bytes = match &self.code {
                    Code::Text(text) => text.as_bytes(),
                    Code::Binary(bytes) => bytes,
                };
                CodeIdentity { known: "bytes", form, hash: Sha256::digest(bytes).into() }
            }
        }
    }
}

/// What code is known by: equal parts, equal code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CodeIdentity {
    /// By whose hash: two that differ in this say nothing of each other.
    known: &'static str,
    form: &'static str,
    hash: [u8; 32],
}

impl CodeIdentity {
    /// As parts of a key.
    pub fn parts(&self) -> [&[u8]; 3] {
        [self.known.as_bytes(), self.form.as_bytes(), &self.hash]
    }
}

/// Its environment may hold secrets: a debug print shows names only.
impl fmt::Debug for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Init")
            .field("activation", &self.activation)
            .field("name", &self.name)
            .field("main", &self.main)
            .field("code", &self.code)
            .field("env", &self.env.keys())
            .finish()
    }
}

/// Code in the form in which a runtime takes it.
#[derive(Clone)]
pub enum Code {
    /// Source text.
    Text(Arc<str>),
    /// An archive or executable, decoded, not yet unpacked. The backend
    /// unpacks archives within its limits on size, count and path.
    Binary(Bytes),
}

impl Code {
    /// What it is, byte for byte. Copies text.
    pub fn bytes(&self) -> Bytes {
        match self {
            Code::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
            Code::Binary(bytes) => bytes.clone(),
        }
    }
}

/// Code is its owner's property and may hold secrets.
impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Code::Text(text) => write!(f, "text of {} bytes", text.len()),
            Code::Binary(bytes) => write!(f, "binary of {} bytes", bytes.len()),
        }
    }
}

/// The body of one run.
#[derive(Clone)]
pub struct Run {
    /// The activation that runs.
    pub activation: ActivationId,
    /// The JSON object (or array, inside a sequence) that is the argument.
    pub value: Arc<RawValue>,
    /// `namespace`, `action_name`, `action_version`, `activation_id`,
    /// `transaction_id`, `deadline` and perhaps `api_key`: each is exported
    /// as `__OW_` and its upper-case name before user code runs.
    pub context: Vec<(&'static str, String)>,
    /// Longest result in bytes that is read in full; of a longer one only the
    /// first [`Run::truncation_bytes`] are kept.
    pub result_limit_bytes: u64,
    /// How much of an overlong result is kept.
    pub truncation_bytes: u64,
}

/// Arguments, and the key in the context, are not for logs.
impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("activation", &self.activation)
            .field("value_bytes", &self.value.get().len())
            .field("result_limit_bytes", &self.result_limit_bytes)
            .field("truncation_bytes", &self.truncation_bytes)
            .finish_non_exhaustive()
    }
}

/// How an initialisation ended.
#[derive(Debug)]
pub enum InitEnd {
    /// Ready to run.
    Ready,
    /// The code could not be loaded: the runtime's own words (any JSON).
    Failed(serde_json::Value),
    /// The code could not be loaded, and what the runtime said is no such
    /// words: the text as read.
    Nonsense(String),
    /// It ended in one of the ways that both phases share.
    Ended(Ended),
}

/// How a run ended.
#[derive(Debug)]
pub enum RunEnd {
    /// The runtime answered in time: a JSON object or array, `error` member or not.
    Answered(Box<RawValue>),
    /// The runtime says that user code failed (uncaught exception, result
    /// that is no object): the `error` it gave.
    Failed(serde_json::Value),
    /// Not JSON, or JSON that is neither object nor array: the text as read.
    Nonsense(String),
    /// A result longer than allowed: how long in bytes, and its beginning.
    TooLong {
        /// Length of the whole result in bytes.
        length_bytes: u64,
        /// Its first `truncation_bytes`, cut at a character boundary.
        beginning: String,
    },
    /// It ended in one of the ways that both phases share.
    Ended(Ended),
}

/// Ends after which the container is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Not done at the deadline.
    TimedOut,
    /// The process ended without answering.
    Exited,
    /// Killed for exceeding its memory limit.
    OutOfMemory,
}
