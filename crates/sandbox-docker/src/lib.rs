//! Containers of a Docker daemon: a second backend of the `sandbox` seam, for
//! OpenWhisk's own images and for images of users, black boxes among them.
//!
//! A container is spoken to as OpenWhisk's invoker does it: `/init` and `/run`
//! over HTTP, kept alive, on port 8080 of its address, and sentinels at the end
//! of an activation's output. So every image that runs there runs here.
//!
//! | who | what |
//! | --- | --- |
//! | `sandbox` | makes containers, and sweeps what a former life left |
//! | `container`, `keeper` | one container: its runs; its end |
//! | `client`, `content`, `verdict` | HTTP to it; what is said; what an answer means |
//! | `output` | its output, cut into activations by sentinels |
//! | `workshop` | what source becomes, once for all containers |
//! | `daemon` | calls to the daemon, so many at once, each with its time limit |
//! | `image`, `catalog`, `pull`, `credentials` | which image, and how it is had |
//! | `survey` | which of the images are there |
//! | `network`, `guard` | what containers reach |
//! | `confine` | the limits that the daemon is asked for |
//!
//! Output comes by the attached streams, not from the log file of a driver:
//! every line arrives, in order, without a disk that could fill up, and a
//! container that floods waits for its reader. Containers have the driver
//! `none` for that reason, and leave nothing behind.
//!
//! It refuses to isolate by half: where the rules that keep containers from
//! this host cannot be set, [`DockerSandbox`] cannot be made, unless the
//! settings say that containers may reach the host.

mod catalog;
mod client;
mod config;
mod confine;
mod container;
mod content;
mod credentials;
mod daemon;
mod guard;
mod image;
mod keeper;
mod network;
mod output;
mod pull;
mod sandbox;
mod survey;
mod unavailable;
mod verdict;
mod workshop;

pub use config::{Config, GATEWAY, Guarded, Network, PullPolicy};
pub use sandbox::DockerSandbox;
pub use survey::{KindImage, look_for_images};
pub use unavailable::Unavailable;
