//! Programs with several roles: a parent starts its own executable again for each producer and
//! client, with the role as the first argument.
//!
//! Unlike a [`Peer`](crate::Peer), a [`Child`] that does not answer does not fail the test. A
//! program that measures other elements must handle all that they do, so it gets an error instead.

mod child;
mod installation;
mod machine;
pub mod parent;
pub mod pipeline;
mod usage;

use rustix::time::{ClockId, clock_gettime};

pub use child::{Child, PATIENCE, STOP_LIMIT};
pub use installation::{Installation, probe};
pub use machine::Machine;
pub use usage::{Bill, Usage};

/// Errors are only reported, so their text is enough.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// A result with that error.
pub type Result<T> = std::result::Result<T, Error>;

/// `CLOCK_MONOTONIC` in ns: one clock for all processes of the machine. Makes no system call if the
/// kernel has a vDSO.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
