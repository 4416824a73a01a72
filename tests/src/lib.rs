//! Support for tests with several processes.
//!
//! A test has a [`Place`] of its own, a runtime directory for its channels. The other processes are
//! [`Peer`]s, each with a type of [`order`]s: a [`Producer`], a [`Client`] or another program. They
//! answer with [`Line`]s of text. Frames carry a [`pattern`] that determines every byte.
//!
//! | modules | topic |
//! |---|---|
//! | [`process`], [`valgrind`], [`remains`] | a process as `/proc` shows it, as valgrind sees it, and what a pipeline leaves in it |
//! | [`limits`], [`control_group`], [`seccomp`] | lower limits, less memory, fewer system calls |
//! | [`container`], [`podman`], [`nobody`] | a restricted view of the machine, containers of podman, another user |
//! | [`wire`], [`area`], [`hostile`] | the protocol and shared memory without the core, and hostile peers |
//! | [`attacked`], [`attacks`], [`faults`] | a channel that a process attacks, ways to change memory files, page faults that do not end |
//! | [`fakecuda`], [`driver`] | CUDA without a GPU: a stand-in for the driver, for child processes; calls of a driver by name |
//! | [`pipeline`], [`launched`], [`local`] | pipelines in other processes, and in the process of the test |
//! | [`metas`], [`sync`], [`samples`] | the metas of buffers, when buffers are shown, measured times |
//! | [`wait`] | waiting: for a condition, with a deadline, never for a fixed time |

pub mod area;
pub mod attacked;
pub mod attacks;
pub mod client;
pub mod container;
pub mod control_group;
pub mod devices;
pub mod driver;
pub mod events;
pub mod fakecuda;
pub mod faults;
pub mod forked;
pub mod gpu;
pub mod hostile;
pub mod launched;
pub mod limits;
pub mod line;
pub mod local;
pub mod metas;
pub mod nobody;
pub mod order;
pub mod pattern;
pub mod peer;
pub mod pipeline;
pub mod place;
pub mod podman;
pub mod process;
pub mod producer;
pub mod program;
pub mod random;
pub mod remains;
pub mod roles;
pub mod samples;
pub mod seccomp;
mod setters;
pub mod steps;
pub mod sync;
pub mod valgrind;
pub mod wait;
pub mod wire;

pub use client::{Client, ClientOrder};
pub use events::Events;
pub use line::Line;
pub use peer::Peer;
pub use place::Place;
pub use producer::{Opener, OpenerOrder, Producer, ProducerOrder};
pub use wait::{PATIENCE, until, until_some};

/// Caps as a producer without GStreamer sets them as its format.
///
/// # Panics
/// Where the text is no caps.
pub fn format(caps: &str) -> Vec<u8> {
    let caps: xmem_media::Caps = caps.parse().expect("caps");
    caps.to_bytes().expect("caps are short")
}

/// Whether tests that are repeated for as long as one likes run in full: `make torture` sets
/// `XMEM_TORTURE`. Without it they take seconds.
pub fn is_torture() -> bool {
    std::env::var_os("XMEM_TORTURE").is_some_and(|value| !value.is_empty())
}
