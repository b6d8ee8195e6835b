//! What becomes of processes: they start, and are killed, stopped, cut off.

use super::World;
use crate::{
    agenda::Time,
    broker::{Ping, Post},
    chaos::{self, Fault},
    controller::Controller,
    event::Event,
    invoker::Invoker,
};

impl World {
    pub(super) fn starts(&mut self, process: usize) {
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
            fresh.health = self.broker.newest_ping();
            fresh.completed = self.broker.completed[controller].len();
            self.controllers[controller] = Some(fresh);
        } else {
            let fresh = Invoker::new(who, self.invokers.len(), &self.broker, self.bounds, now, self.sabotage);
            self.invokers[process] = Some(fresh);
            self.agenda.after(250, Event::Commits(who));
            self.agenda.after(10, Event::Flushes(who));
        }
        self.agenda.after(1, Event::Polls(who));
        self.agenda.after(1, Event::Second(who));
    }

    pub(super) fn kill(&mut self, process: usize, back: Time) {
        match process.checked_sub(self.invokers.len()) {
            None => self.invokers[process] = None,
            Some(controller) => self.controllers[controller] = None,
        }
        self.agenda.after(back, Event::Starts(process));
    }

    pub(super) fn chaos(&mut self) {
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
                    invoker.inbox.close();
                    let ping = Ping { who, busy_mb: invoker.used_mb, enabled: false };
                    self.post(process, Post::Ping(ping));
                }
            }
            Fault::Moved => {
                let partition = self.dice.below(self.broker.partitions.len() as u64) as usize;
                self.broker.partitions[partition].leaving = true;
            }
            Fault::Unheard(time) => self.broker.unheard_until = now + time,
        }
    }

    /// From now on all goes well.
    pub(super) fn heals(&mut self) {
        self.broker.unheard_until = 0;
        for process in 0..self.hosts.len() {
            self.hosts[process].cut_until = 0;
            self.hosts[process].stopped_until = 0;
            self.agenda.after(100, Event::Starts(process));
        }
    }
}
