//! One life of a cluster.

mod clients;
mod controllers;
mod fate;
mod invokers;
mod network;

use whisker_bus_kafka::inbox::Bounds;
use whisker_dice::Dice;
use whisker_entity::ActivationId;
use whisker_placement::Policy;

use crate::{
    Sabotage,
    agenda::{Agenda, Time},
    broker::{Broker, Life, Post},
    chaos::{self, Weather},
    controller::Controller,
    event::Event,
    invoker::Invoker,
    ledger::{Broken, Ledger, Record, Seen},
};

/// Until then things go wrong and clients come.
const CALM: Time = 40_000;
/// Until then everything has to be over.
const END: Time = 110_000;
/// The wall shows so much at the beginning.
const EPOCH: Time = 1_700_000_000_000;

/// What there is of a process beside its memory.
#[derive(Debug, Default)]
struct Host {
    life: u64,
    stopped_until: Time,
    cut_until: Time,
    wall: i64,
    /// Records on its disk.
    spool: Vec<(ActivationId, Record)>,
}

struct World {
    dice: Dice,
    agenda: Agenda<Event>,
    weather: Weather,
    policy: Policy,
    bounds: Bounds,
    sabotage: Sabotage,
    /// Invokers first, then controllers.
    hosts: Vec<Host>,
    invokers: Vec<Option<Invoker>>,
    controllers: Vec<Option<Controller>>,
    broker: Broker,
    ledger: Ledger,
    next: u64,
    /// What happened, if somebody wants to read it.
    story: Option<Vec<String>>,
}

/// Lives the life of a seed. Says what was seen, or what does not hold.
pub fn run(seed: u64, sabotage: Sabotage) -> Result<Seen, Broken> {
    World::new(seed, sabotage).live()
}

/// The same, with what happened, a line each.
pub fn tell(seed: u64, sabotage: Sabotage) -> (Result<Seen, Broken>, Vec<String>) {
    let mut world = World::new(seed, sabotage);
    world.story = Some(Vec::new());
    let result = world.live();
    (result, world.story.unwrap_or_default())
}

impl World {
    fn new(seed: u64, sabotage: Sabotage) -> World {
        let mut dice = Dice(seed);
        // Seeds that follow each other have nothing in common.
        dice = Dice(dice.bits());
        let invokers = dice.within(2, 5) as usize;
        let controllers = dice.within(1, 3) as usize;
        let policy = if dice.chance(300) { Policy::Sharding } else { Policy::Bounded };
        // Mostly few, so that they are hit.
        let held = dice.choose(&[8, 32, 4096]).unwrap_or(8);
        let bounds = Bounds { held, queued_bytes: 1_000 * held, aside: held };
        World {
            weather: Weather::any(&mut dice),
            dice,
            agenda: Agenda::new(),
            policy,
            bounds,
            sabotage,
            hosts: (0..invokers + controllers).map(|_| Host::default()).collect(),
            invokers: (0..invokers).map(|_| None).collect(),
            controllers: (0..controllers).map(|_| None).collect(),
            broker: Broker::new(invokers, controllers),
            ledger: Ledger::default(),
            next: 0,
            story: None,
        }
    }

    fn note(&mut self, line: impl FnOnce(&World) -> String) {
        if self.story.is_some() {
            let line = format!("{:>7} {}", self.agenda.now(), line(self));
            self.story.iter_mut().for_each(|story| story.push(line.clone()));
        }
    }

    fn live(&mut self) -> Result<Seen, Broken> {
        (0..self.hosts.len()).for_each(|process| self.agenda.after(0, Event::Starts(process)));
        self.agenda.after(3_000, Event::Client);
        self.agenda.after(chaos::EVERY, Event::Chaos);
        self.agenda.after(0, Event::Coordinates);
        self.agenda.after(CALM, Event::Heals);
        while let Some(event) = self.agenda.next(END) {
            self.happens(event);
            if let Some(broken) = self.ledger.broken() {
                return Err(broken.clone());
            }
        }
        self.ledger.close(&self.broker);
        match self.ledger.broken() {
            Some(broken) => Err(broken.clone()),
            None => Ok(self.ledger.seen),
        }
    }

    fn happens(&mut self, event: Event) {
        let now = self.agenda.now();
        if let Some(who) = event.whose() {
            if self.hosts[who.process].life != who.life || !self.is_up(who.process) {
                return;
            }
            let until = self.hosts[who.process].stopped_until;
            if until > now {
                return self.agenda.after(until - now, event);
            }
        }
        match event {
            Event::Client => self.client(),
            Event::Reaches(post) => {
                if !matches!(post, Post::Ping(_)) {
                    self.note(|_| format!("the broker has {post:?}"));
                }
                self.broker.take(post);
            }
            Event::Reported(who, id) => self.reported(who, id),
            Event::Unreported(who, id) => self.unreported(who, id),
            Event::Waited(who, id) => self.waited(who, id),
            Event::Followed(who, id) => {
                if let Some(invoker) = &mut self.invokers[who.process] {
                    invoker.inbox.put_away(id);
                }
            }
            Event::Polls(who) => self.polls(who),
            Event::Second(who) => self.second(who),
            Event::Commits(who) => self.commits(who),
            Event::Ends(who, message) => self.ends(who, message),
            Event::Spooled(who, id, record) => self.spooled(who, id, record),
            Event::SpooledLate(who, id) => self.hosts[who.process].spool.push((id, Record::Ran)),
            Event::Flushes(who) => self.flushes(who),
            Event::Unclaimed(who, message) => self.unclaimed(who, message),
            Event::Interrupted(who, message) => self.interrupted(who, message),
            Event::Starts(process) => self.starts(process),
            Event::Chaos => self.chaos(),
            Event::Coordinates => {
                let which = self.dice.bits();
                self.broker.partitions.iter_mut().for_each(|partition| partition.coordinate(now, which));
                self.agenda.after(500, Event::Coordinates);
            }
            Event::Heals => self.heals(),
        }
    }

    fn second(&mut self, who: Life) {
        self.agenda.after(1_000, Event::Second(who));
        match who.process.checked_sub(self.invokers.len()) {
            Some(number) => self.controller_second(who, number),
            None => self.invoker_second(who),
        }
    }

    fn polls(&mut self, who: Life) {
        let pause = if self.dice.chance(950) { self.dice.within(5, 60) } else { self.dice.within(60, 1_500) };
        self.agenda.after(pause, Event::Polls(who));
        if self.is_cut(who.process) {
            return;
        }
        match who.process.checked_sub(self.invokers.len()) {
            Some(number) => self.controller_polls(who, number),
            None => self.invoker_polls(who),
        }
    }

    fn is_up(&self, process: usize) -> bool {
        match process.checked_sub(self.invokers.len()) {
            None => self.invokers[process].is_some(),
            Some(controller) => self.controllers[controller].is_some(),
        }
    }

    fn is_cut(&self, process: usize) -> bool {
        self.hosts[process].cut_until > self.agenda.now()
    }

    fn is_calm(&self) -> bool {
        self.agenda.now() >= CALM
    }

    fn life(&self, process: usize) -> Life {
        Life { process, life: self.hosts[process].life }
    }

    fn wall(&self, process: usize) -> Time {
        (EPOCH + self.agenda.now()).saturating_add_signed(self.hosts[process].wall)
    }

    fn id(&mut self) -> ActivationId {
        self.next += 1;
        ActivationId::from_bytes(u128::from(self.next).to_be_bytes())
    }
}
