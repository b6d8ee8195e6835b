//! Settings for what is made in the sandbox before it is needed: containers, and what
//! becomes of code.

use std::{num::NonZeroUsize, time::Duration};

use clap::Args;
use whisker_sandbox_process::Config;

use crate::units::{Size, duration};

/// Settings for what becomes of code. The spare containers and `prepare` are the
/// sandbox's only: images bring along what they need.
#[derive(Debug, Args)]
#[command(next_help_heading = "Containers' code")]
pub struct Preparing {
    /// Containers that are kept ready without a runtime in them, of the sizes that were asked for last, so that a
    /// cold start need not make one; more starts at a time make their own. They take a megabyte each
    #[arg(long, env = "WHISKER_SPARE_CONTAINERS", default_value = "2", value_parser = clap::value_parser!(u8).range(0..=64), help_heading = "Containers")]
    pub spare_containers: u8,
    /// Disk for unpacked archives and compiled code; beyond it what was used longest ago goes first
    #[arg(long, env = "WHISKER_CODE_CACHE", default_value = "4 GB")]
    pub code_cache: Size,
    /// Archives that are unpacked, and programs that are compiled, at once; more wait. Compilers take memory
    /// besides that of containers, a gigabyte or two each
    #[arg(long, env = "WHISKER_COMPILERS", default_value = "2")]
    pub compilers: NonZeroUsize,
    /// Longest that a program may be compiled, where its kind allows longer
    #[arg(long, env = "WHISKER_COMPILE_TIME_MAX", default_value = "10m", value_parser = duration)]
    pub compile_time_max: Duration,
    /// Kinds that are made ready at the start, one after the other, such as go:1.20,rust:1.34,java:8: what their
    /// launchers and compilers need, which else the first container waits for. It is kept for later starts
    #[arg(long, env = "WHISKER_PREPARE", value_delimiter = ',', value_name = "KINDS")]
    pub prepare: Vec<String>,
}

impl Preparing {
    /// The backend's settings with these.
    pub fn set(&self, config: Config) -> Config {
        Config {
            artifact_bytes: self.code_cache.0,
            makers: self.compilers.get(),
            compile_time: self.compile_time_max,
            prepare: self.prepare.clone(),
            spares: self.spare_containers.into(),
            ..config
        }
    }
}
