//! From a message to the action it names, through a bounded memory.
//!
//! Messages carry the revision that the controller saw, so that nothing here
//! has to be told of updates: another revision is another entry.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig},
};
use whisker_bus::ActivationMessage;
use whisker_entity::{Action, CodeHash, Exec, ExecCode, QualifiedName, Status};
use whisker_sandbox::Code;
use whisker_store::{Document, Entities};

use crate::{cache::Cache, outcome::Outcome, words};

/// An action as it is run: its document and the state that this is.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub action: Arc<Action>,
    pub revision: Arc<str>,
    /// As the pool and the sandbox call it.
    pub kind: Arc<str>,
}

pub(crate) struct Resolver {
    entities: Arc<dyn Entities>,
    documents: Mutex<Cache<(QualifiedName, Arc<str>), Resolved>>,
    codes: Mutex<Cache<(CodeHash, bool), Code>>,
}

/// Lets through what looks like base64 to OpenWhisk, stray bits included.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

impl Resolver {
    pub fn new(entities: Arc<dyn Entities>, action_bytes: usize, code_bytes: usize) -> Self {
        Self { entities, documents: Mutex::new(Cache::new(action_bytes)), codes: Mutex::new(Cache::new(code_bytes)) }
    }

    /// What is known without waiting.
    pub fn known(&self, message: &ActivationMessage) -> Option<Resolved> {
        let revision = message.revision.clone()?;
        lock(&self.documents).get(&(message.action.clone(), revision))
    }

    /// Reads the action. One that was updated since the message was sent is
    /// run as it is now, as OpenWhisk does.
    pub async fn read(&self, message: &ActivationMessage) -> Result<Resolved, Outcome> {
        let stored = match self.entities.get(&message.action).await {
            Ok(stored) => stored,
            Err(whisker_store::Error::Missing) => {
                return Err(Outcome::error(Status::ApplicationError, words::ACTION_REMOVED));
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(action.name = %message.action, transaction.id = %message.transaction, error, "An action could not be read");
                return Err(Outcome::whisk_error(words::ACTION_NOT_FETCHED));
            }
        };
        let action = match stored.document {
            Document::Action(action) => action,
            Document::Package(_) | Document::Trigger(_) | Document::Rule(_) => {
                return Err(Outcome::whisk_error(words::ACTION_MISMATCH));
            }
        };
        let kind: Arc<str> = match &action.exec {
            Exec::Code { kind, .. } => kind.as_str().into(),
            Exec::Blackbox { image, .. } => whisker_sandbox::black_box(image).into(),
            Exec::Sequence { .. } => return Err(Outcome::whisk_error(words::ACTION_MISMATCH)),
        };
        let revision = stored.revision.0;
        let weight = weight(&action);
        let resolved = Resolved { action: Arc::new(action), revision: revision.clone(), kind };
        lock(&self.documents).put((message.action.clone(), revision), resolved.clone(), weight);
        Ok(resolved)
    }

    /// The action's code, for an initialisation.
    pub async fn code(&self, action: &Action) -> Result<Code, Outcome> {
        let binary = action.exec.binary();
        let hash = match action.exec.code() {
            None => return Ok(Code::Text("".into())),
            Some(ExecCode::Inline(text)) => return decode(text, binary),
            Some(ExecCode::Attached { hash, .. }) => *hash,
        };
        if let Some(code) = lock(&self.codes).get(&(hash, binary)) {
            return Ok(code);
        }
        let text = match self.entities.code(hash).await {
            Ok(text) => text,
            Err(whisker_store::Error::Missing) => {
                return Err(Outcome::error(Status::ApplicationError, words::ACTION_REMOVED));
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(action.name = %action.qualified_name(), error, "The code of an action could not be read");
                return Err(Outcome::whisk_error(words::ACTION_NOT_FETCHED));
            }
        };
        let code = decode(&text, binary)?;
        let weight = match &code {
            Code::Text(text) => text.len(),
            Code::Binary(bytes) => bytes.len(),
        };
        lock(&self.codes).put((hash, binary), code.clone(), weight);
        Ok(code)
    }
}

/// Bytes that an action takes in memory, about.
fn weight(action: &Action) -> usize {
    let inline = match action.exec.code() {
        Some(ExecCode::Inline(text)) => text.len(),
        Some(ExecCode::Attached { .. }) | None => 0,
    };
    let lists = action.parameters.size_bytes() + action.annotations.size_bytes();
    1024 + inline + usize::try_from(lists).unwrap_or(usize::MAX / 2)
}

fn decode(text: &Arc<str>, binary: bool) -> Result<Code, Outcome> {
    if !binary {
        return Ok(Code::Text(text.clone()));
    }
    let bytes = LENIENT.decode(text.trim());
    bytes
        .map(|bytes| Code::Binary(bytes.into()))
        .map_err(|_| Outcome::error(Status::DeveloperError, words::INIT_BAD_BASE64))
}

/// Locks for one look-up; a cache is whole between any two.
fn lock<T>(cache: &Mutex<T>) -> MutexGuard<'_, T> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}
