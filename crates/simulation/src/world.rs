//! One life of a cluster.

use whisker_bus_kafka::claims::{Note, Won};
use whisker_dice::Dice;
use whisker_entity::ActivationId;
use whisker_placement::Policy;

use crate::{
    Sabotage,
    agenda::{Agenda, Time},
    broker::{Ack, Broker, Life, Message, Ping, Post},
    chaos::{self, Fault, Weather},
    controller::{Controller, Pending, want},
    inbox::{Inbox, Start},
    invoker::Invoker,
    ledger::{Broken, Ledger, Record, Seen},
};

/// Until then things go wrong and clients come.
const CALM: Time = 40_000;
/// Until then everything has to be over.
const END: Time = 110_000;
/// After so long without a report a message counts as not sent.
const PATIENCE: Time = 5_000;
/// So long a client waits for a result.
const WAIT: Time = 4_000;
/// The wall shows so much at the beginning.
const EPOCH: Time = 1_700_000_000_000;

/// What can happen.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A client comes, to whatever controller there is.
    Client,
    /// Something reaches the broker.
    Reaches(Post),
    /// A controller hears that a message is safe.
    Reported(Life, ActivationId),
    /// An invoker hears that a run's successor is safe.
    Followed(Life, ActivationId),
    /// A controller waited long enough for that.
    Unreported(Life, ActivationId),
    /// A client waited long enough for a result.
    Waited(Life, ActivationId),
    /// A process looks what the broker has for it.
    Polls(Life),
    /// A second went by for a process.
    Second(Life),
    /// An invoker commits.
    Commits(Life),
    /// A run is over.
    Ends(Life, Message),
    /// Its record is on the invoker's disk.
    Spooled(Life, ActivationId, Record),
    /// Only with sabotage: it is there at last.
    SpooledLate(Life, ActivationId),
    /// An invoker brings records to the store.
    Flushes(Life),
    /// Its claim was not read: once more.
    Unclaimed(Life, Message),
    /// Something that could not be done then.
    Interrupted(Life, Message),
    Starts(usize),
    Chaos,
    Coordinates,
    Heals,
}

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
        World {
            weather: Weather::any(&mut dice),
            dice,
            agenda: Agenda::new(),
            policy,
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
        if let Some(who) = Self::whose(event) {
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

    /// The process to which it happens, if it lives and is not stopped.
    fn whose(event: Event) -> Option<Life> {
        match event {
            Event::Reported(who, _)
            | Event::Followed(who, _)
            | Event::Unreported(who, _)
            | Event::Waited(who, _)
            | Event::Polls(who)
            | Event::Second(who)
            | Event::Commits(who)
            | Event::Ends(who, _)
            | Event::Spooled(who, ..)
            | Event::SpooledLate(who, _)
            | Event::Flushes(who)
            | Event::Unclaimed(who, _)
            | Event::Interrupted(who, _) => Some(who),
            Event::Client | Event::Reaches(_) | Event::Starts(_) | Event::Chaos | Event::Coordinates | Event::Heals => {
                None
            }
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

    fn way(&mut self) -> Time {
        // Mostly short ones, so that one that is late comes after many.
        if self.dice.chance(800) { self.dice.within(1, 5) } else { self.dice.within(1, self.weather.way) }
    }

    /// Sends something on its way. Says when a report of it would come back;
    /// `None`: never.
    fn post(&mut self, from: usize, post: Post) -> Option<Time> {
        if self.is_cut(from) {
            return None;
        }
        let way = self.way();
        self.agenda.after(way, Event::Reaches(post));
        if !self.is_calm() && self.dice.chance(self.weather.doubled) && Self::may_come_twice(post) {
            let later = way + self.dice.within(0, 10_000);
            self.agenda.after(later, Event::Reaches(post));
        }
        let lost = !self.is_calm() && self.dice.chance(self.weather.reports_lost);
        (!lost).then(|| way + self.way())
    }

    /// Messages come twice where a sender does not know whether the first one
    /// came. What a client waits for is sent once, by a producer that writes
    /// once: it runs without a claim, so a second copy of it that another life
    /// reads would run as well.
    fn may_come_twice(post: Post) -> bool {
        !matches!(post, Post::Activation { message: Message { blocking: true, .. }, .. })
    }

    /// Sends something of which nobody asks whether it came.
    fn drop_off(&mut self, from: usize, post: Post) {
        if self.is_calm() || !self.dice.chance(self.weather.lost) {
            self.post(from, post);
        }
    }

    fn starts(&mut self, process: usize) {
        if self.is_up(process) {
            return;
        }
        if self.is_cut(process) {
            // It cannot begin without the broker.
            return self.agenda.after(500, Event::Starts(process));
        }
        self.hosts[process].life += 1;
        self.hosts[process].stopped_until = 0;
        let now = self.agenda.now();
        let who = self.life(process);
        self.note(|_| format!("{who:?} starts"));
        if let Some(controller) = process.checked_sub(self.invokers.len()) {
            let (invokers, controllers) = (self.invokers.len(), self.controllers.len());
            let mut fresh = Controller::new(self.policy, invokers, controllers, now, self.sabotage);
            fresh.health = self.broker.health.len();
            fresh.completed = self.broker.completed[controller].len();
            self.controllers[controller] = Some(fresh);
        } else {
            let inbox = Inbox::new(process, who.life, self.invokers.len(), now, self.sabotage);
            let mut fresh = Invoker::new(who, inbox);
            fresh.health = self.broker.health.len();
            for (id, note, at) in &self.broker.claims {
                fresh.inbox.noted(*id, *note, *at, now);
            }
            fresh.claims = self.broker.claims.len();
            self.invokers[process] = Some(fresh);
            self.agenda.after(250, Event::Commits(who));
            self.agenda.after(10, Event::Flushes(who));
        }
        self.agenda.after(1, Event::Polls(who));
        self.agenda.after(1, Event::Second(who));
    }

    fn kill(&mut self, process: usize, back: Time) {
        match process.checked_sub(self.invokers.len()) {
            None => self.invokers[process] = None,
            Some(controller) => self.controllers[controller] = None,
        }
        self.agenda.after(back, Event::Starts(process));
    }

    fn chaos(&mut self) {
        if self.is_calm() {
            return;
        }
        self.agenda.after(chaos::EVERY, Event::Chaos);
        if !self.dice.chance(self.weather.faults) {
            return;
        }
        let process = self.dice.below(self.hosts.len() as u64) as usize;
        let now = self.agenda.now();
        self.ledger.seen.faults += 1;
        let fault = Fault::any(&mut self.dice);
        let who = self.life(process);
        self.note(|_| format!("{who:?}: {fault:?}"));
        match fault {
            Fault::Killed(back) if self.is_up(process) => self.kill(process, back),
            Fault::Killed(_) => {}
            Fault::Stopped(time) => self.hosts[process].stopped_until = now + time,
            Fault::Cut(time) => self.hosts[process].cut_until = now + time,
            Fault::Wall(by) => self.hosts[process].wall = by,
            Fault::Drained => {
                if let Some(Some(invoker)) = self.invokers.get_mut(process) {
                    invoker.draining = true;
                    let ping = Ping { who: self.life(process), enabled: false };
                    self.post(process, Post::Ping(ping));
                }
            }
            Fault::Moved => {
                let partition = self.dice.below(self.broker.partitions.len() as u64) as usize;
                self.broker.partitions[partition].leaving = true;
            }
        }
    }

    /// From now on all goes well.
    fn heals(&mut self) {
        for process in 0..self.hosts.len() {
            self.hosts[process].cut_until = 0;
            self.hosts[process].stopped_until = 0;
            self.agenda.after(100, Event::Starts(process));
        }
    }

    fn client(&mut self) {
        if self.is_calm() {
            return;
        }
        let pause = if self.dice.chance(100) { 3_000 } else { 600 };
        let pause = self.dice.within(1, pause);
        self.agenda.after(pause, Event::Client);
        let number = self.dice.below(self.controllers.len() as u64) as usize;
        let process = self.invokers.len() + number;
        let (now, dice) = (self.agenda.now(), self.dice.bits());
        let (id, action) = (self.id(), self.dice.below(9));
        if self.hosts[process].stopped_until > now {
            return;
        }
        let (Some(want), Some(controller)) = (want(action), &mut self.controllers[number]) else { return };
        let Some(invoker) = controller.book(id, &want, dice, now, &mut self.ledger) else {
            self.ledger.seen.refused += 1;
            return;
        };
        let blocking = self.dice.chance(400);
        controller.pending.insert(id, Pending { blocking, reported: false, waited: !blocking });
        let message = Message {
            id,
            blocking,
            again: !blocking && self.dice.chance(250),
            run: 0,
            controller: number,
            sent_to: invoker,
            test: false,
            memory_mb: u64::from(want.action.memory_mb),
            takes: if self.dice.chance(850) { self.dice.within(1, 500) } else { self.dice.within(500, 8_000) },
            written: self.wall(process),
        };
        self.ledger.sent(id, blocking);
        let who = self.life(process);
        if let Some(report) = self.post(process, Post::Activation { partition: invoker, message }) {
            self.agenda.after(report, Event::Reported(who, id));
        }
        self.agenda.after(PATIENCE, Event::Unreported(who, id));
        if blocking {
            self.agenda.after(WAIT, Event::Waited(who, id));
        }
    }

    fn pending(&mut self, who: Life, id: ActivationId) -> Option<&mut Pending> {
        self.controllers[who.process - self.invokers.len()].as_mut()?.pending.get_mut(&id)
    }

    fn reported(&mut self, who: Life, id: ActivationId) {
        if self.is_cut(who.process) {
            return;
        }
        let Some(pending) = self.pending(who, id) else { return };
        pending.reported = true;
        if pending.waited {
            self.accept(who, id);
        }
    }

    fn waited(&mut self, who: Life, id: ActivationId) {
        let Some(pending) = self.pending(who, id) else { return };
        pending.waited = true;
        if pending.reported {
            self.accept(who, id);
        }
    }

    fn accept(&mut self, who: Life, id: ActivationId) {
        self.note(|_| format!("{who:?} accepted {id}"));
        self.ledger.accepted(id);
        if let Some(controller) = &mut self.controllers[who.process - self.invokers.len()] {
            controller.pending.remove(&id);
        }
    }

    /// The bus does not say that it has it: its client hears an error, and it
    /// should not run any more.
    fn unreported(&mut self, who: Life, id: ActivationId) {
        let now = self.agenda.now();
        match self.pending(who, id) {
            Some(pending) if !pending.reported => {}
            Some(_) | None => return,
        }
        if let Some(controller) = &mut self.controllers[who.process - self.invokers.len()] {
            controller.pending.remove(&id);
            controller.withdraw(id, now);
        }
        self.ledger.seen.refused += 1;
        let at = self.wall(who.process);
        self.post(who.process, Post::Note { id, note: Note::Over, at });
    }

    fn second(&mut self, who: Life) {
        self.agenda.after(1_000, Event::Second(who));
        let now = self.agenda.now();
        if let Some(number) = who.process.checked_sub(self.invokers.len()) {
            let tests = self.controllers[number].as_mut().map(|controller| controller.second(now));
            return self.test(who, tests.unwrap_or_default());
        }
        let Some(invoker) = &mut self.invokers[who.process] else { return };
        invoker.inbox.look_around(now);
        if invoker.draining {
            return self.drained(who);
        }
        self.drop_off(who.process, Post::Ping(Ping { who, enabled: true }));
        self.pump(who);
    }

    /// It is drained: it ends what it has, commits, and goes.
    fn drained(&mut self, who: Life) {
        let cut = self.is_cut(who.process);
        let Some(invoker) = &mut self.invokers[who.process] else { return };
        if !invoker.is_idle() {
            return;
        }
        let parts: Vec<usize> = invoker.inbox.parts.keys().copied().collect();
        for partition in parts.into_iter().filter(|_| !cut) {
            invoker.give_up(&mut self.broker, partition);
            self.broker.partitions[partition].leave(who);
        }
        let back = self.dice.within(100, 5_000);
        self.kill(who.process, back);
    }

    fn test(&mut self, who: Life, invokers: Vec<usize>) {
        for invoker in invokers {
            let message = Message {
                id: self.id(),
                blocking: false,
                again: false,
                run: 0,
                controller: who.process - self.invokers.len(),
                sent_to: invoker,
                test: true,
                memory_mb: 128,
                takes: self.dice.within(1, 50),
                written: self.wall(who.process),
            };
            self.post(who.process, Post::Activation { partition: invoker, message });
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

    fn controller_polls(&mut self, who: Life, number: usize) {
        let (now, most) = (self.agenda.now(), self.dice.within(1, 40) as usize);
        let Some(controller) = &mut self.controllers[number] else { return };
        let mut tests = Vec::new();
        let pings = self.broker.health.get(controller.health..).unwrap_or_default();
        for ping in pings.iter().take(most) {
            controller.health += 1;
            tests.extend(controller.heard(*ping, now));
        }
        let acks = self.broker.completed[number].get(controller.completed..).unwrap_or_default();
        let acks: Vec<Ack> = acks.iter().copied().take(most).collect();
        for ack in acks {
            controller.completed += 1;
            tests.extend(controller.acknowledged(ack, now));
            // Whoever waits has the result, whether the bus reported or not.
            if controller.pending.get(&ack.id).is_some_and(|pending| pending.blocking) {
                controller.pending.remove(&ack.id);
                self.ledger.seen.answered += 1;
            }
        }
        self.test(who, tests);
    }

    fn invoker_polls(&mut self, who: Life) {
        let now = self.agenda.now();
        // What it hears of first, and how much of it, is chance.
        let mut topics = [0, 1, 2];
        for at in (1..topics.len()).rev() {
            topics.swap(at, self.dice.below(at as u64 + 1) as usize);
        }
        for topic in topics {
            let most = self.dice.within(0, 30);
            let Some(invoker) = &mut self.invokers[who.process] else { return };
            match topic {
                0 => {
                    let pings = self.broker.health.get(invoker.health..).unwrap_or_default();
                    for ping in pings.iter().take(most as usize) {
                        invoker.health += 1;
                        invoker.inbox.heard(*ping, now);
                    }
                }
                1 => self.follow_claims(who, most as usize),
                _ => {
                    invoker.take_part(&mut self.broker, now);
                    let early = self.sabotage == Sabotage::CommittedEarly;
                    let parts: Vec<usize> = invoker.inbox.parts.keys().copied().collect();
                    for partition in parts {
                        invoker.read(&mut self.broker, partition, most, early, now);
                    }
                }
            }
        }
        self.pump(who);
    }

    fn follow_claims(&mut self, who: Life, most: usize) {
        let now = self.agenda.now();
        let Some(invoker) = &mut self.invokers[who.process] else { return };
        let notes = self.broker.claims.get(invoker.claims..).unwrap_or_default();
        let notes: Vec<_> = notes.iter().copied().take(most).collect();
        for (id, note, at) in notes {
            let Some(invoker) = &mut self.invokers[who.process] else { return };
            invoker.claims += 1;
            let Some((run, won)) = invoker.inbox.noted(id, note, at, now) else { continue };
            let Some(message) = invoker.claiming.get(&id).copied().filter(|message| message.run == run) else {
                continue;
            };
            invoker.claiming.remove(&id);
            if won == Won::Yes {
                self.runs(who, message);
            } else {
                invoker.free(message);
                invoker.inbox.lost(id, now);
                self.ledger.seen.lost_claims += 1;
            }
        }
    }

    /// Takes out what can be done, and begins it.
    fn pump(&mut self, who: Life) {
        let Some(invoker) = &mut self.invokers[who.process] else { return };
        let mut interrupted = Vec::new();
        while let Some((message, after_start)) = (!invoker.draining).then(|| invoker.inbox.next()).flatten() {
            if after_start { interrupted.push(message) } else { invoker.queue.push_back(message) }
        }
        interrupted.into_iter().for_each(|message| self.interrupted(who, message));
        while let Some(invoker) = &mut self.invokers[who.process]
            && let Some(message) = (!invoker.draining).then(|| invoker.begin()).flatten()
        {
            match invoker.inbox.starting(message.id) {
                Start::Go => self.runs(who, message),
                Start::Leave => invoker.free(message),
                Start::Claim if self.sabotage == Sabotage::RecordedUnrun => {
                    invoker.free(message);
                    self.spooled(who, message.id, Record::Ran);
                }
                Start::Claim => {
                    invoker.claiming.insert(message.id, message);
                    self.claim(who, message);
                }
            }
        }
    }

    fn claim(&mut self, who: Life, message: Message) {
        let Some(invoker) = &self.invokers[who.process] else { return };
        let note = Note::Claim { run: message.run, by: invoker.inbox.me };
        let at = self.wall(who.process);
        self.post(who.process, Post::Note { id: message.id, note, at });
        self.agenda.after(2 * PATIENCE, Event::Unclaimed(who, message));
    }

    fn unclaimed(&mut self, who: Life, message: Message) {
        let Some(invoker) = &self.invokers[who.process] else { return };
        if invoker.claiming.get(&message.id).is_some_and(|claiming| claiming.run == message.run) {
            self.claim(who, message);
        }
    }

    fn runs(&mut self, who: Life, message: Message) {
        let Some(invoker) = &mut self.invokers[who.process] else { return };
        invoker.running.insert(message.id, message);
        self.ledger.seen.rescued += u64::from(message.sent_to != who.process);
        self.note(|_| format!("{who:?} runs {message:?}"));
        self.ledger.began(message.id, message.run);
        self.agenda.after(message.takes, Event::Ends(who, message));
    }

    fn ends(&mut self, who: Life, message: Message) {
        let Some(invoker) = &mut self.invokers[who.process] else { return };
        invoker.running.remove(&message.id);
        invoker.free(message);
        let ack = Ack { id: message.id, invoker: who.process, test: message.test };
        self.drop_off(who.process, Post::Ack { controller: message.controller, ack });
        if self.sabotage == Sabotage::DoneEarly {
            self.done(who, message.id);
            self.agenda.after(2_000, Event::SpooledLate(who, message.id));
        } else {
            let disk = self.dice.within(0, 30);
            self.agenda.after(disk, Event::Spooled(who, message.id, Record::Ran));
        }
        self.pump(who);
    }

    fn spooled(&mut self, who: Life, id: ActivationId, record: Record) {
        self.note(|_| format!("{who:?} has on its disk {id}: {record:?}"));
        self.hosts[who.process].spool.push((id, record));
        self.done(who, id);
    }

    fn done(&mut self, who: Life, id: ActivationId) {
        let Some(invoker) = &mut self.invokers[who.process] else { return };
        if invoker.inbox.done(id) {
            let at = self.wall(who.process);
            self.drop_off(who.process, Post::Note { id, note: Note::Over, at });
        }
    }

    fn flushes(&mut self, who: Life) {
        let pause = self.dice.within(50, 1_000);
        self.agenda.after(pause, Event::Flushes(who));
        if !self.is_cut(who.process) {
            for (id, record) in self.hosts[who.process].spool.drain(..) {
                self.ledger.store(id, record);
            }
        }
    }

    fn commits(&mut self, who: Life) {
        self.agenda.after(250, Event::Commits(who));
        let quiet = self.dice.chance(200);
        if !self.is_cut(who.process)
            && let Some(invoker) = &mut self.invokers[who.process]
        {
            invoker.commit(&mut self.broker, quiet);
        }
    }

    /// Somebody had begun it: there is a record, or it says so, or it runs
    /// again since its action asks for it.
    fn interrupted(&mut self, who: Life, message: Message) {
        if self.is_cut(who.process) {
            // The store does not answer.
            return self.agenda.after(500, Event::Interrupted(who, message));
        }
        if self.ledger.has_record(message.id) {
            return self.done(who, message.id);
        }
        if message.again && message.run == 0 {
            let follows = Message { run: 1, ..message };
            let partition = self.broker.retries();
            match self.post(who.process, Post::Activation { partition, message: follows }) {
                Some(report) => self.agenda.after(report, Event::Followed(who, message.id)),
                None => self.agenda.after(PATIENCE, Event::Interrupted(who, message)),
            }
            return;
        }
        let ack = Ack { id: message.id, invoker: who.process, test: message.test };
        self.drop_off(who.process, Post::Ack { controller: message.controller, ack });
        self.agenda.after(1, Event::Spooled(who, message.id, Record::Interrupted));
    }
}
