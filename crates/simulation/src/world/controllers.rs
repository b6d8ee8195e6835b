//! What controllers do of themselves.

use super::World;
use crate::broker::{Ack, Life, Message, Post};

impl World {
    pub(super) fn controller_second(&mut self, who: Life, number: usize) {
        let now = self.agenda.now();
        let tests = self.controllers[number].as_mut().map(|controller| controller.second(now));
        self.test(who, tests.unwrap_or_default());
    }

    pub(super) fn test(&mut self, who: Life, invokers: Vec<usize>) {
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
                due: 0,
            };
            self.post(who.process, Post::Activation { partition: invoker, message });
        }
    }

    pub(super) fn controller_polls(&mut self, who: Life, number: usize) {
        let (now, most) = (self.agenda.now(), self.dice.within(1, 40) as usize);
        let Some(controller) = &mut self.controllers[number] else { return };
        let mut tests = Vec::new();
        let pings = self.broker.pings(controller.health, now);
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
}
