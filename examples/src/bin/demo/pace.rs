//! How fast frames come.

use std::collections::VecDeque;

const SECOND: u64 = 1_000_000_000;

/// The pace of a stream of frames, at times in nanoseconds.
#[derive(Debug, Default)]
pub struct Pace {
    /// When the frames of the last second came.
    recent: VecDeque<u64>,
    /// When the last one came, unless there was a pause since.
    last: Option<u64>,
    intervals: u64,
    time: u64,
}

impl Pace {
    /// A frame has come.
    pub fn frame(&mut self, at: u64) {
        if let Some(last) = self.last.replace(at) {
            self.intervals += 1;
            self.time += at.saturating_sub(last);
        }
        self.recent.push_back(at);
        while self.recent.front().is_some_and(|&old| old + SECOND < at) {
            self.recent.pop_front();
        }
    }

    /// Nobody was there: the time until the next frame does not count.
    pub fn pause(&mut self) {
        self.last = None;
    }

    /// Frames in the second before `now`.
    pub fn in_last_second(&self, now: u64) -> f64 {
        let recent = self.recent.iter().filter(|&&at| at + SECOND >= now);
        recent.count() as f64
    }

    /// Frames a second, over all the time that did count.
    pub fn mean(&self) -> f64 {
        match self.time {
            0 => 0.0,
            time => self.intervals as f64 * SECOND as f64 / time as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_do_not_count() {
        let mut pace = Pace::default();
        for at in [0, 1, 2] {
            pace.frame(at * SECOND / 10);
        }
        pace.pause();
        for at in [100, 101] {
            pace.frame(at * SECOND / 10);
        }
        assert_eq!(pace.mean(), 10.0);
        assert_eq!(pace.in_last_second(101 * SECOND / 10), 2.0);
        assert_eq!(pace.in_last_second(20 * SECOND), 0.0);
    }
}
