//! The contract of a store, as tests that each member runs.
//!
//! Every public function of [`entities`], [`activations`] and [`subjects`] is
//! one test: it takes a store that is empty and panics where the store is not
//! as the traits say. [`contract_tests`](crate::contract_tests) makes a
//! `#[tokio::test]` of each:
//!
//! ```ignore
//! whisker_store::contract_tests!(async || ((), Arc::new(Memory::new())));
//! ```
//!
//! Beside them there are [`lives`], random ones, and [`outage`], for members
//! whose database can go away.
//!
//! The closure opens a store, and whatever must live as long as it does (a
//! temporary folder). Its user's manifest names `tokio` with `macros` and
//! `rt-multi-thread`.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "tests")]

pub mod activations;
pub mod entities;
pub mod lives;
pub mod numbers;
pub mod outage;
pub mod samples;
pub mod sealed;
pub mod subjects;

/// How many documents the tests of many write: enough to cross pages and
/// batches, unless `WHISKER_STORE_MANY` says 100000.
#[must_use]
pub fn many() -> u64 {
    std::env::var("WHISKER_STORE_MANY").map_or(1_000, |n| n.parse().unwrap())
}

/// Makes the contract's tests for the stores that a closure opens; see
/// [`testing`](crate::testing). After `subjects:`, those of subjects alone;
/// after `doubles:`, all but those of [`numbers`](crate::testing::numbers), for
/// members whose database has no numbers but doubles.
#[macro_export]
macro_rules! contract_tests {
    (subjects: $open:expr) => {
        $crate::contract_tests!(@ $open, subjects:
            a_subject_is_found_by_its_namespaces
            what_is_not_there_is_missing
            a_blocked_subject_cannot_be_found
            namespaces_belong_to_one_subject
            replacing_a_subject_frees_its_namespaces
            deleting_a_subject_frees_its_namespaces
            subjects_are_listed_by_name
            limits_come_with_the_identity
            any_text_survives
            of_concurrent_claims_to_a_namespace_one_wins
            a_scan_gives_everything_once
        );
    };
    ($open:expr) => {
        $crate::contract_tests!(doubles: $open);
        $crate::contract_tests!(@ $open, numbers: whole_numbers_keep_their_digits);
    };
    (doubles: $open:expr) => {
        $crate::contract_tests!(@ $open, entities:
            a_document_of_each_kind_reads_back
            what_is_not_there_is_missing
            a_write_needs_the_revision_it_was_based_on
            a_revision_is_never_used_twice
            names_are_unique_across_kinds
            of_concurrent_writers_one_wins
            of_concurrent_creators_one_wins
            code_is_attached_and_reads_back
            code_of_48_megabytes_reads_back
            code_is_shared_and_goes_with_its_last_action
            an_update_replaces_code
            code_that_is_gone_cannot_be_attached
            a_stale_write_leaves_no_code
            of_concurrent_uploads_one_wins_and_keeps_its_code
            any_text_survives
            lists_are_newest_first
            pages_cover_a_list_once
            a_namespace_lists_its_packaged_actions
            an_update_moves_a_document_in_its_lists
            public_packages_are_those_that_others_may_see
            lists_keep_to_their_namespace
            counts_are_those_of_lists
            a_scan_gives_everything_once
            a_scan_goes_on_while_others_write
            many_documents_are_listed_and_scanned
        );
        $crate::contract_tests!(@ $open, activations:
            a_record_reads_back_byte_for_byte
            a_record_belongs_to_its_namespace
            writing_again_changes_nothing
            known_are_those_that_are_stored
            lists_are_newest_first
            pages_cover_a_list_once
            since_and_upto_are_inclusive
            names_filter_through_packages_and_bindings
            summaries_are_those_of_whole_records
            a_list_of_whole_records_has_a_bound
            times_at_the_edges_are_kept
            any_text_survives
            a_record_of_megabytes_reads_back
            old_records_are_pruned
            surplus_records_are_pruned_oldest_first
            pruning_takes_bounded_steps
            concurrent_writers_lose_nothing
            of_concurrent_records_under_one_id_one_is_kept
            a_scan_gives_everything_once
            a_scan_goes_on_while_others_write
            many_records_are_listed_and_scanned
        );
        $crate::contract_tests!(subjects: $open);
    };
    (@ $open:expr, $contract:ident: $($test:ident)*) => {
        mod $contract {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let (_guard, store) = ($open)().await;
                    $crate::testing::$contract::$test(store).await;
                }
            )*
        }
    };
}
