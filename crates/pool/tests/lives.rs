//! Random lives of a pool: containers start, fail, die and obey late; runs
//! come, end well or badly. Whatever happens, no run is lost or done twice,
//! memory is never overdrawn, no container serves two owners, and once the
//! trouble is over the queue drains.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use whisker_pool::{
    Config, End, Event, KeepPolicy, Key, Order, Pool, Reason, Refusal, Shape, SlotId, Stem, Ticket, Want,
};

const MEMORY_MB: u64 = 1024;

/// One thing that may happen; numbers choose among what is there.
#[derive(Debug, Clone)]
enum Step {
    Arrive { action: u8 },
    Start { which: usize, fails: bool, hopeless: bool },
    Advance { which: usize, unfit: bool },
    Kill { which: usize },
    Pause { which: usize, fails: bool },
    Remove { which: usize },
    Wait { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<usize>();
    prop_oneof![
        6 => (0..8u8).prop_map(|action| Step::Arrive { action }),
        4 => (which, prop::bool::weighted(0.2), prop::bool::weighted(0.02))
            .prop_map(|(which, fails, hopeless)| Step::Start { which, fails, hopeless }),
        8 => (which, prop::bool::weighted(0.1)).prop_map(|(which, unfit)| Step::Advance { which, unfit }),
        1 => which.prop_map(|which| Step::Kill { which }),
        2 => (which, prop::bool::weighted(0.2)).prop_map(|(which, fails)| Step::Pause { which, fails }),
        3 => which.prop_map(|which| Step::Remove { which }),
        2 => (0..20_000u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

/// A few owners and shapes: actions 0 and 1 are revisions of one, 2 and 3 are
/// concurrent, 7 is large.
fn want(action: u8) -> Want {
    let namespace = if action.is_multiple_of(2) { "anna" } else { "bert" };
    let name = if action < 2 { "same".to_owned() } else { format!("a{action}") };
    let namespace = if action < 2 { "anna" } else { namespace };
    let concurrency = if (2..4).contains(&action) { 3 } else { 1 };
    Want {
        key: Arc::new(Key {
            namespace: namespace.parse().unwrap(),
            action: format!("pub/{name}").parse().unwrap(),
            revision: action.to_string().into(),
            environment: 0,
        }),
        shape: Shape {
            kind: "nodejs:20".into(),
            memory_mb: if action == 7 { 1024 } else { 128 * (1 + u32::from(action % 3)) },
            concurrent: concurrency > 1,
        },
        concurrency,
    }
}

#[derive(Debug)]
struct Given {
    ticket: Ticket<u64>,
    reason: Reason,
    running: bool,
}

#[derive(Debug, Default)]
struct Container {
    memory_mb: u64,
    started: bool,
    owner: Option<Arc<Key>>,
    runs: Vec<Given>,
    frozen: bool,
    pausing: bool,
    removing: bool,
    dead: bool,
}

struct World {
    pool: Pool<u64>,
    now: Duration,
    containers: BTreeMap<SlotId, Container>,
    arrived: u64,
    ended: BTreeSet<u64>,
}

fn nth<K: Copy, V>(map: &BTreeMap<K, V>, which: usize, fits: impl Fn(&V) -> bool) -> Option<K> {
    let all: Vec<K> = map.iter().filter(|(_, v)| fits(v)).map(|(k, _)| *k).collect();
    (!all.is_empty()).then(|| all[which % all.len()])
}

impl World {
    fn new(stems: u32, learnt_stems_mb: u64, keep_policy: KeepPolicy) -> Self {
        let stem = Stem { shape: want(4).shape, count: stems };
        let config = Config {
            memory_mb: MEMORY_MB,
            max_waiting: 40,
            parallel: 2,
            stems: vec![stem],
            learnt_stems_mb,
            keep_policy,
            ..Config::default()
        };
        let mut world = World {
            pool: Pool::new(config),
            now: Duration::ZERO,
            containers: BTreeMap::new(),
            arrived: 0,
            ended: BTreeSet::new(),
        };
        world.tell(Event::Tick);
        world
    }

    fn end(&mut self, run: u64) {
        assert!(self.ended.insert(run), "run {run} ended twice");
    }

    fn tell(&mut self, event: Event<u64>) {
        for order in self.pool.on(self.now, event) {
            self.obey(order);
        }
        let memory: u64 = self.containers.values().map(|c| c.memory_mb).sum();
        let counts = self.pool.counts();
        assert_eq!(counts.memory_mb, memory, "memory is that of the containers there are");
        assert!(memory <= MEMORY_MB, "{memory} MB are used");
        let at_work = self.containers.values().filter(|c| !c.runs.is_empty() && !c.removing);
        let busy: u64 = at_work.map(|c| c.memory_mb).sum();
        assert!((busy..=memory).contains(&counts.busy_mb), "{busy} MB have runs, of {memory}: {counts:?}");
        assert_eq!(counts.containers, self.containers.len());
        let given: usize = self.containers.values().map(|c| c.runs.len()).sum();
        let under_way = counts.waiting + given + self.ended.len();
        assert_eq!(under_way as u64, self.arrived, "each run waits, runs or has ended");
        // One that was served while it stood in line is forgotten when its turn
        // comes; it had a container, so there are never more of them than fit.
        let in_line = (MEMORY_MB / 128) as usize;
        assert!(counts.actions <= counts.waiting + counts.containers + in_line, "no action is remembered for nothing");
    }

    fn obey(&mut self, order: Order<u64>) {
        match order {
            Order::Start { slot, shape } => {
                let container = Container { memory_mb: shape.memory_mb.into(), ..Container::default() };
                assert!(self.containers.insert(slot, container).is_none(), "a name is used once");
            }
            Order::Run { slot, ticket, reason } => {
                let container = self.containers.get_mut(&slot).expect("a container that exists");
                assert!(container.started && !container.removing && !container.pausing);
                assert_eq!(u64::from(ticket.want.shape.memory_mb), container.memory_mb);
                let owner = container.owner.get_or_insert_with(|| ticket.want.key.clone());
                assert_eq!(*owner, ticket.want.key, "one owner for life");
                assert_eq!(container.frozen, reason == Reason::Paused);
                assert!(container.runs.len() < ticket.want.concurrency as usize, "no more than it takes");
                let running = reason == Reason::Warm;
                container.runs.push(Given { ticket, reason, running });
            }
            Order::Pause(slot) => {
                let container = self.containers.get_mut(&slot).unwrap();
                assert!(container.runs.is_empty() && !container.frozen && !container.removing);
                container.pausing = true;
            }
            Order::Remove(slot) => {
                let container = self.containers.get_mut(&slot).unwrap();
                assert!(container.runs.is_empty() && !container.removing, "removed once, and never when busy");
                container.removing = true;
            }
            Order::Refuse { ticket, refusal: _ } => self.end(ticket.run),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Arrive { action } => {
                self.arrived += 1;
                self.tell(Event::Arrived { run: self.arrived, want: want(action) });
            }
            Step::Start { which, fails, hopeless } => {
                let Some(slot) = nth(&self.containers, which, |c| !c.started && !c.removing) else { return };
                if fails {
                    self.containers.remove(&slot);
                    self.tell(Event::NotStarted { slot, hopeless });
                } else {
                    self.containers.get_mut(&slot).unwrap().started = true;
                    self.tell(Event::Started(slot));
                }
            }
            Step::Advance { which, unfit } => {
                let Some(slot) = nth(&self.containers, which, |c| !c.runs.is_empty()) else { return };
                let container = self.containers.get_mut(&slot).unwrap();
                let index = which % container.runs.len();
                let run = &mut container.runs[index];
                if run.running {
                    let run = container.runs.remove(index);
                    let end = if unfit || container.dead { End::Unfit } else { End::Fit };
                    self.end(run.ticket.run);
                    self.tell(Event::Ended { slot, end });
                } else if container.dead {
                    let run = container.runs.remove(index);
                    self.tell(Event::Returned { slot, ticket: run.ticket });
                } else {
                    run.running = true;
                    container.frozen = false;
                    let event = match run.reason {
                        Reason::Cold | Reason::Prewarmed => Event::Initialised(slot),
                        Reason::Paused => Event::Resumed(slot),
                        Reason::Warm => unreachable!("it runs at once"),
                    };
                    self.tell(event);
                }
            }
            Step::Kill { which } => {
                let Some(slot) = nth(&self.containers, which, |c| c.started && !c.dead) else { return };
                let container = self.containers.get_mut(&slot).unwrap();
                container.dead = true;
                container.pausing = false;
                self.tell(Event::Died(slot));
            }
            Step::Pause { which, fails } => {
                let Some(slot) = nth(&self.containers, which, |c| c.pausing) else { return };
                let container = self.containers.get_mut(&slot).unwrap();
                container.pausing = false;
                if fails {
                    container.dead = true;
                    self.tell(Event::Died(slot));
                } else {
                    container.frozen = true;
                    self.tell(Event::Paused(slot));
                }
            }
            Step::Remove { which } => {
                let Some(slot) = nth(&self.containers, which, |c| c.removing) else { return };
                self.containers.remove(&slot);
                self.tell(Event::Removed(slot));
            }
            Step::Wait { ms } => {
                self.now += Duration::from_millis(ms);
                self.tell(Event::Tick);
            }
        }
    }

    /// From here on everything goes well.
    fn calm(&mut self) {
        for _ in 0..400 {
            self.step(Step::Start { which: 0, fails: false, hopeless: false });
            self.step(Step::Pause { which: 0, fails: false });
            self.step(Step::Remove { which: 0 });
            self.step(Step::Advance { which: 0, unfit: false });
            self.step(Step::Wait { ms: 100 });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_nothing_is_doubled_and_the_queue_drains(
        stems in 0..3u32,
        learnt_stems_mb in prop_oneof![Just(0), Just(512)],
        keep_policy in prop_oneof![Just(KeepPolicy::Fixed), Just(KeepPolicy::Learnt)],
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let mut world = World::new(stems, learnt_stems_mb, keep_policy);
        steps.into_iter().for_each(|step| world.step(step));
        world.calm();
        prop_assert_eq!(world.pool.counts().waiting, 0, "the queue drains");
        prop_assert_eq!(world.ended.len() as u64, world.arrived);

        world.tell(Event::Close);
        world.calm();
        let counts = world.pool.counts();
        prop_assert_eq!((counts.containers, counts.actions, counts.memory_mb), (0, 0, 0), "nothing is left");
        world.arrived += 1;
        let refused = world.pool.on(world.now, Event::Arrived { run: world.arrived, want: want(4) });
        prop_assert!(
            matches!(refused[..], [Order::Refuse { refusal: Refusal::Closed, .. }]),
            "a closed pool takes nothing"
        );
    }
}
