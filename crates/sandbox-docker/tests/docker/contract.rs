//! What every backend promises, here in images of our recipes.

mod nodejs {
    use crate::common::{NODEJS, nodejs, subject};

    whisker_sandbox::sandbox_contract!([tokio::test] subject(NODEJS, nodejs()));
}

/// Python runs one activation at a time; that it overlaps is Node's promise.
mod python {
    use whisker_sandbox::testing::contract;

    use crate::common::{PYTHON, python_programs, subject};

    macro_rules! promises {
        ($($name:ident)*) => {$(
            #[tokio::test]
            async fn $name() {
                contract::$name(subject(PYTHON, python_programs()).await).await;
            }
        )*};
    }

    promises! {
        answers_what_the_code_answers
        gives_every_activation_its_own_lines
        reports_what_user_code_throws
        reports_code_that_does_not_load
        notices_an_exit
        notices_exhausted_memory
    }
}
