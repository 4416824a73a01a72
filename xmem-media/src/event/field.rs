//! Fields that several kinds of events have.

use super::segment::LAST_TIME;
use crate::error::{InvalidValue, check};
use crate::field::plain;

plain! {
    /// A GstEvent's sequence number, by the process that counted it.
    #[derive(Copy, Default, Eq, Hash)]
    SequenceNumber {
        /// The process.
        process: u64,
        /// The number there; 0 where the event has none.
        number: u32,
    }
}

/// Checks that elements can reckon with a time, if there is one.
pub(super) fn check_time(time: Option<u64>) -> Result<(), InvalidValue> {
    check(
        time.is_none_or(|time| time <= LAST_TIME),
        "a time is 2^61 - 1 at most",
    )
}
