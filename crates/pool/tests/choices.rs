//! Which container takes the next run, and who goes for it: one situation a
//! test, told as what happens and what is ordered.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{sync::Arc, time::Duration};

use whisker_pool::{Config, End, Event, KeepPolicy, Key, Order, Pool, Refusal, Shape, SlotId, Stem, Want};

/// An action `NAMESPACE/NAME` of so much memory.
fn want(action: &str, memory_mb: u32) -> Want {
    let (namespace, _) = action.split_once('/').unwrap();
    Want {
        key: Arc::new(Key {
            namespace: namespace.parse().unwrap(),
            action: action.parse().unwrap(),
            revision: "1".into(),
            environment: 0,
        }),
        shape: Shape { kind: "nodejs:20".into(), memory_mb, concurrent: false },
        concurrency: 1,
    }
}

struct Story {
    pool: Pool<&'static str>,
    now: Duration,
}

impl Story {
    fn new(config: Config) -> Self {
        Self { pool: Pool::new(config), now: Duration::ZERO }
    }

    /// Tells an event; answers the orders in short.
    fn tell(&mut self, event: Event<&'static str>) -> Vec<String> {
        let orders = self.pool.on(self.now, event).into_iter().map(|order| match order {
            Order::Start { slot, shape } => format!("start {} {}", number(slot), shape.memory_mb),
            Order::Run { slot, ticket, reason } => format!("run {} {} {reason:?}", ticket.run, number(slot)),
            Order::Pause(slot) => format!("pause {}", number(slot)),
            Order::Remove(slot) => format!("remove {}", number(slot)),
            Order::Refuse { ticket, refusal } => format!("refuse {} {refusal:?}", ticket.run),
        });
        orders.collect()
    }

    fn arrive(&mut self, run: &'static str, want: Want) -> Vec<String> {
        self.tell(Event::Arrived { run, want })
    }

    /// Lets a run arrive that needs a new container, and answers which.
    fn start(&mut self, run: &'static str, want: Want) -> SlotId {
        match self.pool.on(self.now, Event::Arrived { run, want }).pop() {
            Some(Order::Start { slot, .. }) => slot,
            other => panic!("no start for {run}, but {other:?}"),
        }
    }

    /// Has a run done from cold to its end, and answers where.
    fn cold(&mut self, run: &'static str, want: Want) -> SlotId {
        let slot = self.start(run, want);
        self.tell(Event::Started(slot));
        self.tell(Event::Initialised(slot));
        self.tell(Event::Ended { slot, end: End::Fit });
        slot
    }

    fn wait(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        self.tell(Event::Tick)
    }
}

fn number(slot: SlotId) -> String {
    format!("{slot:?}").chars().filter(char::is_ascii_digit).collect()
}

const SECOND: Duration = Duration::from_secs(1);

fn config(memory_mb: u64) -> Config {
    Config { memory_mb, ..Config::default() }
}

#[test]
fn a_warm_container_is_taken_the_last_used_first() {
    let mut story = Story::new(config(1024));
    let a = story.start("1", want("ns/a", 256));
    let b = story.start("2", want("ns/a", 256));
    for slot in [a, b] {
        story.tell(Event::Started(slot));
        story.tell(Event::Initialised(slot));
    }
    story.tell(Event::Ended { slot: b, end: End::Fit });
    story.tell(Event::Ended { slot: a, end: End::Fit });
    assert_eq!(story.arrive("3", want("ns/a", 256)), [format!("run 3 {} Warm", number(a))]);
    assert_eq!(story.arrive("4", want("ns/a", 256)), [format!("run 4 {} Warm", number(b))]);
}

#[test]
fn a_prewarmed_container_fits_by_kind_and_memory_and_is_replaced() {
    let stems = vec![Stem { shape: want("ns/a", 256).shape, count: 1 }];
    let mut story = Story::new(Config { stems, ..config(1024) });
    let Some(Order::Start { slot, .. }) = story.pool.on(SECOND, Event::Tick).pop() else { panic!() };
    assert!(story.tell(Event::Started(slot)).is_empty());
    let cold = story.arrive("1", want("ns/b", 128));
    assert!(cold[0].starts_with("start") && cold[0].ends_with("128"), "another memory: {cold:?}");
    let taken = story.arrive("2", want("ns/a", 256));
    assert_eq!(taken[0], format!("run 2 {} Prewarmed", number(slot)));
    assert!(taken[1].starts_with("start") && taken[1].ends_with("256"), "{taken:?}");
}

#[test]
fn the_longest_unused_go_first_and_prewarmed_ones_last() {
    let stems = vec![Stem { shape: want("ns/a", 256).shape, count: 1 }];
    let mut story = Story::new(Config { stems, ..config(768) });
    let Some(Order::Start { slot: stem, .. }) = story.pool.on(SECOND, Event::Tick).pop() else { panic!() };
    story.tell(Event::Started(stem));
    let old = story.cold("1", want("ns/old", 128));
    story.wait(SECOND);
    let young = story.cold("2", want("ns/young", 384));
    assert_eq!(story.arrive("3", want("ns/c", 128)), [format!("remove {}", number(old))]);
    let freed = story.tell(Event::Removed(old));
    assert!(freed[0].starts_with("start"), "only now is its memory free: {freed:?}");
    assert_eq!(
        story.arrive("4", want("ns/big", 640)),
        [format!("remove {}", number(young)), format!("remove {}", number(stem))]
    );
}

#[test]
fn nobody_goes_in_vain() {
    let mut story = Story::new(config(512));
    let slot = story.start("1", want("ns/busy", 256));
    story.tell(Event::Started(slot));
    story.cold("2", want("ns/idle", 256));
    assert!(story.arrive("3", want("ns/big", 512)).is_empty(), "the busy one would still be in the way");
}

#[test]
fn an_idle_container_is_paused_then_removed_and_thawed_for_a_run() {
    let mut story = Story::new(config(512));
    let slot = story.cold("1", want("ns/a", 256));
    assert!(story.wait(9 * SECOND).is_empty());
    assert_eq!(story.wait(SECOND), [format!("pause {}", number(slot))]);
    assert!(story.arrive("2", want("ns/a", 256)).is_empty(), "it waits for the pause, rather than for a cold start");
    assert_eq!(story.tell(Event::Paused(slot)), [format!("run 2 {} Paused", number(slot))]);
    story.tell(Event::Resumed(slot));
    story.tell(Event::Ended { slot, end: End::Fit });
    story.wait(10 * SECOND);
    story.tell(Event::Paused(slot));
    assert!(story.wait(289 * SECOND).is_empty());
    assert_eq!(story.wait(SECOND), [format!("remove {}", number(slot))]);
}

#[test]
fn a_policy_that_learns_keeps_each_action_for_its_own_time() {
    let mut story = Story::new(Config { keep_policy: KeepPolicy::Learnt, pause_grace: None, ..config(1024) });
    let (minutely, new) = (want("ns/minutely", 256), want("ns/new", 256));
    let timer = story.cold("0", minutely.clone());
    for _ in 0..10 {
        story.wait(60 * SECOND);
        assert_eq!(story.arrive("timer", minutely.clone()), [format!("run timer {} Warm", number(timer))]);
        story.tell(Event::Ended { slot: timer, end: End::Fit });
    }
    let other = story.cold("other", new);
    assert!(story.wait(60 * SECOND).is_empty());
    assert_eq!(story.wait(20 * SECOND), [format!("remove {}", number(timer))], "it would have come by now");
    assert!(story.wait(219 * SECOND).is_empty(), "nothing is known of this one");
    assert_eq!(story.wait(SECOND), [format!("remove {}", number(other))]);
}

#[test]
fn blank_containers_are_as_many_as_traffic_needed() {
    let mut story = Story::new(Config { learnt_stems_mb: 1024, ..config(8192) });
    let cold = ["1", "2", "3"].map(|run| story.start(run, want("ns/a", 256)));
    let mut blank = vec![];
    for slot in cold {
        for order in story.pool.on(story.now, Event::Started(slot)) {
            if let Order::Start { slot, .. } = order {
                blank.push(slot);
            }
        }
    }
    assert_eq!(blank.len(), 3, "as many for those who come next");
    for slot in blank {
        story.tell(Event::Started(slot));
    }
    let removed: Vec<String> = (0..10).flat_map(|_| story.wait(30 * SECOND)).collect();
    assert_eq!(removed.iter().filter(|order| order.starts_with("remove")).count(), 3, "nobody came: {removed:?}");
}

#[test]
fn overlapping_runs_are_timed_each_for_itself() {
    let concurrent = |run: &str| Want { concurrency: 4, ..want(&format!("ns/{run}"), 256) };
    let mut story = Story::new(Config { parallel: 1, ..config(1024) });
    let slot = story.cold("0", concurrent("a"));
    // Four at a time, one of which ends as a new one begins: each takes 40 ms.
    let step = SECOND / 100;
    for _ in 0..4 {
        story.arrive("first", concurrent("a"));
        story.now += step;
    }
    for _ in 0..40 {
        story.tell(Event::Ended { slot, end: End::Fit });
        story.arrive("next", concurrent("a"));
        story.now += step;
    }
    let more = story.arrive("one more", concurrent("a"));
    assert!(more[0].starts_with("start"), "runs of 40 ms are not short: {more:?}");
}

#[test]
fn a_busy_action_gives_way_to_one_that_has_waited_long() {
    let mut story = Story::new(config(256));
    let slot = story.cold("0", want("ns/hot", 256));
    assert_eq!(story.arrive("1", want("ns/hot", 256)).len(), 1);
    story.arrive("2", want("ns/hot", 256));
    story.arrive("cold", want("other/b", 256));
    story.arrive("3", want("ns/hot", 256));
    story.now += SECOND / 2;
    let next = story.tell(Event::Ended { slot, end: End::Fit });
    assert_eq!(next, [format!("run 2 {} Warm", number(slot))], "a moment's patience saves cold starts");
    story.now += SECOND;
    let next = story.tell(Event::Ended { slot, end: End::Fit });
    assert_eq!(next, [format!("remove {}", number(slot))], "but only a moment's");
    let next = story.tell(Event::Removed(slot));
    assert!(next.len() == 1 && next[0].starts_with("start"), "{next:?}");
}

#[test]
fn a_started_container_goes_to_whoever_still_needs_one() {
    let mut story = Story::new(Config { max_starts: 1, ..config(1024) });
    let mine = story.cold("0", want("ns/a", 256));
    story.arrive("1", want("ns/a", 256));
    let started = story.start("2", want("ns/a", 256));
    assert!(story.arrive("3", want("ns/b", 256)).is_empty(), "one start at a time");
    let free = story.tell(Event::Ended { slot: mine, end: End::Fit });
    assert_eq!(free, [format!("run 2 {} Warm", number(mine))], "it need not wait for the start");
    assert_eq!(story.tell(Event::Started(started)), [format!("run 3 {} Prewarmed", number(started))]);
}

#[test]
fn short_runs_wait_for_the_containers_there_are_but_not_for_long() {
    let mut story = Story::new(Config { parallel: 1, ..config(1024) });
    let mine = story.cold("0", want("ns/a", 256));
    assert_eq!(story.arrive("1", want("ns/a", 256)), [format!("run 1 {} Warm", number(mine))]);
    assert!(story.arrive("2", want("ns/a", 256)).is_empty(), "the one before took no time");
    assert!(story.wait(SECOND / 2).is_empty(), "not yet");
    let late = story.wait(SECOND);
    assert!(late[0].starts_with("start"), "it has waited longer than the patience: {late:?}");
}

#[test]
fn long_runs_get_containers_of_their_own() {
    let mut story = Story::new(Config { parallel: 1, ..config(1024) });
    let mine = story.start("0", want("ns/a", 256));
    story.tell(Event::Started(mine));
    story.tell(Event::Initialised(mine));
    story.now += SECOND;
    story.tell(Event::Ended { slot: mine, end: End::Fit });
    story.arrive("1", want("ns/a", 256));
    let next = story.arrive("2", want("ns/a", 256));
    assert!(next[0].starts_with("start"), "a run of this action takes a second: {next:?}");
}

#[test]
fn what_can_never_be_is_refused_at_once() {
    let mut story = Story::new(Config { max_waiting: 1, ..config(256) });
    assert_eq!(story.arrive("big", want("ns/big", 512)), [format!("refuse big {:?}", Refusal::TooLarge)]);
    story.arrive("1", want("ns/a", 256));
    assert_eq!(story.arrive("2", want("ns/a", 256)), [format!("refuse 2 {:?}", Refusal::QueueFull)]);
}

#[test]
fn a_start_that_fails_is_tried_again_after_a_pause_and_given_up_in_the_end() {
    let mut story = Story::new(Config { max_failures: 2, ..config(256) });
    let slot = story.start("1", want("ns/a", 256));
    story.now = SECOND;
    assert!(story.tell(Event::NotStarted { slot, hopeless: false }).is_empty());
    let Some(Order::Start { slot, .. }) = story.pool.on(SECOND * 2, Event::Tick).pop() else { panic!() };
    let given_up = story.tell(Event::NotStarted { slot, hopeless: false });
    assert_eq!(given_up, [format!("refuse 1 {:?}", Refusal::NotStarted)]);
    assert_eq!(story.pool.counts(), whisker_pool::Counts::default());
}

#[test]
fn nothing_is_kept_of_a_hundred_thousand_actions() {
    let mut pool = Pool::new(config(512));
    for n in 0..100_000 {
        let run = n;
        let want = want(&format!("ns{}/a{n}", n % 1000), 256);
        let mut orders = pool.on(SECOND, Event::Arrived { run, want });
        // Whatever is ordered is done at once.
        while let Some(order) = orders.pop() {
            let events = match order {
                Order::Start { slot, .. } => vec![Event::Started(slot)],
                Order::Run { slot, .. } => vec![Event::Initialised(slot), Event::Ended { slot, end: End::Fit }],
                Order::Remove(slot) => vec![Event::Removed(slot)],
                Order::Pause(_) | Order::Refuse { .. } => panic!("{order:?}"),
            };
            events.into_iter().for_each(|event| orders.extend(pool.on(SECOND, event)));
        }
        let counts = pool.counts();
        assert!(counts.actions <= 2 && counts.containers <= 2 && counts.waiting == 0, "{counts:?}");
    }
}
