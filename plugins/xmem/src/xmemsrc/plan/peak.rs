//! Measures the maximum number of frames that are published within a given time. In a stream with
//! bursts, such as packets of MPEG-TS, that is more than the average rate suggests.

use std::collections::VecDeque;
use std::time::Duration;

/// The maximum number of frames that are remembered.
const MAX_FRAMES: usize = 4096;
/// The minimum length of an epoch, in milliseconds. A peak counts in its epoch and the next one.
const EPOCH: u64 = 2000;

/// The most recent frames, by the time at which they were published.
#[derive(Clone, Debug, Default)]
pub(super) struct Peak {
    /// Positions, and times in milliseconds since 1970.
    frames: VecDeque<(u64, u64)>,
    /// The maximum number of frames within the time, in this epoch and the one before.
    most: [u32; 2],
    epoch: u64,
}

impl Peak {
    /// Adds a frame at this position that was published at this time. Frames between it and the one
    /// before, which were missed, count too.
    pub(super) fn add(&mut self, (position, published): (u64, u64), within: Duration) {
        let within = within.as_millis() as u64;
        let is_old = |&(_, at): &(u64, u64)| at + within < published || at > published;
        while self.frames.front().is_some_and(is_old) || self.frames.len() >= MAX_FRAMES {
            self.frames.pop_front();
        }
        self.frames.push_back((position, published));
        let first = self.frames.front().map_or(position, |first| first.0);
        let count = u32::try_from(position.saturating_sub(first) + 1).unwrap_or(u32::MAX);
        let epoch = published / EPOCH.max(within);
        if epoch != self.epoch {
            self.most = [0, self.most[0]];
            self.epoch = epoch;
        }
        self.most[0] = self.most[0].max(count);
    }

    /// Returns the maximum number of frames that were recently published within the time.
    pub(super) fn most(&self) -> u32 {
        self.most[0].max(self.most[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_are_counted_and_forgotten() {
        let mut peak = Peak::default();
        let within = Duration::from_millis(50);
        let mut position = 0;
        let mut publish = |peak: &mut Peak, at: u64, count: u64| {
            for _ in 0..count {
                peak.add((position, at), within);
                position += 1;
            }
        };
        for frame in 0..100 {
            publish(&mut peak, 10_000 + 40 * frame, 7);
        }
        assert_eq!(peak.most(), 14);
        publish(&mut peak, 14_000, 100);
        assert_eq!(peak.most(), 107);
        for frame in 0..150 {
            publish(&mut peak, 14_040 + 40 * frame, 7);
        }
        assert_eq!(peak.most(), 14);
    }

    #[test]
    fn a_clock_that_was_set_harms_nothing() {
        let mut peak = Peak::default();
        for (position, at) in [(0, u64::MAX), (1, 0), (5, u64::MAX), (u64::MAX, 3), (0, 4)] {
            peak.add((position, at), Duration::from_millis(50));
        }
    }
}
