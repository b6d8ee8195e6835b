//! What users read in records, in OpenWhisk's words (`ErrorResponse.scala`).
//! Clients match on them.

use whisker_entity::Status;
use whisker_sandbox::ImageFault;

pub(crate) const ABNORMAL_INIT: &str = "The action did not initialize and exited unexpectedly.";
pub(crate) const ABNORMAL_RUN: &str = "The action did not produce a valid response and exited unexpectedly.";
pub(crate) const OUT_OF_MEMORY: &str = "The action exhausted its memory and was aborted.";
pub(crate) const NOT_PROVISIONED: &str = "Failed to provision resources to run the action.";
pub(crate) const ACTION_REMOVED: &str = "Action could not be found or may have been deleted.";
pub(crate) const ACTION_MISMATCH: &str = "Action version is not compatible and cannot be invoked.";
pub(crate) const ACTION_NOT_FETCHED: &str = "Action could not be fetched.";
pub(crate) const LOGS_INCOMPLETE: &str = "There was an issue while collecting your logs. Data might be missing.";
pub(crate) const LOGS_OF_DEVELOPER_ERROR: &str =
    "The action did not initialize or run as expected. Log data might be missing.";

/// Ours: OpenWhisk loses what a killed invoker held.
pub(crate) const INTERRUPTED: &str =
    "The platform was interrupted while the action was running. The action may have had effects and was not run again.";
/// Ours: what an attempt says that was followed by another.
pub(crate) const INTERRUPTED_ATTEMPT: &str = "The platform was interrupted while the action was running.";
/// Ours.
pub(crate) const TOO_MANY_WAIT: &str = "The platform has too many activations waiting. Please try again later.";
/// Ours: the text passed OpenWhisk's test for base64 and still is none.
pub(crate) const INIT_BAD_BASE64: &str = "The action failed during initialization: its code is not valid base64.";

/// Ours: OpenWhisk's invoker gives no answer then.
pub(crate) fn locked(parameter: &str) -> String {
    format!("The action was not run, since its parameter '{parameter}' could not be decrypted.")
}

pub(crate) fn timed_out(limit_ms: u64, during_init: bool) -> String {
    let end = if during_init { " during initialization." } else { "." };
    format!("The action exceeded its time limits of {limit_ms} milliseconds{end}")
}

pub(crate) fn invalid_init(answer: &str) -> String {
    let end = if answer.is_empty() { ".".into() } else { format!(": {answer}") };
    format!("The action failed during initialization{end}")
}

/// Ours: what to run this kind with is missing here.
pub(crate) fn unavailable(kind: &str, reason: &str) -> String {
    format!("This platform cannot run actions of kind '{kind}': {reason}.")
}

pub(crate) fn image(fault: &ImageFault) -> String {
    match fault {
        ImageFault::NotPulled(image) => format!("Failed to pull container image '{image}'."),
        ImageFault::NoCommand(image) => format!("executable file not found in image {image}"),
        ImageFault::Nothing(image) => format!("no command specified in image {image}"),
    }
}

pub(crate) fn invalid_result(answer: &str) -> String {
    let end = if answer.is_empty() { ".".into() } else { format!(": {answer}") };
    format!("The action did not produce a valid JSON or JSON Array response{end}")
}

pub(crate) fn too_long(length_bytes: u64, limit_bytes: u64, beginning: &str) -> String {
    format!(
        "The action produced a response that exceeded the allowed length: {length_bytes} > {limit_bytes} bytes. \
         The truncated response was: {beginning}"
    )
}

pub(crate) fn logs_truncated(limit_bytes: u64) -> String {
    format!("Logs were truncated because the total bytes size exceeds the limit of {limit_bytes} bytes.")
}

/// Ours: OpenWhisk runs nothing twice.
pub(crate) fn attempt(number: u32, duration_ms: u64, status: Status, error: &str) -> String {
    let article = if status == Status::WhiskError { "a" } else { "an" };
    format!("Attempt {number} ended after {duration_ms} ms with {article} {}: {error}", status.words())
}
