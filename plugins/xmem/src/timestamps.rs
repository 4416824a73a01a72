//! Times across processes: a pipeline's running time to `CLOCK_MONOTONIC` and back.
//!
//! Two pipelines have different base times and may have different clocks. What they share is the
//! machine's monotonic clock, so times cross as the point on it at which the producer's pipeline
//! shows the frame.

use gst::prelude::*;

/// How far `CLOCK_MONOTONIC` is ahead of a pipeline's running time, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MonotonicOffset(i128);

/// Tells a pipeline's offset for every frame; looks at the clock closely once only.
#[derive(Debug, Default)]
pub(crate) struct Timekeeper {
    /// The clock seen last, and whether it is the machine's monotonic clock itself.
    last: Option<(gst::Clock, bool)>,
}

impl Timekeeper {
    /// The offset of the element's pipeline at this moment; zero without a clock.
    pub(crate) fn offset(&mut self, element: &impl IsA<gst::Element>) -> MonotonicOffset {
        let (Some(clock), Some(base_time)) = (element.clock(), element.base_time()) else {
            return MonotonicOffset(0);
        };
        let is_monotonic = match &self.last {
            Some((last, is_monotonic)) if *last == clock => *is_monotonic,
            _ => {
                let is_monotonic = is_monotonic(&clock);
                self.last = Some((clock.clone(), is_monotonic));
                is_monotonic
            }
        };
        let ahead = match is_monotonic {
            true => 0,
            false => ahead_of(&clock),
        };
        MonotonicOffset(i128::from(base_time.nseconds()) + ahead)
    }
}

impl MonotonicOffset {
    /// A running time as a point on `CLOCK_MONOTONIC`, in nanoseconds.
    pub(crate) fn to_monotonic(self, running_time: gst::ClockTime) -> u64 {
        clamp(i128::from(running_time.nseconds()) + self.0)
    }

    /// A point on `CLOCK_MONOTONIC` as a running time; zero where it lies before the start.
    pub(crate) fn to_running_time(self, monotonic: u64) -> Option<gst::ClockTime> {
        (monotonic != xmem_core::NONE)
            .then(|| gst::ClockTime::from_nseconds(clamp(i128::from(monotonic) - self.0)))
    }
}

fn clamp(time: i128) -> u64 {
    time.clamp(0, i128::from(u64::MAX - 1)) as u64
}

/// Whether a clock tells `CLOCK_MONOTONIC` itself, as the usual one does; its subclasses, audio
/// clocks for example, do not.
fn is_monotonic(clock: &gst::Clock) -> bool {
    clock.type_() == gst::SystemClock::static_type()
        && clock.property::<gst::ClockType>("clock-type") == gst::ClockType::Monotonic
        && clock.master().is_none()
}

/// How far `CLOCK_MONOTONIC` is ahead of a clock.
fn ahead_of(clock: &gst::Clock) -> i128 {
    // Read on both sides of the other clock, so that a pause between the reads weighs half.
    let before = monotonic();
    let there = i128::from(clock.time().nseconds());
    let after = monotonic();
    (before + after) / 2 - there
}

fn monotonic() -> i128 {
    xmem_core::monotonic_time().as_nanos() as i128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_crosses_two_pipelines() {
        let producer = MonotonicOffset(1_000_000);
        let client = MonotonicOffset(1_400_000);
        let shown = producer.to_monotonic(gst::ClockTime::from_nseconds(500_000));
        assert_eq!(shown, 1_500_000);
        assert_eq!(
            client.to_running_time(shown),
            Some(gst::ClockTime::from_nseconds(100_000))
        );
    }

    #[test]
    fn a_time_before_the_clients_start_is_its_start() {
        let client = MonotonicOffset(2_000_000);
        assert_eq!(
            client.to_running_time(1_500_000),
            Some(gst::ClockTime::ZERO)
        );
        assert_eq!(client.to_running_time(xmem_core::NONE), None);
    }
}
