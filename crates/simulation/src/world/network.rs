//! What lies between processes: ways that take their time, and lose, double and
//! reorder what goes along them.

use super::World;
use crate::{
    agenda::Time,
    broker::{Message, Post},
    event::Event,
};

impl World {
    pub(super) fn way(&mut self) -> Time {
        // Mostly short ones, so that one that is late comes after many.
        if self.dice.chance(800) { self.dice.within(1, 5) } else { self.dice.within(1, self.weather.way) }
    }

    /// Sends something on its way. Says when a report of it would come back;
    /// `None`: never.
    pub(super) fn post(&mut self, from: usize, post: Post) -> Option<Time> {
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
    pub(super) fn may_come_twice(post: Post) -> bool {
        !matches!(post, Post::Activation { message: Message { blocking: true, .. }, .. })
    }

    /// Sends something of which nobody asks whether it came.
    pub(super) fn drop_off(&mut self, from: usize, post: Post) {
        if self.is_calm() || !self.dice.chance(self.weather.lost) {
            self.post(from, post);
        }
    }
}
