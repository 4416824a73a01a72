//! Times across processes: a pipeline's running time to `CLOCK_MONOTONIC` and back.
//!
//! Two pipelines have different base times and may have different clocks. What they share is the
//! machine's monotonic clock, so times cross as the point on it at which the producer's pipeline
//! shows the frame.

use gst::prelude::*;
use gst_base::prelude::*;

/// The last time that crosses, in nanoseconds: 73 years. Four of them are a `gint64` still, so that
/// what elements reckon of the times of a buffer and its segment does not overflow.
pub(crate) const LAST_TIME: u64 = u64::MAX >> 3;

/// A time that may be given to elements; none for all others.
pub(crate) fn usable(nseconds: u64) -> Option<gst::ClockTime> {
    (nseconds <= LAST_TIME).then(|| gst::ClockTime::from_nseconds(nseconds))
}

/// A time as it crosses: [`xmem_core::NONE`] where there is none, or none that clients take.
fn crossing_time(time: Option<gst::ClockTime>) -> u64 {
    let time = time.and_then(|time| usable(time.nseconds()));
    time.map_or(xmem_core::NONE, gst::ClockTime::nseconds)
}

/// How far `CLOCK_MONOTONIC` is ahead of a pipeline's running time, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MonotonicOffset(i64);

/// Tells a pipeline's offset for every frame; looks at the clock closely once only.
#[derive(Debug, Default)]
pub(crate) struct Timekeeper {
    /// The clock seen last, and whether it is the machine's monotonic clock itself.
    last: Option<(gst::Clock, bool)>,
}

impl Timekeeper {
    /// The offset of the element's pipeline at this moment; none without a clock.
    pub(crate) fn offset(&mut self, element: &impl IsA<gst::Element>) -> Option<MonotonicOffset> {
        let (clock, base_time) = (element.clock()?, element.base_time()?);
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
        Some(MonotonicOffset(clamp(
            i128::from(base_time.nseconds()) + ahead,
        )))
    }

    /// When a sink shows a buffer.
    pub(crate) fn times(
        &mut self,
        sink: &impl IsA<gst_base::BaseSink>,
        buffer: &gst::BufferRef,
    ) -> Times {
        let own = [buffer.pts(), buffer.dts(), buffer.duration()];
        let [stream_pts, stream_dts, duration] = own.map(crossing_time);
        let mut times = Times {
            stream_pts,
            stream_dts,
            pts: xmem_core::NONE,
            dts: xmem_core::NONE,
            duration,
            are_whole: own == [stream_pts, stream_dts, duration].map(usable),
        };
        let segment = sink.segment();
        if let Some(segment) = segment.downcast_ref::<gst::ClockTime>()
            && (buffer.pts().is_some() || buffer.dts().is_some())
            && let Some(offset) = self.offset(sink.upcast_ref())
        {
            let point = |time: Option<gst::ClockTime>| {
                let running_time = segment.to_running_time_full(time?)?;
                let nseconds = i128::from(running_time.abs().nseconds());
                Some(offset.to_monotonic(match running_time.is_negative() {
                    true => -nseconds,
                    false => nseconds,
                }))
            };
            times.pts = point(buffer.pts()).unwrap_or(xmem_core::NONE);
            times.dts = point(buffer.dts()).unwrap_or(xmem_core::NONE);
        }
        times
    }
}

/// When a buffer is shown, in nanoseconds; [`xmem_core::NONE`] where it does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// In the buffer's segment.
    pub(crate) stream_pts: u64,
    pub(crate) stream_dts: u64,
    /// On `CLOCK_MONOTONIC`, by the pipeline's clock and without its latency.
    pub(crate) pts: u64,
    pub(crate) dts: u64,
    /// How long it is shown.
    pub(crate) duration: u64,
    /// All times that the buffer has are among those in the segment.
    pub(crate) are_whole: bool,
}

impl MonotonicOffset {
    pub(crate) fn nseconds(self) -> i64 {
        self.0
    }

    pub(crate) fn from_nseconds(nseconds: i64) -> MonotonicOffset {
        MonotonicOffset(nseconds)
    }

    /// The same for a clock that is ahead of `CLOCK_MONOTONIC` by so many nanoseconds: that of another
    /// time namespace.
    pub(crate) fn on_clock_ahead(self, nseconds: i64) -> MonotonicOffset {
        MonotonicOffset(clamp(i128::from(self.0) + i128::from(nseconds)))
    }

    /// A running time in nanoseconds as a point on `CLOCK_MONOTONIC`.
    pub(crate) fn to_monotonic(self, running_time: i128) -> u64 {
        let time = running_time + i128::from(self.0);
        time.clamp(0, i128::from(u64::MAX - 1)) as u64
    }

    /// A point on `CLOCK_MONOTONIC` as a running time in nanoseconds, below zero where it lies
    /// before the start.
    pub(crate) fn to_running_time(self, monotonic: u64) -> i64 {
        clamp(i128::from(monotonic) - i128::from(self.0))
    }
}

fn clamp(time: i128) -> i64 {
    // One less at each end: the least number stands for none where it crosses.
    let most = i128::from(i64::MAX);
    time.clamp(-most, most) as i64
}

/// Whether a clock tells `CLOCK_MONOTONIC` itself, as the usual one does; its subclasses, audio
/// clocks for example, do not.
fn is_monotonic(clock: &gst::Clock) -> bool {
    clock.type_() == gst::SystemClock::static_type()
        && clock.property::<gst::ClockType>("clock-type") == gst::ClockType::Monotonic
        && clock.master().is_none()
}

/// Looks at another clock at most; the one that took least time tells most.
const LOOKS: u32 = 4;
/// A look that takes so long or less is a good one, in nanoseconds.
const GOOD_LOOK: i128 = 20_000;

/// How far `CLOCK_MONOTONIC` is ahead of a clock.
fn ahead_of(clock: &gst::Clock) -> i128 {
    let mut best: Option<(i128, i128)> = None;
    for _ in 0..LOOKS {
        // Read on both sides of the other clock, so that a pause between the reads weighs half.
        let before = monotonic();
        let there = i128::from(clock.time().nseconds());
        let after = monotonic();
        let (time, ahead) = (after - before, (before + after) / 2 - there);
        if best.is_none_or(|(least, _)| time < least) {
            best = Some((time, ahead));
        }
        if time <= GOOD_LOOK {
            break;
        }
    }
    best.map_or(0, |(_, ahead)| ahead)
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
        let shown = producer.to_monotonic(500_000);
        assert_eq!(shown, 1_500_000);
        assert_eq!(client.to_running_time(shown), 100_000);
        assert_eq!(client.to_running_time(1_300_000), -100_000);
        assert_eq!(producer.to_monotonic(-2_000_000), 0);
    }
}
