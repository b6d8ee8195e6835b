//! The backend on a real daemon, with images made of our own recipes. Needs
//! root, `dockerd`, and the program `whisker-action-proxy`, which is built with
//! the workspace's tests.
//!
//! One program, since all its tests share one daemon.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
mod contract;
mod faults;
mod images;
mod isolation;
mod lives;
mod registry;
