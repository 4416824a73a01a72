//! The figures of all turns of one condition.

use xmem_tests::Line;
use xmem_tests::samples::{numbers, percentile_us};

/// Counters, and times in ns.
#[derive(Debug, Default)]
pub struct Figures {
    published: u64,
    /// The time that the frames took, in µs.
    us: u64,
    /// Number of frames that honest clients did not receive.
    pub missed: u64,
    pub latency: Times,
    pub acquire: Times,
    pub publish: Times,
}

impl Figures {
    /// Adds the figures that a producer reports.
    pub fn add_published(&mut self, frames: u64, told: &Line) {
        self.published += frames;
        self.us += told.number("us");
        self.acquire.add(told.text("acquire"));
        self.publish.add(told.text("publish"));
    }

    /// Adds the figures that a client reports; `frames` were published to it.
    pub fn add_received(&mut self, frames: u64, told: &Line) {
        self.missed += frames - told.number("received");
        self.latency.add(told.text("latency"));
    }

    /// Frames per second.
    pub fn rate(&self) -> f64 {
        self.published as f64 / (self.us as f64 / 1e6)
    }
}

/// Times, in ns.
#[derive(Debug, Default)]
pub struct Times(Vec<u64>);

impl Times {
    fn add(&mut self, text: &str) {
        self.0.extend(numbers(text).expect("times"));
    }

    /// p50 and p99, in µs; `None` if there are no times.
    pub fn percentiles(&self) -> Option<[f64; 2]> {
        if self.0.is_empty() {
            return None;
        }
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        Some([0.50, 0.99].map(|share| percentile_us(&sorted, share)))
    }
}
