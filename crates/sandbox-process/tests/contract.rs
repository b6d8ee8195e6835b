//! The sandbox's contract, on real containers.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use whisker_sandbox::testing::Subject;

/// Folders are left to the system's temporary folder: the subject outlives
/// the function that made it.
async fn subject(kind: &str, programs: whisker_sandbox::testing::Programs) -> Subject {
    let (subject, folder) = common::subject(kind, programs).await;
    let _ = folder.keep();
    subject
}

mod nodejs {
    whisker_sandbox::sandbox_contract!([tokio::test] super::subject("nodejs:20", super::common::nodejs()));
}
