//! The two clocks: `CLOCK_MONOTONIC` for waiting, `CLOCK_REALTIME` for the record.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A point on `CLOCK_MONOTONIC` until which a call may wait; `None` inside means without end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Duration>);

impl Deadline {
    /// `timeout` from now; `None`, or more than the clock can count, never passes.
    pub(crate) fn after(timeout: Option<Duration>) -> Deadline {
        Deadline(timeout.and_then(|timeout| monotonic().checked_add(timeout)))
    }

    /// A point on the clock.
    pub(crate) fn at(time: Duration) -> Deadline {
        Deadline(Some(time))
    }

    /// What is left, zero when it has passed, `None` without an end.
    pub(crate) fn left(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_sub(monotonic()))
    }

    pub(crate) fn has_passed(self) -> bool {
        self.left() == Some(Duration::ZERO)
    }

    /// The earlier of two.
    pub(crate) fn min(self, other: Deadline) -> Deadline {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Deadline(Some(a.min(b))),
            (a, b) => Deadline(a.or(b)),
        }
    }

    /// As an absolute time for the kernel; `None` where it has no end or is beyond the kernel's range.
    pub(crate) fn timespec(self) -> Option<Timespec> {
        self.0.and_then(|at| Timespec::try_from(at).ok())
    }
}

/// The machine's `CLOCK_MONOTONIC`: time since an arbitrary start that all processes share.
pub fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_milliseconds() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
