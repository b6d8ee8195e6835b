//! What launchers say, as whoever drives one reads it.

pub use whisker_frame::{Head, Parser, Sink};
