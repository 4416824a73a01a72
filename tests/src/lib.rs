//! Support for tests in which several processes take part.
//!
//! A test has a [`Place`] of its own, a runtime directory where its channels are. The other
//! processes are [`Peer`]s: `xmem-test-peer`, which plays a producer or a client as its orders say,
//! or any other program. What they do is agreed on in [`Line`]s of text. Frames carry a [`pattern`]
//! that tells what each of them must hold. [`process`] looks at a process from outside,
//! [`valgrind`] from inside, [`remains`] at what it has left. [`limits`] leaves it less than it
//! wants, [`control_group`] less memory, [`seccomp`] fewer system calls; in a [`container`] it sees
//! little of the machine, and [`podman`] makes such. [`nobody`] is another user. [`wire`] speaks the protocol without the core,
//! [`area`] is memory shared so, and [`hostile`] are peers that lie in both. [`attacked`] is a
//! channel that a process attacks, and [`faults`] are page faults that don't end. [`pipeline`] and
//! [`launched`] are pipelines in processes of their own, [`local`] is one in the test's, [`metas`]
//! are what buffers carry, and [`sync`] tells when they are shown. [`samples`] are times that were measured. [`wait`] is how to wait: for a
//! condition, with a deadline, never for a time.

pub mod area;
pub mod attacked;
pub mod attacks;
pub mod container;
pub mod control_group;
pub mod events;
pub mod faults;
pub mod hostile;
pub mod launched;
pub mod limits;
pub mod line;
pub mod local;
pub mod metas;
pub mod nobody;
pub mod pattern;
pub mod peer;
pub mod pipeline;
pub mod place;
pub mod podman;
pub mod process;
pub mod random;
pub mod remains;
pub mod roles;
pub mod samples;
pub mod seccomp;
pub mod steps;
pub mod sync;
pub mod valgrind;
pub mod wait;
pub mod wire;

pub use events::Events;
pub use line::Line;
pub use peer::Peer;
pub use place::Place;
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
