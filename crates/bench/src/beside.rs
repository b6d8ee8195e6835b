//! Goal 6: the same calls on a server that has much and on one that has little, in
//! turns.

use whisker_testkit::Server;

use crate::{
    client::Until,
    report::{Figure, Report, Wanted},
    server,
};

/// How many times as long a call may take where there is much, and how many times
/// fewer there may be.
const WITHIN: f64 = 1.2;

/// The two.
pub struct Beside<'a> {
    pub little: &'a Server,
    pub much: &'a Server,
}

impl Beside<'_> {
    /// What one call takes, of requests that are for the one and for the other.
    pub fn time(
        &self,
        report: &mut Report,
        what: &'static str,
        (of_little, of_much): (&[Vec<u8>], &[Vec<u8>]),
        until: Until,
    ) -> anyhow::Result<()> {
        let floor = server::load(self.little, of_little, 1, 200).run(until)?;
        let subject = server::load(self.much, of_much, 1, 200).run(until)?;
        let wanted = Wanted::AtMostTimes(WITHIN);
        report.add(Figure { goal: 6, what, unit: "µs", wanted }, Some(floor.p50()), subject.p50());
        Ok(())
    }

    /// How many calls 16 connections make.
    pub fn rate(&self, report: &mut Report, what: &'static str, call: &[Vec<u8>], until: Until) -> anyhow::Result<()> {
        let floor = server::load(self.little, call, 16, 200).run(until)?;
        let subject = server::load(self.much, call, 16, 200).run(until)?;
        let wanted = Wanted::AtLeastTimes(1.0 / WITHIN);
        report.add(Figure { goal: 6, what, unit: "/s", wanted }, Some(floor.rate()), subject.rate());
        Ok(())
    }
}
