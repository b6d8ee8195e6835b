//! Clients, and what controllers answer them.

use whisker_bus_kafka::claims::Note;
use whisker_entity::ActivationId;

use super::World;
use crate::{
    agenda::Time,
    broker::{Life, Message, Post},
    controller::{Pending, want},
    event::Event,
};

/// After so long without a report a message counts as not sent.
pub(super) const PATIENCE: Time = 5_000;
/// So long a client waits for a result.
const WAIT: Time = 4_000;

impl World {
    pub(super) fn client(&mut self) {
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
            due: 0,
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

    pub(super) fn pending(&mut self, who: Life, id: ActivationId) -> Option<&mut Pending> {
        self.controllers[who.process - self.invokers.len()].as_mut()?.pending.get_mut(&id)
    }

    pub(super) fn reported(&mut self, who: Life, id: ActivationId) {
        if self.is_cut(who.process) {
            return;
        }
        let Some(pending) = self.pending(who, id) else { return };
        pending.reported = true;
        if pending.waited {
            self.accept(who, id);
        }
    }

    pub(super) fn waited(&mut self, who: Life, id: ActivationId) {
        let Some(pending) = self.pending(who, id) else { return };
        pending.waited = true;
        if pending.reported {
            self.accept(who, id);
        }
    }

    pub(super) fn accept(&mut self, who: Life, id: ActivationId) {
        self.note(|_| format!("{who:?} accepted {id}"));
        self.ledger.accepted(id);
        if let Some(controller) = &mut self.controllers[who.process - self.invokers.len()] {
            controller.pending.remove(&id);
        }
    }

    /// The bus does not say that it has it: its client hears an error, and it
    /// should not run any more.
    pub(super) fn unreported(&mut self, who: Life, id: ActivationId) {
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
}
