#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use whisker_bus::{Incarnation, InvokerInstance, InvokerPing};
use whisker_entity::{ByteSize, Status};

use super::*;

const NOW: Duration = Duration::from_secs(100);
const PATIENCE: Duration = Duration::from_secs(10);

fn me() -> Claimant {
    Claimant { invoker: InvokerId(0), incarnation: Incarnation(1) }
}

fn other() -> Claimant {
    Claimant { invoker: InvokerId(1), incarnation: Incarnation(2) }
}

fn id(n: u64) -> ActivationId {
    ActivationId::new(1, u128::from(n))
}

fn part(reader: u64) -> Part {
    Part { reader, topic: "invoker0".into(), partition: 0 }
}

fn at(offset: i64) -> Place {
    Place { part: part(0), offset }
}

/// What it says is of no matter here: its own number.
fn incoming(n: u64, blocking: bool) -> Incoming<u64> {
    Incoming {
        message: n,
        activation: id(n),
        blocking,
        earlier: Vec::new(),
        due: 0,
        written: 1,
        doubtful: false,
        in_stead: false,
        apart: false,
        bytes: 100,
    }
}

fn attempt() -> Attempt {
    Attempt { start: 0, duration: 0, status: Status::DeveloperError, error: String::new(), logs: Vec::new() }
}

/// An inbox with one partition, next to an invoker that lives.
fn inbox() -> Inbox<u64> {
    let bounds = Bounds { held: 8, queued_bytes: 1000, aside: 4 };
    let mut inbox = Inbox::new(me(), bounds, Claims::new(1000), Members::new(PATIENCE, Duration::ZERO));
    inbox.assigned(part(0), 0, 0);
    for claimant in [me(), other()] {
        hear(&mut inbox, claimant, NOW);
    }
    inbox
}

fn hear(inbox: &mut Inbox<u64>, claimant: Claimant, now: Duration) {
    let instance = InvokerInstance::new(claimant.invoker, ByteSize::bytes(1));
    inbox.heard(&InvokerPing { instance, enabled: true, incarnation: Some(claimant.incarnation) }, now);
}

fn next(inbox: &mut Inbox<u64>, after_ms: u64) -> Option<(ActivationId, Redelivered)> {
    match inbox.next(NOW + Duration::from_millis(after_ms)) {
        Next::Message(given) => Some((id(given.message), given.redelivered)),
        Next::Later(_) | Next::Nothing | Next::Closed => None,
    }
}

fn position(inbox: &Inbox<u64>) -> i64 {
    inbox.position(&part(0)).unwrap()
}

fn claim(by: Claimant) -> Note {
    Note::Claim { run: 0, by }
}

#[test]
fn a_message_is_given_out_once_and_committed_when_it_is_done() {
    let mut inbox = inbox();
    assert!(inbox.arrived(at(0), incoming(0, true), 0, NOW));
    assert!(inbox.arrived(at(1), incoming(1, true), 0, NOW));
    assert_eq!(next(&mut inbox, 0), Some((id(0), Redelivered::No)));
    assert_eq!(next(&mut inbox, 0), Some((id(1), Redelivered::No)));
    assert_eq!(next(&mut inbox, 0), None);
    assert_eq!((position(&inbox), inbox.given(&part(0))), (0, 2));
    assert!(!inbox.done(id(1)), "nobody claimed it");
    assert_eq!(position(&inbox), 0);
    inbox.done(id(0));
    assert_eq!((position(&inbox), inbox.load()), (2, (0, 0)));
}

#[test]
fn what_comes_twice_is_one_message_in_two_places() {
    let mut inbox = inbox();
    inbox.arrived(at(0), incoming(0, false), 0, NOW);
    assert!(!inbox.arrived(at(1), incoming(0, false), 0, NOW));
    next(&mut inbox, 0).unwrap();
    assert!(!inbox.arrived(at(2), incoming(0, false), 0, NOW), "also while it runs");
    assert_eq!(next(&mut inbox, 0), None);
    inbox.done(id(0));
    assert_eq!(position(&inbox), 3);
    assert!(!inbox.arrived(at(3), incoming(0, false), 0, NOW), "and after that");
    assert_eq!((next(&mut inbox, 0), position(&inbox)), (None, 4));
}

#[test]
fn only_what_nobody_waits_for_is_claimed() {
    let mut inbox = inbox();
    inbox.arrived(at(0), incoming(0, true), 0, NOW);
    inbox.arrived(at(1), incoming(1, false), 0, NOW);
    inbox.arrived(at(2), Incoming { in_stead: true, ..incoming(2, true) }, 0, NOW);
    for _ in 0..3 {
        next(&mut inbox, 0).unwrap();
    }
    assert!(matches!(inbox.starting(id(0)), Start::Go));
    assert!(matches!(inbox.starting(id(1)), Start::Claim(0)));
    assert!(matches!(inbox.starting(id(2)), Start::Claim(0)), "it was read in another's stead");
    assert!(matches!(inbox.starting(id(3)), Start::Leave), "it is not here");
}

#[test]
fn a_claim_counts_once_it_was_read() {
    let mut inbox = inbox();
    inbox.arrived(at(0), incoming(0, false), 0, NOW);
    next(&mut inbox, 0).unwrap();
    assert_eq!(inbox.starting(id(0)), Start::Claim(0));
    assert_eq!(inbox.noted(id(0), claim(me()), 1, NOW).won, Some((0, Won::Yes)));
    assert!(inbox.done(id(0)), "others should know");
}

#[test]
fn whoever_was_slower_waits_until_the_other_is_done() {
    let mut inbox = inbox();
    inbox.arrived(at(0), incoming(0, false), 0, NOW);
    next(&mut inbox, 0).unwrap();
    assert_eq!(inbox.starting(id(0)), Start::Claim(0));
    assert_eq!(inbox.noted(id(0), claim(other()), 1, NOW).won, None);
    assert_eq!(inbox.noted(id(0), claim(me()), 1, NOW).won, Some((0, Won::No)));
    assert!(!inbox.lost(id(0), NOW));
    assert_eq!((next(&mut inbox, 0), position(&inbox)), (None, 0), "it is not done");
    assert!(!inbox.noted(id(0), Note::Over, 2, NOW).rings);
    assert_eq!((next(&mut inbox, 0), position(&inbox)), (None, 1));
}

#[test]
fn a_claim_that_nobody_answers_is_made_again_until_it_is_known_whose_it_is() {
    let mut inbox = inbox();
    for n in 0..3 {
        inbox.arrived(at(n as i64), incoming(n, false), 0, NOW);
        next(&mut inbox, 0).unwrap();
        assert_eq!(inbox.starting(id(n)), Start::Claim(0));
        inbox.unsettled(id(n));
    }
    assert_eq!(next(&mut inbox, 0), None, "not at once");
    // Those of two came late; nobody heard of the third one's.
    assert!(inbox.noted(id(0), claim(me()), 1, NOW).rings);
    assert!(!inbox.noted(id(1), claim(other()), 1, NOW).rings);
    inbox.noted(id(1), claim(me()), 1, NOW);
    inbox.revoked(&part(0));
    assert_eq!(next(&mut inbox, 0), Some((id(0), Redelivered::No)), "nobody else may run it");
    assert_eq!(next(&mut inbox, 0), None);
    // After some silence this one is dead in its own eyes too.
    assert!(inbox.look_around(NOW + PATIENCE / 2));
    assert_eq!(next(&mut inbox, 0), Some((id(2), Redelivered::No)));
    inbox.unsettled(id(2));
    inbox.noted(id(2), claim(me()), 1, NOW + PATIENCE * 2);
    assert_eq!(next(&mut inbox, 0), Some((id(2), Redelivered::No)));
    assert_eq!(inbox.starting(id(2)), Start::Claim(0));
    assert_eq!(inbox.noted(id(2), claim(me()), 1, NOW).won, Some((0, Won::Yes)), "written twice");
}

#[test]
fn what_a_claimant_left_is_given_out_when_it_is_dead() {
    let mut inbox = inbox();
    inbox.noted(id(0), claim(other()), 1, NOW);
    assert!(!inbox.arrived(at(0), Incoming { doubtful: true, ..incoming(0, false) }, 0, NOW));
    assert!(!inbox.look_around(NOW));
    assert_eq!(next(&mut inbox, 0), None);
    assert!(!inbox.look_around(NOW + PATIENCE), "nor does it hear itself");
    for part in 1..=2 {
        hear(&mut inbox, me(), NOW + part * PATIENCE / 2);
    }
    assert!(inbox.look_around(NOW + PATIENCE));
    assert_eq!(next(&mut inbox, 0), Some((id(0), Redelivered::AfterStart)));
}

#[test]
fn what_is_not_due_waits_aside_and_keeps_its_place() {
    let mut inbox = inbox();
    inbox.arrived(at(0), Incoming { due: 50, earlier: vec![attempt()], ..incoming(0, false) }, 0, NOW);
    let due = NOW + Duration::from_millis(49);
    assert!(matches!(inbox.next(due - Duration::from_millis(1)), Next::Later(at) if at == due));
    assert_eq!(position(&inbox), 0);
    assert_eq!(next(&mut inbox, 49), Some((id(0), Redelivered::No)));
    assert!(matches!(inbox.starting(id(0)), Start::Claim(1)));
    for n in 1..5 {
        assert!(inbox.has_room_aside());
        inbox.arrived(at(n as i64), Incoming { due: 90, ..incoming(n, false) }, 50, NOW);
    }
    assert!(!inbox.has_room_aside() && inbox.has_room(Room::Queued, true));
}

#[test]
fn clocks_that_differ_make_nothing_wait_longer_than_it_was_to() {
    let (hour, wall) = (3_600_000, 10_000_000);
    for (writers, waits) in [(wall, 50), (wall + hour, 50), (wall - hour, 0)] {
        let mut inbox = inbox();
        let failed = Incoming { written: writers, due: writers + 50, ..incoming(0, false) };
        inbox.arrived(at(0), failed, wall, NOW);
        assert_eq!(next(&mut inbox, waits), Some((id(0), Redelivered::No)), "written at {writers}");
    }
}

#[test]
fn the_run_that_follows_does_not_overtake_the_one_that_failed() {
    let mut inbox = inbox();
    inbox.arrived(at(0), incoming(0, false), 0, NOW);
    next(&mut inbox, 0).unwrap();
    // Read before its writer knows that it is written.
    inbox.arrived(at(1), Incoming { earlier: vec![attempt()], ..incoming(0, false) }, 0, NOW);
    assert_eq!(next(&mut inbox, 0), None);
    inbox.put_away(id(0));
    assert_eq!(next(&mut inbox, MOMENT.as_millis() as u64), Some((id(0), Redelivered::No)));
    assert_eq!(position(&inbox), 1);
}

#[test]
fn what_was_not_given_out_goes_with_its_partition() {
    let mut inbox = inbox();
    for n in 0..3 {
        inbox.arrived(at(n as i64), incoming(n, true), 0, NOW);
    }
    next(&mut inbox, 0).unwrap();
    inbox.revoked(&part(0));
    assert_eq!((next(&mut inbox, 0), inbox.load()), (None, (1, 0)));
    assert!(matches!(inbox.starting(id(0)), Start::Claim(0)), "another may read it now");
    inbox.done(id(0));
    assert!(!inbox.arrived(at(3), incoming(3, true), 0, NOW), "late");
    assert_eq!(inbox.load(), (0, 0));
}

#[test]
fn what_an_earlier_reader_may_have_given_out_stays_in_doubt() {
    let mut inbox = inbox();
    // It had committed 3 and may have read below 40.
    inbox.assigned(part(1), 3, 40);
    assert_eq!(inbox.given(&part(1)), 40, "if it leaves at once");
    let place = |offset| Place { part: part(1), offset };
    inbox.arrived(place(3), Incoming { doubtful: true, ..incoming(3, true) }, 0, NOW);
    assert_eq!(next(&mut inbox, 0), Some((id(3), Redelivered::AfterStart)));
    assert_eq!(inbox.given(&part(1)), 40, "and if it gives out less");
}

#[test]
fn a_later_process_of_the_same_number_is_a_successor_and_an_earlier_one_is_not() {
    let mut inbox = inbox();
    let mut hear = |invoker: InvokerId, life: u64| {
        hear(&mut inbox, Claimant { invoker, incarnation: Incarnation(life) }, NOW);
        inbox.has_successor()
    };
    let mine = me();
    assert!(!hear(mine.invoker, mine.incarnation.0));
    assert!(!hear(mine.invoker, mine.incarnation.0 - 1));
    assert!(!hear(other().invoker, mine.incarnation.0 + 1));
    assert!(hear(mine.invoker, mine.incarnation.0 + 1));
    assert!(hear(mine.invoker, mine.incarnation.0), "nor is that forgotten");
}

#[test]
fn what_comes_apart_takes_half_of_the_room_and_leaves_the_rest_to_others() {
    let mut inbox = inbox();
    let apart = |n| Incoming { apart: true, ..incoming(n, false) };
    for n in 0..4 {
        assert!(inbox.has_room(Room::Apart, true), "{n}");
        inbox.arrived(Place { part: part(0), offset: i64::try_from(n).unwrap() }, apart(n), 0, NOW);
    }
    assert!(!inbox.has_room(Room::Apart, true) && inbox.has_room(Room::Queued, true));
    inbox.put_away(id(0));
    assert!(inbox.has_room(Room::Apart, true) && !inbox.has_room(Room::Apart, false));
    inbox.revoked(&part(0));
    assert!(inbox.has_room(Room::Apart, false), "all of it went");
}

#[test]
fn nothing_more_is_read_at_a_bound_until_a_quarter_of_it_is_free() {
    let mut inbox = inbox();
    for n in 0..8 {
        assert!(inbox.has_room(Room::Queued, true));
        inbox.arrived(at(n as i64), incoming(n, true), 0, NOW);
        next(&mut inbox, 0).unwrap();
    }
    assert!(!inbox.has_room(Room::Queued, true));
    inbox.done(id(0));
    inbox.done(id(1));
    assert!(!inbox.has_room(Room::Queued, false));
    inbox.done(id(2));
    assert!(inbox.has_room(Room::Queued, false));
}

#[test]
fn a_closed_one_gives_nothing_out() {
    let mut inbox = inbox();
    inbox.arrived(at(0), incoming(0, true), 0, NOW);
    inbox.close();
    assert!(matches!(inbox.next(NOW), Next::Closed));
}

#[derive(Debug, Clone)]
enum Act {
    Arrive(u64, bool),
    Next,
    Start,
    Other(u64),
    OtherDone(u64),
    Done,
    Revoke,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..12u64, any::<bool>()).prop_map(|(n, doubtful)| Act::Arrive(n, doubtful)),
        4 => Just(Act::Next),
        4 => Just(Act::Start),
        1 => (0..12u64).prop_map(Act::Other),
        1 => (0..12u64).prop_map(Act::OtherDone),
        4 => Just(Act::Done),
        1 => Just(Act::Revoke),
    ]
}

proptest! {
    /// Whatever comes in whichever order: no message runs here twice, nor here
    /// and elsewhere, and none is committed that nobody saw through.
    #[test]
    fn one_of_all_runs_each_message(acts in prop::collection::vec(act(), 1..150)) {
        let mut inbox = inbox();
        let (mut reader, mut offset) = (0, 0);
        let mut read: Vec<(i64, u64)> = Vec::new();
        let mut given: Vec<ActivationId> = Vec::new();
        let mut running: Vec<ActivationId> = Vec::new();
        let (mut ran, mut elsewhere, mut over) = (HashSet::new(), HashSet::new(), HashSet::new());
        for act in acts {
            match act {
                Act::Arrive(n, doubtful) => {
                    let place = Place { part: part(reader), offset };
                    // Those that are in doubt may only be what nobody waits for.
                    inbox.arrived(place, Incoming { doubtful, ..incoming(n, false) }, 0, NOW);
                    read.push((offset, n));
                    offset += 1;
                }
                Act::Next => if let Some((id, redelivered)) = next(&mut inbox, 0) {
                    prop_assert!(!given.contains(&id) && !running.contains(&id), "{id} was given out twice");
                    prop_assert_eq!(redelivered, Redelivered::No, "everybody lives");
                    given.push(id);
                },
                Act::Start => if let Some(id) = given.pop() {
                    match inbox.starting(id) {
                        Start::Claim(0) => {
                            if inbox.noted(id, claim(me()), 1, NOW).won == Some((0, Won::Yes)) {
                                prop_assert!(ran.insert(id) && !elsewhere.contains(&id), "{id} ran twice");
                                running.push(id);
                            } else {
                                inbox.lost(id, NOW);
                            }
                        }
                        Start::Leave => {}
                        start => prop_assert!(false, "{start:?}"),
                    }
                },
                Act::Other(n) => {
                    inbox.noted(id(n), claim(other()), 1, NOW);
                    if inbox.claims.holder(id(n)) == Some(other()) {
                        prop_assert!(!ran.contains(&id(n)));
                        elsewhere.insert(id(n));
                    }
                }
                Act::OtherDone(n) => if elsewhere.contains(&id(n)) {
                    inbox.noted(id(n), Note::Over, 1, NOW);
                    over.insert(id(n));
                },
                Act::Done => if let Some(id) = running.pop() {
                    over.insert(id);
                    if inbox.done(id) {
                        inbox.noted(id, Note::Over, 1, NOW);
                    }
                },
                Act::Revoke => {
                    let position = inbox.position(&part(reader)).unwrap();
                    inbox.revoked(&part(reader));
                    reader += 1;
                    offset = position;
                    read.retain(|(offset, _)| *offset < position);
                    inbox.assigned(part(reader), position, position);
                    given.retain(|id| inbox.held.contains_key(id));
                }
            }
            let position = inbox.position(&part(reader)).unwrap();
            for (offset, n) in &read {
                prop_assert!(*offset >= position || over.contains(&id(*n)), "{n} was committed, and is not over");
            }
        }
    }
}
