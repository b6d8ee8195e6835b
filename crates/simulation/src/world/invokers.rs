//! What invokers do: they read, claim, run and record.

use std::time::Duration;

use whisker_bus::Redelivered;
use whisker_bus_kafka::{
    claims::{Note, Won},
    inbox::{Given, Next, Noted, Start},
};
use whisker_entity::ActivationId;

use super::{World, clients::PATIENCE};
use crate::{
    Sabotage,
    broker::{Ack, Life, Message, Ping, Post},
    event::Event,
    ledger::Record,
    reader::When,
};

impl World {
    /// It is drained: it ends what it has, commits, and goes.
    pub(super) fn drained(&mut self, who: Life) {
        let cut = self.is_cut(who.process);
        let Some(invoker) = &mut self.invokers[who.process] else { return };
        if !invoker.is_idle() {
            return;
        }
        if !cut {
            invoker.reader.leave(&mut self.broker, &mut invoker.inbox);
        }
        let back = self.dice.within(100, 5_000);
        self.kill(who.process, back);
    }

    pub(super) fn invoker_second(&mut self, who: Life) {
        let now = self.agenda.now();
        let Some(invoker) = &mut self.invokers[who.process] else { return };
        invoker.inbox.look_around(Duration::from_millis(now));
        if invoker.draining {
            return self.drained(who);
        }
        let ping = Ping { who, busy_mb: invoker.used_mb, enabled: true };
        self.drop_off(who.process, Post::Ping(ping));
        self.pump(who);
    }

    pub(super) fn invoker_polls(&mut self, who: Life) {
        let when = self.when(who);
        // What it hears of first, and how much of it, is chance.
        let mut topics = [0, 1, 2];
        for at in (1..topics.len()).rev() {
            topics.swap(at, self.dice.below(at as u64 + 1) as usize);
        }
        for topic in topics {
            let most = self.dice.within(0, 30);
            let Some(invoker) = &mut self.invokers[who.process] else { return };
            match topic {
                0 => invoker.follow_health(&self.broker, most as usize, when.now),
                1 => (0..most).for_each(|_| self.follow_claims(who)),
                _ => invoker.read(&mut self.broker, most, when),
            }
        }
        self.pump(who);
    }

    fn when(&self, who: Life) -> When {
        When { now: self.agenda.now(), wall: self.wall(who.process) }
    }

    fn follow_claims(&mut self, who: Life) {
        let now = self.agenda.now();
        let Some(invoker) = &mut self.invokers[who.process] else { return };
        let Some((id, Noted { won: Some((run, won)), .. })) = invoker.follow_claims(&self.broker, now) else { return };
        let Some(message) = invoker.claiming.get(&id).copied().filter(|message| message.run == run) else { return };
        invoker.claiming.remove(&id);
        if won == Won::Yes {
            return self.runs(who, message);
        }
        invoker.free(message);
        invoker.inbox.lost(id, Duration::from_millis(now));
        self.ledger.seen.lost_claims += 1;
    }

    /// Takes out what can be done, and begins it.
    pub(super) fn pump(&mut self, who: Life) {
        self.receive(who);
        while let Some(invoker) = &mut self.invokers[who.process]
            && let Some(message) = (!invoker.draining).then(|| invoker.begin()).flatten()
        {
            match invoker.inbox.starting(message.id) {
                Start::Go => self.runs(who, message),
                Start::Claim(_) if self.sabotage == Sabotage::ClaimsIgnored => self.runs(who, message),
                Start::Leave => invoker.free(message),
                Start::Claim(_) if self.sabotage == Sabotage::RecordedUnrun => {
                    invoker.free(message);
                    self.spooled(who, message.id, Record::Ran);
                }
                Start::Claim(run) => {
                    let message = Message { run, ..message };
                    invoker.claiming.insert(message.id, message);
                    self.claim(who, message);
                }
            }
        }
    }

    fn receive(&mut self, who: Life) {
        let now = Duration::from_millis(self.agenda.now());
        while let Some(invoker) = &mut self.invokers[who.process]
            && let Next::Message(Given { message, redelivered, .. }) = invoker.inbox.next(now)
        {
            let unasked = self.sabotage == Sabotage::InterruptedUnasked && message.sent_to != who.process;
            if redelivered == Redelivered::AfterStart || unasked && message.run == 0 {
                self.interrupted(who, message);
            } else {
                invoker.queue.push_back(message);
            }
        }
    }

    pub(super) fn claim(&mut self, who: Life, message: Message) {
        let Some(invoker) = &self.invokers[who.process] else { return };
        let note = Note::Claim { run: message.run, by: invoker.me };
        let at = self.wall(who.process);
        self.post(who.process, Post::Note { id: message.id, note, at });
        self.agenda.after(2 * PATIENCE, Event::Unclaimed(who, message));
    }

    pub(super) fn unclaimed(&mut self, who: Life, message: Message) {
        let Some(invoker) = &mut self.invokers[who.process] else { return };
        if invoker.claiming.get(&message.id).is_none_or(|claiming| claiming.run != message.run) {
            return;
        }
        invoker.claiming.remove(&message.id);
        invoker.free(message);
        if self.sabotage == Sabotage::ClaimGivenUp {
            return self.spooled(who, message.id, Record::Interrupted);
        }
        invoker.inbox.unsettled(message.id);
        self.ledger.seen.unsettled += 1;
    }

    pub(super) fn runs(&mut self, who: Life, message: Message) {
        let Some(invoker) = &mut self.invokers[who.process] else { return };
        invoker.running.insert(message.id, message);
        self.ledger.seen.rescued += u64::from(message.sent_to != who.process);
        self.note(|_| format!("{who:?} runs {message:?}"));
        self.ledger.began(message.id, message.run);
        self.agenda.after(message.takes, Event::Ends(who, message));
    }

    pub(super) fn ends(&mut self, who: Life, message: Message) {
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

    pub(super) fn spooled(&mut self, who: Life, id: ActivationId, record: Record) {
        self.note(|_| format!("{who:?} has on its disk {id}: {record:?}"));
        self.hosts[who.process].spool.push((id, record));
        self.done(who, id);
    }

    pub(super) fn done(&mut self, who: Life, id: ActivationId) {
        let Some(invoker) = &mut self.invokers[who.process] else { return };
        if invoker.inbox.done(id) {
            let at = self.wall(who.process);
            self.drop_off(who.process, Post::Note { id, note: Note::Over, at });
        }
    }

    pub(super) fn flushes(&mut self, who: Life) {
        let pause = self.dice.within(50, 1_000);
        self.agenda.after(pause, Event::Flushes(who));
        if !self.is_cut(who.process) {
            for (id, record) in self.hosts[who.process].spool.drain(..) {
                self.ledger.store(id, record);
            }
        }
    }

    pub(super) fn commits(&mut self, who: Life) {
        self.agenda.after(250, Event::Commits(who));
        let quiet = self.dice.chance(200);
        if !self.is_cut(who.process)
            && let Some(invoker) = &mut self.invokers[who.process]
        {
            invoker.reader.commit(&mut self.broker, &invoker.inbox, quiet);
        }
    }

    /// Somebody had begun it: there is a record, or it says so, or it runs
    /// again since its action asks for it.
    pub(super) fn interrupted(&mut self, who: Life, message: Message) {
        if self.is_cut(who.process) {
            // The store does not answer.
            return self.agenda.after(500, Event::Interrupted(who, message));
        }
        if self.ledger.has_record(message.id) {
            return self.done(who, message.id);
        }
        if message.again && message.run == 0 {
            let written = self.wall(who.process);
            let due = written + self.dice.within(0, 3_000);
            let follows = Message { run: 1, written, due, ..message };
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
