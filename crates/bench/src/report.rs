//! Figures of all rounds, and the table of their medians.

use crate::latencies::median;

/// What is wanted of a figure.
#[derive(Debug, Clone, Copy)]
pub enum Wanted {
    /// At most so many times the floor.
    AtMostTimes(f64),
    /// At least so many times the floor.
    AtLeastTimes(f64),
    /// At most this, in the figure's unit.
    AtMost(f64),
    /// At least this, in the figure's unit.
    AtLeast(f64),
    /// Nothing; it is shown for its own sake.
    Nothing,
}

/// What a row is about.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// The goal's number in docs/performance.md; 0 for none.
    pub goal: u8,
    /// What was measured.
    pub what: &'static str,
    /// In what.
    pub unit: &'static str,
    /// What is wanted of it.
    pub wanted: Wanted,
}

struct Row {
    figure: Figure,
    floor: Vec<f64>,
    subject: Vec<f64>,
}

/// Everything measured so far.
pub struct Report {
    rows: Vec<Row>,
    rounds: usize,
}

impl Report {
    /// An empty one, for so many rounds.
    pub fn new(rounds: usize) -> Self {
        Self { rows: Vec::new(), rounds }
    }

    /// Takes what one round found: the floor, if there is one, and the subject.
    pub fn add(&mut self, figure: Figure, floor: Option<f64>, subject: f64) {
        eprintln!(
            "  {}: {} {}{}",
            figure.what,
            show(subject),
            figure.unit,
            floor.map(|floor| format!(" (floor {})", show(floor))).unwrap_or_default()
        );
        let known = self.rows.iter().position(|row| row.figure.what == figure.what && row.figure.unit == figure.unit);
        let index = known.unwrap_or_else(|| {
            self.rows.push(Row { figure, floor: Vec::new(), subject: Vec::new() });
            self.rows.len() - 1
        });
        self.rows[index].floor.extend(floor);
        self.rows[index].subject.push(subject);
    }

    /// Prints the table, as Markdown.
    #[expect(clippy::print_stdout, reason = "this is what the command answers")]
    pub fn print(&self) {
        println!("Medians of {} rounds; in brackets the least and the most.\n", self.rounds);
        println!("| goal | what | floor | Whisker | ratio | wanted | reached |");
        println!("| --- | --- | --- | --- | --- | --- | --- |");
        for row in &self.rows {
            println!("{}", row.line());
        }
    }
}

impl Row {
    fn line(&self) -> String {
        let Figure { goal, what, unit, wanted } = self.figure;
        let subject = median(&self.subject);
        let ratio = (!self.floor.is_empty()).then(|| subject / median(&self.floor));
        let of = |limit: f64, at_most: bool, value: f64| if at_most { value <= limit } else { value >= limit };
        let reached = match wanted {
            Wanted::AtMostTimes(limit) => ratio.map(|ratio| of(limit, true, ratio)),
            Wanted::AtLeastTimes(limit) => ratio.map(|ratio| of(limit, false, ratio)),
            Wanted::AtMost(limit) => Some(of(limit, true, subject)),
            Wanted::AtLeast(limit) => Some(of(limit, false, subject)),
            Wanted::Nothing => None,
        };
        format!(
            "| {} | {what} | {} | {} {unit}{} | {} | {} | {} |",
            if goal == 0 { String::new() } else { goal.to_string() },
            if self.floor.is_empty() { String::new() } else { format!("{} {unit}", show(median(&self.floor))) },
            show(subject),
            spread(&self.subject),
            ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            match wanted {
                Wanted::AtMostTimes(limit) => format!("≤ {} ×", show(limit)),
                Wanted::AtLeastTimes(limit) => format!("≥ {} ×", show(limit)),
                Wanted::AtMost(limit) => format!("≤ {} {unit}", show(limit)),
                Wanted::AtLeast(limit) => format!("≥ {} {unit}", show(limit)),
                Wanted::Nothing => String::new(),
            },
            match reached {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "",
            }
        )
    }
}

fn spread(values: &[f64]) -> String {
    let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(least, most), &v| (least.min(v), most.max(v)));
    if values.len() < 2 { String::new() } else { format!(" ({}–{})", show(least), show(most)) }
}

/// Three digits that mean something; thousands apart.
pub fn show(value: f64) -> String {
    match value.abs() {
        large if large >= 10_000.0 => {
            let thousands = (value / 1000.0).trunc();
            format!("{thousands:.0},{:03.0}", (value - thousands * 1000.0).trunc())
        }
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_with_the_digits_that_mean_something() {
        assert_eq!(
            [0.704, 12.34, 184.6, 39_800.4, 1_000_000.0].map(show),
            ["0.70", "12.3", "185", "39,800", "1000,000"]
        );
    }

    #[test]
    fn a_row_says_whether_its_goal_is_reached() {
        let figure = Figure { goal: 1, what: "a call", unit: "µs", wanted: Wanted::AtMostTimes(1.6) };
        let row = |subject| Row { figure, floor: vec![100.0], subject: vec![subject] }.line();
        assert_eq!(row(150.0), "| 1 | a call | 100 µs | 150 µs | 1.50 | ≤ 1.60 × | yes |");
        assert!(row(161.0).ends_with("| 1.61 | ≤ 1.60 × | **no** |"));
    }
}
