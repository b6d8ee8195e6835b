//! Times of single requests, all of them kept, so that percentiles are exact.

use std::time::Duration;

/// Many times and how long they took together.
#[derive(Debug, Default)]
pub struct Latencies {
    nanos: Vec<u32>,
    elapsed: Duration,
}

impl Latencies {
    /// Of these single times, which passed within `elapsed`.
    pub fn new(mut nanos: Vec<u32>, elapsed: Duration) -> Self {
        nanos.sort_unstable();
        Self { nanos, elapsed }
    }

    /// The time in µs that this share of all stayed within.
    pub fn micros(&self, share: f64) -> f64 {
        let index = (self.nanos.len() as f64 * share) as usize;
        let nanos = self.nanos.get(index.min(self.nanos.len().saturating_sub(1)));
        nanos.map_or(f64::NAN, |&nanos| f64::from(nanos) / 1000.0)
    }

    /// The median in µs.
    pub fn p50(&self) -> f64 {
        self.micros(0.5)
    }

    /// What one in a hundred exceeds, in µs.
    pub fn p99(&self) -> f64 {
        self.micros(0.99)
    }

    /// How many a second.
    pub fn rate(&self) -> f64 {
        self.nanos.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Nanoseconds, up to four seconds.
pub fn nanos(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos()).unwrap_or(u32::MAX)
}

/// The middle one; of none, no number.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// What this share of all stays within; of none, no number.
pub fn worst(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_times() {
        let of = Latencies::new((1..=200).rev().map(|n| n * 1000).collect(), Duration::from_secs(2));
        assert_eq!((of.p50(), of.p99(), of.rate()), (101.0, 199.0, 100.0));
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!((median(&[4.0, 1.0, 3.0]), median(&[4.0, 1.0])), (3.0, 2.5));
        assert_eq!((worst(&[4.0, 1.0, 3.0], 0.99), worst(&[4.0, 1.0, 3.0], 0.5)), (4.0, 3.0));
    }
}
