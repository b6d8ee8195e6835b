//! Sizes and durations as people write them.

use std::{str::FromStr, time::Duration};

/// A number of bytes, written `512 MB`; units count in steps of 1024, as
/// OpenWhisk's do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl Size {
    /// In whole MB.
    pub fn megabytes(self) -> u64 {
        self.0 >> 20
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim().trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
        let shift = match text.trim()[digits.len()..].trim().to_ascii_uppercase().as_str() {
            "" | "B" => 0,
            "K" | "KB" => 10,
            "M" | "MB" => 20,
            "G" | "GB" => 30,
            unit => return Err(format!("unknown unit {unit:?}: use B, KB, MB or GB")),
        };
        let number: u64 = digits.parse().map_err(|_| format!("{digits:?} is no whole number"))?;
        number.checked_shl(shift).filter(|n| n >> shift == number).map(Size).ok_or_else(|| "too large".into())
    }
}

/// A duration, written `5m` or `1h 30m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in [("0", 0), ("1 KB", 1024), ("512MB", 512 << 20), ("2g", 2 << 30)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for bad in ["", "MB", "1.5 MB", "-1", "1 TB", "99999999999 GB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }
}
