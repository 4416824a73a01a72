//! Conversion of times between processes: from a pipeline's running time to `CLOCK_MONOTONIC` and
//! back.
//!
//! Two pipelines have different base times and may have different clocks. They share the machine's
//! monotonic clock. So a time crosses as the point on `CLOCK_MONOTONIC` at which the producer's
//! pipeline shows the frame.

use std::time::{Duration, SystemTime};

use gst::prelude::*;
use gst_base::prelude::*;

pub(crate) use xmem_media::event::LAST_TIME;

use crate::bindings;

/// Returns a time that is safe to give to elements, `None` if it is larger than [`LAST_TIME`].
pub(crate) fn usable(nseconds: u64) -> Option<gst::ClockTime> {
    (nseconds <= LAST_TIME).then(|| gst::ClockTime::from_nseconds(nseconds))
}

/// Returns a time in a segment that is safe to give to elements; a negative time becomes 0.
pub(crate) fn time(nseconds: i64) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(nseconds.max(0) as u64)
}

/// Returns a time in the form in which it crosses: `None` if it is larger than [`LAST_TIME`].
fn crossing_time(time: Option<gst::ClockTime>) -> Option<gst::ClockTime> {
    time.and_then(|time| usable(time.nseconds()))
}

/// A time of a record, in nanoseconds.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    // A record has them as 64 bits.
    time.as_nanos() as u64
}

/// A record's timestamp, in milliseconds since the Unix epoch.
pub(crate) fn milliseconds(timestamp: SystemTime) -> u64 {
    let since = timestamp.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// A time of a record from its nanoseconds, as the tests write it: `u64::MAX` is none.
#[cfg(any(test, fuzzing))]
pub(crate) fn record_time(nanoseconds: u64) -> Option<Duration> {
    (nanoseconds != u64::MAX).then(|| Duration::from_nanos(nanoseconds))
}

/// How far `CLOCK_MONOTONIC` is ahead of a pipeline's running time, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MonotonicOffset(i64);

/// Determines the [`MonotonicOffset`] of a pipeline, for every frame.
#[derive(Debug, Default)]
pub(crate) struct Timekeeper {
    last: Option<Seen>,
    base_time: Option<gst::ClockTime>,
    has_restarted: bool,
}

/// The clock of the last call and its state.
#[derive(Debug)]
struct Seen {
    clock: gst::Clock,
    /// The clock has always equalled `CLOCK_MONOTONIC` so far.
    is_monotonic: bool,
    /// The last result: how far `CLOCK_MONOTONIC` was ahead of the clock, in nanoseconds.
    ahead: Option<i128>,
}

impl Timekeeper {
    /// Returns the offset of the element's pipeline at this moment. `None` without a clock, or if
    /// the clock does not know the time yet.
    pub(crate) fn offset(&mut self, element: &impl IsA<gst::Element>) -> Option<MonotonicOffset> {
        let (clock, base_time) = (element.clock()?, element.base_time()?);
        if self.base_time != Some(base_time) {
            self.base_time = Some(base_time);
            self.has_restarted = true;
        }
        let ahead = self.ahead_of(clock)?;
        Some(MonotonicOffset(clamp(
            i128::from(base_time.nseconds()) + ahead,
        )))
    }

    /// Returns whether the pipeline has got another base time (after a pause, for example) or
    /// another clock since the last call.
    pub(crate) fn has_restarted(&mut self) -> bool {
        std::mem::take(&mut self.has_restarted)
    }

    /// Returns how far `CLOCK_MONOTONIC` is ahead of a clock, in nanoseconds.
    fn ahead_of(&mut self, clock: gst::Clock) -> Option<i128> {
        let seen = match &mut self.last {
            Some(seen) if seen.clock == clock => seen,
            last => {
                self.has_restarted = true;
                last.insert(Seen {
                    is_monotonic: reads_monotonic(&clock),
                    clock,
                    ahead: None,
                })
            }
        };
        // Check the calibration each time: slaving the clock to another one changes it, and an
        // application can change it. After a calibration the clock stays unequal to
        // `CLOCK_MONOTONIC` even if the calibration is reset, because its time never goes back: it
        // can stand still.
        seen.is_monotonic &= is_uncalibrated(&seen.clock);
        if seen.is_monotonic {
            return Some(0);
        }
        let read = read_clock(&seen.clock)?;
        let ahead = read.least_change(seen.ahead);
        seen.ahead = Some(ahead);
        Some(ahead)
    }

    /// Returns the times of a buffer that a sink renders in PLAYING.
    pub(crate) fn times(
        &mut self,
        sink: &impl IsA<gst_base::BaseSink>,
        buffer: &gst::BufferRef,
    ) -> Times {
        let running = RunningTimes::new(sink, buffer);
        let offset = running.first().and_then(|_| self.offset(sink.upcast_ref()));
        Times::of(buffer).shown(running, offset)
    }
}

/// The times of a buffer that a sink shows in PAUSED, where no clock runs, without the moment at
/// which it is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimesInPause {
    own: Times,
    running: RunningTimes,
    latency: gst::ClockTime,
}

/// The running times of a buffer in nanoseconds, if it has them.
#[derive(Clone, Copy, Debug)]
struct RunningTimes {
    pts: Option<i128>,
    dts: Option<i128>,
}

impl TimesInPause {
    /// Must be called by the streaming thread.
    pub(crate) fn new(
        sink: &impl IsA<gst_base::BaseSink>,
        buffer: &gst::BufferRef,
    ) -> TimesInPause {
        TimesInPause {
            own: Times::of(buffer),
            running: RunningTimes::new(sink, buffer),
            latency: sink.latency(),
        }
    }

    /// Returns the times of the buffer if it is shown at this moment, and the offset that a
    /// pipeline must have to show it now.
    pub(crate) fn now(self) -> (Times, Option<MonotonicOffset>) {
        let offset = self.running.first().map(|running_time| {
            // The buffer was due earlier by the latency.
            let due = monotonic() - i128::from(self.latency.nseconds());
            MonotonicOffset(clamp(due - running_time))
        });
        (self.own.shown(self.running, offset), offset)
    }
}

impl RunningTimes {
    fn new(sink: &impl IsA<gst_base::BaseSink>, buffer: &gst::BufferRef) -> RunningTimes {
        let segment = sink.segment();
        let segment = segment.downcast_ref::<gst::ClockTime>();
        let running_time = |time: Option<gst::ClockTime>| {
            let running_time = segment?.to_running_time_full(time?)?;
            let nseconds = i128::from(running_time.abs().nseconds());
            Some(if running_time.is_negative() {
                -nseconds
            } else {
                nseconds
            })
        };
        RunningTimes {
            pts: running_time(buffer.pts()),
            dts: running_time(buffer.dts()),
        }
    }

    fn first(self) -> Option<i128> {
        self.pts.or(self.dts)
    }
}

/// The times at which a buffer is shown, `None` if unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// In the segment of the buffer.
    pub(crate) stream_pts: Option<Duration>,
    pub(crate) stream_dts: Option<Duration>,
    /// On `CLOCK_MONOTONIC`, by the pipeline's clock, without the pipeline's latency.
    pub(crate) pts: Option<Duration>,
    pub(crate) dts: Option<Duration>,
    /// How long the buffer is shown.
    pub(crate) duration: Option<Duration>,
    /// Whether all times that the buffer has can cross.
    pub(crate) are_whole: bool,
}

impl Times {
    /// Returns the times that the buffer itself has.
    fn of(buffer: &gst::BufferRef) -> Times {
        let own = [buffer.pts(), buffer.dts(), buffer.duration()];
        let crossing = own.map(crossing_time);
        let [stream_pts, stream_dts, duration] = crossing.map(|time| time.map(Duration::from));
        Times {
            stream_pts,
            stream_dts,
            pts: None,
            dts: None,
            duration,
            are_whole: own == crossing,
        }
    }

    /// Adds the points on `CLOCK_MONOTONIC` for these running times in a pipeline with this offset.
    fn shown(self, running: RunningTimes, offset: Option<MonotonicOffset>) -> Times {
        let point = |time: Option<i128>| {
            let (time, offset) = time.zip(offset)?;
            Some(Duration::from_nanos(offset.to_monotonic(time)))
        };
        Times {
            pts: point(running.pts),
            dts: point(running.dts),
            ..self
        }
    }
}

impl MonotonicOffset {
    pub(crate) fn nseconds(self) -> i64 {
        self.0
    }

    pub(crate) fn from_nseconds(nseconds: i64) -> MonotonicOffset {
        MonotonicOffset(nseconds)
    }

    /// Returns the offset for a clock that is `nseconds` ahead of `CLOCK_MONOTONIC`, such as the
    /// clock of another time namespace.
    pub(crate) fn on_clock_ahead(self, nseconds: i64) -> MonotonicOffset {
        MonotonicOffset(clamp(i128::from(self.0) + i128::from(nseconds)))
    }

    /// Converts a running time in nanoseconds to a point on `CLOCK_MONOTONIC`.
    pub(crate) fn to_monotonic(self, running_time: i128) -> u64 {
        let time = running_time + i128::from(self.0);
        time.clamp(0, i128::from(u64::MAX - 1)) as u64
    }

    /// Converts a point on `CLOCK_MONOTONIC` to a running time in nanoseconds, which is negative
    /// before the start.
    pub(crate) fn to_running_time(self, monotonic: u64) -> i64 {
        clamp(i128::from(monotonic) - i128::from(self.0))
    }
}

fn clamp(time: i128) -> i64 {
    // Exclude `i64::MIN`, which stands for "none" where an offset crosses.
    let most = i128::from(i64::MAX);
    time.clamp(-most, most) as i64
}

/// Returns whether a clock reads `CLOCK_MONOTONIC`, as the default clock does. Subclasses of the
/// system clock, such as network clocks, do not.
fn reads_monotonic(clock: &gst::Clock) -> bool {
    clock.type_() == gst::SystemClock::static_type()
        && clock.property::<gst::ClockType>("clock-type") == gst::ClockType::Monotonic
}

/// Returns whether a clock returns what it reads, without a calibration.
fn is_uncalibrated(clock: &gst::Clock) -> bool {
    let (internal, external, rate_num, rate_denom) = clock.calibration();
    internal == external && rate_num == rate_denom
}

/// The maximum number of reads of a clock. The read that took the least time is the most precise.
const MAX_READS: u32 = 4;
/// A read that takes at most this time is precise enough, in nanoseconds.
const GOOD_READ: i128 = 20_000;

/// The result of one read of a clock, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct ClockRead {
    /// How long the read took.
    time: i128,
    /// How far `CLOCK_MONOTONIC` was ahead in the middle of the read.
    ahead: i128,
}

impl ClockRead {
    /// Returns how far `CLOCK_MONOTONIC` is ahead. Of the values that the read allows, this is the
    /// one nearest to the value before. So the result does not change while the clocks do not drift
    /// apart.
    fn least_change(self, before: Option<i128>) -> i128 {
        let half = self.time / 2;
        before.map_or(self.ahead, |before| {
            before.clamp(self.ahead - half, self.ahead + half)
        })
    }
}

/// Reads a clock a few times and returns the best read. `None` if the clock does not know the time
/// yet.
fn read_clock(clock: &gst::Clock) -> Option<ClockRead> {
    // A network clock that is asked for the time before it is synchronised may never return one
    // later.
    if !clock.is_synced() {
        return None;
    }
    let mut best: Option<ClockRead> = None;
    for _ in 0..MAX_READS {
        // Read `CLOCK_MONOTONIC` before and after the other clock, so that a preemption between the
        // reads causes only half of its length as an error.
        let before = monotonic();
        let there = i128::from(bindings::clock_time(clock)?.nseconds());
        let after = monotonic();
        let read = ClockRead {
            time: after - before,
            ahead: (before + after) / 2 - there,
        };
        if best.is_none_or(|best| read.time < best.time) {
            best = Some(read);
        }
        if read.time <= GOOD_READ {
            break;
        }
    }
    best
}

fn monotonic() -> i128 {
    xmem_core::monotonic_time().as_nanos() as i128
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system clock that is faster by `ppm` millionths.
    fn clock(kind: gst::ClockType, ppm: u64) -> gst::Clock {
        gst::init().unwrap();
        let clock = glib::Object::builder::<gst::SystemClock>();
        let clock = clock.property("clock-type", kind).build();
        if ppm > 0 {
            let now = clock.internal_time();
            clock.set_calibration(now, now, 1_000_000 + ppm, 1_000_000);
        }
        clock.upcast()
    }

    /// Returns how far `CLOCK_MONOTONIC` is ahead, checked against a second read. The error is at
    /// most the time that both reads take.
    fn ahead(keeper: &mut Timekeeper, clock: &gst::Clock) -> i128 {
        let start = monotonic();
        let told = keeper.ahead_of(clock.clone()).unwrap();
        let expected = read_clock(clock).unwrap().ahead;
        let time = monotonic() - start;
        assert!((told - expected).abs() <= time, "{told}, {expected}");
        told
    }

    #[test]
    fn the_default_clock_equals_the_monotonic_clock() {
        let (mut keeper, usual) = (Timekeeper::default(), clock(gst::ClockType::Monotonic, 0));
        for _ in 0..100 {
            assert_eq!(keeper.ahead_of(usual.clone()), Some(0));
        }
    }

    #[test]
    fn a_calibration_is_detected_at_any_time() {
        let clock = clock(gst::ClockType::Monotonic, 0);
        let mut keeper = Timekeeper::default();
        assert_eq!(keeper.ahead_of(clock.clone()), Some(0));
        for ahead_by in [3_600_000_000_000_u64, 0, 7_200_000_000_000] {
            let now = clock.internal_time();
            let then = gst::ClockTime::from_nseconds(now.nseconds() + ahead_by);
            clock.set_calibration(now, then, 1, 1);
            // Its time does not go back, so the clock stands still in the second round.
            assert!(ahead(&mut keeper, &clock) < 0);
        }
    }

    #[test]
    fn other_clocks_are_compared_with_the_monotonic_clock() {
        for (kind, ppm) in [
            (gst::ClockType::Monotonic, 1000),
            (gst::ClockType::Realtime, 0),
        ] {
            let (mut keeper, clock) = (Timekeeper::default(), clock(kind, ppm));
            for _ in 0..10 {
                ahead(&mut keeper, &clock);
            }
        }
    }

    #[test]
    fn a_clock_that_does_not_know_the_time_has_no_offset() {
        let clock = clock(gst::ClockType::Realtime, 0);
        let flag = gst::ClockFlags::NEEDS_STARTUP_SYNC.bits();
        clock.set_object_flags(gst::ObjectFlags::from_bits_retain(flag));
        let mut keeper = Timekeeper::default();
        assert_eq!(keeper.ahead_of(clock.clone()), None);
        clock.set_synced(true);
        assert!(keeper.ahead_of(clock).is_some());
    }

    #[test]
    fn a_restart_of_the_pipeline_is_detected() {
        let bin = gst::Bin::new();
        let element = bin.upcast_ref::<gst::Element>();
        let mut keeper = Timekeeper::default();
        assert_eq!(keeper.offset(element), None);
        assert!(!keeper.has_restarted());
        element
            .set_clock(Some(&clock(gst::ClockType::Monotonic, 0)))
            .unwrap();
        for base_time in [0, 5] {
            element.set_base_time(gst::ClockTime::from_nseconds(base_time));
            let offset = keeper.offset(element);
            assert_eq!(offset, Some(MonotonicOffset(base_time as i64)));
            assert!(keeper.has_restarted());
            assert_eq!(keeper.offset(element), offset);
            assert!(!keeper.has_restarted());
        }
        element
            .set_clock(Some(&clock(gst::ClockType::Monotonic, 0)))
            .unwrap();
        keeper.offset(element);
        assert!(keeper.has_restarted());
    }

    #[test]
    fn a_read_changes_the_result_as_little_as_possible() {
        let read = |time, ahead| ClockRead { time, ahead };
        assert_eq!(read(100, 1000).least_change(None), 1000);
        for (before, expected) in [(1000, 1000), (960, 960), (900, 950), (1200, 1050)] {
            assert_eq!(read(100, 1000).least_change(Some(before)), expected);
        }
        // A read that was disturbed does not override what was known before.
        assert_eq!(read(10_000_000, 4_000_000).least_change(Some(0)), 0);
    }

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
