//! Floor 0: what the kernel gives, one thin, typed function a call.
//!
//! Nothing here knows a frame. This is the only user of `libc` and `memmap2`; of `rustix` the rooms
//! above use error numbers and calls on files that need no wrapping.

pub(crate) mod clock;
pub(crate) mod closer;
pub(crate) mod fixed_file;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod limits;
pub(crate) mod mapping;
pub(crate) mod memfd;
pub(crate) mod openers;
pub(crate) mod pidfd;
pub(crate) mod poll;
pub(crate) mod rlimit;
pub(crate) mod sched;
pub(crate) mod seals;
pub(crate) mod socket;
pub(crate) mod watch;
