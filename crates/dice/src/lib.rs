//! Random numbers from a seed: SplitMix64 (Steele, Lea and Flood, 2014).
//!
//! Not for secrets. What is made of them, such as an action's home among the
//! invokers or a day of a simulated cluster, has to come out the same in every
//! process, on every machine and in every version, which libraries of random
//! numbers do not promise. So these numbers never change.

/// Throws what its seed says.
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// From 0 on, less than the bound; 0 if that is 0. Small numbers are a little
    /// likelier, by one part in as many as the bound goes into 2⁶⁴.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits().checked_rem(bound).unwrap_or(0)
    }

    /// Between the two, both of them included; `from` if `to` is less.
    pub fn within(&mut self, from: u64, to: u64) -> u64 {
        match to.saturating_sub(from).checked_add(1) {
            Some(bound) => from + self.below(bound),
            None => self.bits(),
        }
    }

    /// Whether something happens that happens so many times in a thousand.
    pub fn chance(&mut self, in_thousand: u64) -> bool {
        self.below(1000) < in_thousand
    }

    /// One of these, unless there is none.
    pub fn choose<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        from.get(self.below(from.len() as u64) as usize).copied()
    }

    /// Between 0 and 1, neither of them.
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// A pause between events that come at any time, this long in the mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.uniform().ln()
    }

    /// Of the bell curve around 0, whose standard deviation is 1.
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// Spreads the bits of a number over all of them: a hash.
pub fn mixed(bits: u64) -> u64 {
    Dice(bits).bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of the authors' own generator from 1234567.
    #[test]
    fn the_numbers_are_those_of_splitmix64() {
        let mut dice = Dice(1_234_567);
        let first: Vec<_> = (0..5).map(|_| dice.bits()).collect();
        let known: [u64; 5] = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(first, known);
    }

    #[test]
    fn what_is_thrown_stays_between_its_bounds() {
        let mut dice = Dice(0);
        for _ in 0..10_000 {
            assert!(dice.below(7) < 7);
            assert!((3..=5).contains(&dice.within(3, 5)));
            let share = dice.uniform();
            assert!(0.0 < share && share < 1.0);
            assert!(dice.exponential(2.0) > 0.0);
        }
        assert_eq!((dice.below(0), dice.within(5, 3), dice.choose::<u8>(&[])), (0, 5, None));
        assert!(!dice.chance(0) && dice.chance(1000));
        dice.within(0, u64::MAX);
    }

    #[test]
    fn means_are_what_they_are_called() {
        let mut dice = Dice(1);
        let mean = |mut throw: Box<dyn FnMut() -> f64>| (0..100_000).map(|_| throw()).sum::<f64>() / 100_000.0;
        let mut other = Dice(2);
        assert!((mean(Box::new(move || dice.exponential(3.0))) - 3.0).abs() < 0.1);
        assert!(mean(Box::new(move || other.normal())).abs() < 0.02);
    }
}
