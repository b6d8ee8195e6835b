//! The life of one container, kept as a value.
//!
//! A slot never touches its container. It hears what happened, and answers
//! with its next state and one order, so that a whole life can be written as a
//! table in a test or replayed from a seed. Nothing here reads a clock: a
//! timer that fires is an event like any other.

use std::num::NonZeroU32;

/// Each state holds only what is true in it. "Paused with two runs in flight"
/// needs no guard, because it cannot be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// The sandbox was asked for it.
    Starting,
    /// It is there, blank: any action of its kind may have it.
    Prewarmed,
    /// Its first run loads the action's code.
    Warming,
    /// It has code and nothing to do.
    Idle,
    /// Runs are under way in it.
    Busy { runs: NonZeroU32 },
    /// The sandbox was asked to freeze it.
    Pausing,
    /// It is frozen.
    Paused,
    /// A run was given to it, which thaws it first.
    Resuming,
    /// It ended, or a run left it unfit; these runs have yet to end.
    Spent { runs: NonZeroU32 },
    /// The sandbox was asked to destroy it. Its memory is still in use.
    Removing,
    /// Nothing of it is left.
    Gone,
}

/// What can happen to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotEvent {
    /// The sandbox made it.
    Started,
    /// The sandbox could not make it; nothing of it is left.
    NotStarted,
    /// A run was given to it.
    Given,
    /// The action's code is loaded.
    Initialised,
    /// It is thawed.
    Resumed,
    /// One of its runs ended and left it fit.
    Finished,
    /// One of its runs ended and left it unfit.
    Spoiled,
    /// One of its runs found it gone before it began.
    Returned,
    /// It was idle for the pause grace.
    Quiet,
    /// It is frozen now.
    Frozen,
    /// Its memory or its place is needed, or it is out of date.
    Evicted,
    /// It ended by itself.
    Died,
    /// It is gone, with all it held.
    Removed,
}

/// What a change of state asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotOrder {
    /// Nothing.
    Nothing,
    /// It can take a run now.
    Offer,
    /// Run what was given.
    Run,
    /// Load the code, then run what was given.
    InitThenRun,
    /// Thaw it, then run what was given.
    ResumeThenRun,
    /// The run that was given goes back to the queue.
    Requeue,
    /// Freeze it.
    Pause,
    /// Destroy it.
    Remove,
    /// Its memory is free.
    Free,
}

impl Slot {
    /// Answers every event in every state, with no catch-all arm: a new event
    /// does not compile until someone has decided what each state makes of it.
    pub(crate) fn on(self, event: SlotEvent) -> (Slot, SlotOrder) {
        use Slot::{Busy, Gone, Idle, Paused, Pausing, Prewarmed, Removing, Resuming, Spent, Starting, Warming};
        use SlotEvent as E;
        use SlotOrder as O;
        match (self, event) {
            // The straight life.
            (Starting, E::Started) => (Prewarmed, O::Offer),
            (Prewarmed, E::Given) => (Warming, O::InitThenRun),
            (Warming, E::Initialised) => (Busy { runs: NonZeroU32::MIN }, O::Offer),
            (Idle, E::Given) => (Busy { runs: NonZeroU32::MIN }, O::Run),
            (Busy { runs }, E::Given) => (Busy { runs: runs.saturating_add(1) }, O::Run),
            (Busy { runs }, E::Finished) => match one_less(runs) {
                Some(runs) => (Busy { runs }, O::Offer),
                None => (Idle, O::Offer),
            },
            (Idle, E::Quiet) => (Pausing, O::Pause),
            (Pausing, E::Frozen) => (Paused, O::Offer),
            (Paused, E::Given) => (Resuming, O::ResumeThenRun),
            (Resuming, E::Resumed) => (Busy { runs: NonZeroU32::MIN }, O::Offer),
            (Prewarmed | Idle | Paused, E::Evicted) => (Removing, O::Remove),
            (Removing, E::Removed) => (Gone, O::Free),
            (Starting, E::NotStarted) => (Gone, O::Free),

            // A run left it unfit, or found it gone. Runs beside it may still
            // end well, each within its own time limit: it is removed after
            // the last of them, and is offered no more.
            (Busy { runs } | Spent { runs }, E::Spoiled | E::Returned) | (Spent { runs }, E::Finished) => {
                match one_less(runs) {
                    Some(runs) => (Spent { runs }, O::Nothing),
                    None => (Removing, O::Remove),
                }
            }
            (Warming | Resuming, E::Spoiled | E::Returned) => (Removing, O::Remove),

            // Dead with runs in it. Each of them hears of it by itself.
            (Busy { runs } | Spent { runs }, E::Died) => (Spent { runs }, O::Nothing),
            (Warming | Resuming, E::Died) => (Spent { runs: NonZeroU32::MIN }, O::Nothing),

            // Dead with none. A backend may still hold some of it.
            (Prewarmed | Idle | Pausing | Paused, E::Died) => (Removing, O::Remove),

            // It died between two steps of its first run, which goes on until
            // it notices.
            (Spent { .. }, E::Initialised | E::Resumed) => (self, O::Nothing),

            // The timer is not cancelled when work arrives, since a cancel can
            // lose the race anyway. A late one means nothing; the same goes
            // for the wish to have it evicted, where work came first.
            (
                Starting
                | Prewarmed
                | Warming
                | Busy { .. }
                | Pausing
                | Paused
                | Resuming
                | Spent { .. }
                | Removing
                | Gone,
                E::Quiet,
            )
            | (Starting | Warming | Busy { .. } | Pausing | Resuming | Spent { .. } | Removing | Gone, E::Evicted) => {
                (self, O::Nothing)
            }

            // The pool should not have offered this slot. The run goes back to
            // the queue: slow is better than lost.
            (Starting | Warming | Pausing | Resuming | Spent { .. } | Removing | Gone, E::Given) => (self, O::Requeue),

            // Answers from a container that was given up on.
            (
                Removing,
                E::Started | E::Initialised | E::Resumed | E::Finished | E::Spoiled | E::Returned | E::Frozen | E::Died,
            )
            | (
                Gone,
                E::Started
                | E::NotStarted
                | E::Initialised
                | E::Resumed
                | E::Finished
                | E::Spoiled
                | E::Returned
                | E::Frozen
                | E::Died
                | E::Removed,
            ) => (self, O::Nothing),

            // It is gone although nobody asked: as good as dead, and its
            // memory is free, unless runs have yet to notice.
            (Starting | Prewarmed | Idle | Pausing | Paused, E::Removed) | (Removing, E::NotStarted) => (Gone, O::Free),
            (Warming | Resuming, E::Removed) => (Spent { runs: NonZeroU32::MIN }, O::Nothing),
            (Busy { runs } | Spent { runs }, E::Removed) => (Spent { runs }, O::Nothing),

            // Saying what it cannot know. It may hold a user's code in a state
            // that nobody can name, so it is never offered again.
            (Starting, E::Died | E::Initialised | E::Resumed | E::Finished | E::Spoiled | E::Returned | E::Frozen)
            | (
                Prewarmed | Idle,
                E::Started
                | E::NotStarted
                | E::Initialised
                | E::Resumed
                | E::Finished
                | E::Spoiled
                | E::Returned
                | E::Frozen,
            )
            | (
                Pausing | Paused,
                E::Started | E::NotStarted | E::Initialised | E::Resumed | E::Finished | E::Spoiled | E::Returned,
            )
            | (Paused, E::Frozen)
            | (Warming | Resuming, E::Finished) => (Removing, O::Remove),
            (Warming, E::Started | E::NotStarted | E::Resumed | E::Frozen)
            | (Resuming, E::Started | E::NotStarted | E::Initialised | E::Frozen) => {
                (Spent { runs: NonZeroU32::MIN }, O::Nothing)
            }
            (Busy { runs } | Spent { runs }, E::Started | E::NotStarted | E::Frozen)
            | (Busy { runs }, E::Initialised | E::Resumed) => (Spent { runs }, O::Nothing),
        }
    }
}

fn one_less(runs: NonZeroU32) -> Option<NonZeroU32> {
    NonZeroU32::new(runs.get() - 1)
}

#[cfg(test)]
mod tests {
    use super::{Slot::*, SlotEvent as E, SlotOrder as O, *};

    const ONE: NonZeroU32 = NonZeroU32::MIN;
    const TWO: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

    const STATES: [Slot; 13] = [
        Starting,
        Prewarmed,
        Warming,
        Idle,
        Busy { runs: ONE },
        Busy { runs: TWO },
        Pausing,
        Paused,
        Resuming,
        Spent { runs: ONE },
        Spent { runs: TWO },
        Removing,
        Gone,
    ];

    const EVENTS: [SlotEvent; 13] = [
        E::Started,
        E::NotStarted,
        E::Given,
        E::Initialised,
        E::Resumed,
        E::Finished,
        E::Spoiled,
        E::Returned,
        E::Quiet,
        E::Frozen,
        E::Evicted,
        E::Died,
        E::Removed,
    ];

    /// Plays a life from its order to start.
    #[track_caller]
    fn check(life: &[(SlotEvent, Slot, SlotOrder)]) {
        let mut slot = Starting;
        for (event, state, order) in life {
            assert_eq!(slot.on(*event), (*state, *order), "{event:?} in {slot:?}");
            slot = *state;
        }
    }

    #[test]
    fn a_quiet_life() {
        check(&[
            (E::Started, Prewarmed, O::Offer),
            (E::Given, Warming, O::InitThenRun),
            (E::Initialised, Busy { runs: ONE }, O::Offer),
            (E::Finished, Idle, O::Offer),
            (E::Given, Busy { runs: ONE }, O::Run),
            (E::Finished, Idle, O::Offer),
            (E::Quiet, Pausing, O::Pause),
            (E::Frozen, Paused, O::Offer),
            (E::Given, Resuming, O::ResumeThenRun),
            (E::Resumed, Busy { runs: ONE }, O::Offer),
            (E::Given, Busy { runs: TWO }, O::Run),
            (E::Finished, Busy { runs: ONE }, O::Offer),
            (E::Finished, Idle, O::Offer),
            (E::Evicted, Removing, O::Remove),
            (E::Removed, Gone, O::Free),
        ]);
    }

    #[test]
    fn a_container_that_cannot_be_made_holds_no_memory() {
        check(&[(E::NotStarted, Gone, O::Free)]);
    }

    #[test]
    fn a_run_that_spoils_its_container_does_not_end_those_beside_it() {
        check(&[
            (E::Started, Prewarmed, O::Offer),
            (E::Given, Warming, O::InitThenRun),
            (E::Initialised, Busy { runs: ONE }, O::Offer),
            (E::Given, Busy { runs: TWO }, O::Run),
            (E::Spoiled, Spent { runs: ONE }, O::Nothing),
            (E::Given, Spent { runs: ONE }, O::Requeue),
            (E::Finished, Removing, O::Remove),
            (E::Died, Removing, O::Nothing),
            (E::Removed, Gone, O::Free),
        ]);
    }

    #[test]
    fn an_initialisation_that_fails_ends_its_container() {
        check(&[
            (E::Started, Prewarmed, O::Offer),
            (E::Given, Warming, O::InitThenRun),
            (E::Spoiled, Removing, O::Remove),
        ]);
    }

    #[test]
    fn death_at_each_moment() {
        for (before, after, order) in [
            (Prewarmed, Removing, O::Remove),
            (Warming, Spent { runs: ONE }, O::Nothing),
            (Idle, Removing, O::Remove),
            (Busy { runs: TWO }, Spent { runs: TWO }, O::Nothing),
            (Pausing, Removing, O::Remove),
            (Paused, Removing, O::Remove),
            (Resuming, Spent { runs: ONE }, O::Nothing),
            (Spent { runs: ONE }, Spent { runs: ONE }, O::Nothing),
            (Removing, Removing, O::Nothing),
            (Gone, Gone, O::Nothing),
        ] {
            assert_eq!(before.on(E::Died), (after, order), "{before:?}");
        }
    }

    #[test]
    fn a_late_timer_means_nothing() {
        for state in STATES.into_iter().filter(|state| *state != Idle) {
            assert_eq!(state.on(E::Quiet), (state, O::Nothing));
        }
    }

    #[test]
    fn what_holds_in_every_state_for_every_event() {
        for (state, event) in STATES.into_iter().flat_map(|s| EVENTS.into_iter().map(move |e| (s, e))) {
            let (after, order) = state.on(event);
            let what = format!("{event:?} in {state:?}: {after:?}, {order:?}");
            let given = matches!(order, O::Run | O::InitThenRun | O::ResumeThenRun | O::Requeue);
            assert_eq!(given, event == E::Given, "a run that is given is run or requeued: {what}");
            assert_eq!(order == O::Free, after == Gone && state != Gone, "memory is freed once: {what}");
            assert_eq!(
                order == O::Remove,
                after == Removing && state != Removing,
                "what is to be removed is removed once: {what}"
            );
            let over = |slot| matches!(slot, Spent { .. } | Removing | Gone);
            assert!(!over(state) || over(after), "nothing comes back: {what}");
            if let (Spent { runs }, Spent { runs: left }) = (state, after) {
                assert!(left <= runs, "{what}");
            }
        }
    }
}
