//! What goes wrong, and when.

use whisker_dice::Dice;

use crate::agenda::Time;

/// How often something may go wrong.
pub(crate) const EVERY: Time = 500;

/// One thing that goes wrong with one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is killed, and starts again after this time.
    Killed(Time),
    /// It is stopped for this time and goes on as if nothing had been.
    Stopped(Time),
    /// Nothing goes from or to it for this time.
    Cut(Time),
    /// Its clock on the wall is set this far ahead, or back.
    Wall(i64),
    /// It is asked to end what it has and to go, and starts again.
    Drained,
    /// Its group is to give a partition to another member.
    Moved,
    /// The topic of pings has no leader for this time, whatever process it fell on.
    Unheard(Time),
}

impl Fault {
    pub fn any(dice: &mut Dice) -> Fault {
        match dice.below(11) {
            0..=2 => Fault::Killed(dice.within(200, 15_000)),
            3 => Fault::Stopped(dice.within(200, 4_000)),
            4 => Fault::Stopped(dice.within(4_000, 25_000)),
            5 => Fault::Cut(dice.within(200, 4_000)),
            6 => Fault::Cut(dice.within(4_000, 20_000)),
            7 => Fault::Wall(dice.within(0, 7_200_000) as i64 - 3_600_000),
            8 => Fault::Drained,
            9 => Fault::Unheard(dice.within(1_000, 40_000)),
            _ => Fault::Moved,
        }
    }
}

/// How much goes wrong in one life.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    /// Of a thousand chances at a fault, how many are taken.
    pub faults: u64,
    /// Of a thousand messages, how many come twice.
    pub doubled: u64,
    /// Of a thousand reports, how many are lost.
    pub reports_lost: u64,
    /// Of a thousand messages that nobody waits for, how many are lost.
    pub lost: u64,
    /// Longest way of a message.
    pub way: Time,
}

impl Weather {
    pub fn any(dice: &mut Dice) -> Weather {
        Weather {
            faults: dice.choose(&[0, 100, 250, 500]).unwrap_or(0),
            doubled: dice.choose(&[0, 20, 100]).unwrap_or(0),
            reports_lost: dice.choose(&[0, 20, 100]).unwrap_or(0),
            lost: dice.choose(&[0, 20, 100]).unwrap_or(0),
            way: dice.choose(&[5, 50, 500, 2_000]).unwrap_or(5),
        }
    }
}
