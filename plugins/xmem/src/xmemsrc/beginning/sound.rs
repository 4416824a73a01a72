//! Raw audio from the start on: cut to the sample, in the same memory.

use gst_audio::{AudioInfo, AudioLayout, AudioMeta};

use super::start::Start;
use crate::timestamps::time;

/// The samples in a buffer.
#[derive(Clone, Copy)]
pub(super) struct Samples {
    /// The number of samples of each channel.
    number: usize,
    /// The size of one sample of all channels, in bytes.
    size: u32,
    /// Samples per second.
    rate: u32,
}

impl Samples {
    /// `None` if the buffer has no samples, or if their layout is unknown.
    pub(super) fn of(buffer: &gst::BufferRef, info: &AudioInfo) -> Option<Samples> {
        let (number, size) = match buffer.meta::<AudioMeta>() {
            Some(meta) => (meta.samples(), meta.info().bpf()),
            None if info.layout() == AudioLayout::Interleaved => {
                let number = buffer.size().checked_div(info.bpf() as usize)?;
                (number, info.bpf())
            }
            None => return None,
        };
        let rate = info.rate();
        let samples = Samples { number, size, rate };
        (number > 0 && rate > 0).then_some(samples)
    }

    /// Returns the duration of this number of samples, in nanoseconds.
    fn duration(self, number: usize) -> i64 {
        let second = i128::from(gst::ClockTime::SECOND.nseconds());
        (number as i128 * second / i128::from(self.rate)) as i64
    }

    /// Returns the end of the last sample of a buffer at `pts`, in nanoseconds after the start.
    pub(super) fn end(self, pts: i64, start: Start) -> i64 {
        let span = start.span(pts, Some(self.duration(self.number)));
        span.end.unwrap_or(span.begin)
    }

    /// Returns what is left of the buffer at `pts` that has these samples. `None` if nothing is
    /// left, unless `has_all` is set.
    pub(super) fn cut(
        self,
        mut buffer: gst::Buffer,
        pts: i64,
        start: Start,
        has_all: bool,
    ) -> Option<gst::Buffer> {
        let span = start.span(pts, Some(self.duration(self.number)));
        if span.begin >= 0 {
            return Some(buffer);
        }
        if span.over_for() >= 0 {
            return has_all.then_some(buffer);
        }
        // Cut the samples that begin before the start. The others keep their times.
        let second = i128::from(gst::ClockTime::SECOND.nseconds());
        let before = i128::from(span.begin.unsigned_abs()) * i128::from(self.rate);
        let before = usize::try_from((before + second - 1) / second).ok()?;
        let left = self.number.checked_sub(before).filter(|left| *left > 0)?;
        let first = if start.is_backwards() { 0 } else { before };
        let duration = buffer.duration().map(|duration| match first {
            0 => time(self.duration(left)),
            _ => duration.saturating_sub(time(self.duration(first))),
        });
        let dts = buffer.dts();
        buffer = gst_audio::audio_buffer_truncate(buffer, self.size, first, Some(left));
        let content = buffer.make_mut();
        content.set_pts(time(pts.saturating_add(self.duration(first))));
        content.set_dts(dts);
        content.set_duration(duration);
        Some(buffer)
    }
}
