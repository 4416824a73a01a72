//! Random numbers, for random moments.

use std::time::Duration;

/// A sequence of numbers that the seed determines (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence from a seed: `XMEM_SEED` if it is set, otherwise a seed that differs each time.
    /// The seed is printed, and the output is shown if the test fails.
    pub fn new() -> Random {
        let seed = std::env::var("XMEM_SEED").ok();
        let seed = seed.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
            let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
            since.unwrap_or_default().as_nanos() as u64
        });
        println!("XMEM_SEED={seed}");
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A random duration below `most`.
    pub fn duration(&mut self, most: Duration) -> Duration {
        Duration::from_nanos(self.number() % (most.as_nanos() as u64).max(1))
    }
}

impl Default for Random {
    fn default() -> Random {
        Random::new()
    }
}

/// Spreads a number over all 64 bits.
pub fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
