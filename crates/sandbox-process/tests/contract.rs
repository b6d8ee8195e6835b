//! The sandbox's contract, on real containers.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

mod nodejs {
    whisker_sandbox::sandbox_contract!([tokio::test] super::common::subject("nodejs:20", super::common::nodejs()));
}

/// Python runs one activation at a time; that it overlaps is Node's promise.
mod python {
    use whisker_sandbox::testing::contract;

    use super::common::{python_programs, subject};

    macro_rules! promises {
        ($($name:ident)*) => {$(
            #[tokio::test]
            async fn $name() {
                contract::$name(subject("python:3.11", python_programs()).await).await;
            }
        )*};
    }

    promises! {
        answers_what_the_code_answers
        runs_again_and_again
        gives_every_activation_its_own_lines
        cuts_logs_at_the_limit
        reports_what_user_code_throws
        reports_code_that_does_not_load
        ends_a_run_at_its_deadline
        ends_an_init_at_its_deadline
        notices_an_exit
        notices_exhausted_memory
        keeps_only_the_beginning_of_a_long_result
        runs_after_pause_and_resume
        is_gone_once_destroyed
        destroys_under_a_run
    }
}
