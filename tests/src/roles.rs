//! Programs that play several roles: a parent that starts its own executable again for each producer and client, with
//! the role as the first argument.
//!
//! Unlike a [`Peer`](crate::Peer), a [`Child`] that does not answer is no failed test: who measures others has to live
//! with whatever they do, and gets an error instead.

mod child;
mod installation;
mod machine;
pub mod parent;
pub mod pipeline;

use rustix::time::{ClockId, clock_gettime};

pub use child::{Child, PATIENCE, STOP_LIMIT};
pub use installation::{Installation, probe};
pub use machine::Machine;

/// What goes wrong here is told, not handled: text is enough.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// With that error.
pub type Result<T> = std::result::Result<T, Error>;

/// `CLOCK_MONOTONIC` in ns: one clock for all processes of the machine. No system call where the kernel has a vDSO.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
