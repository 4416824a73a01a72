//! The clock of the GPU, beside that of the CPU.

use std::time::{Duration, Instant};

use xmem_tests::roles::monotonic_ns;

use crate::answer::{Answer, Problem, failed};
use crate::gpu::{Gpu, NON_BLOCKING, ok, out};

/// Memory of the host that the device sees.
pub struct Pinned {
    host: u64,
    pub device: u64,
    size: usize,
}

impl Pinned {
    pub fn new(size: usize) -> Answer<Pinned> {
        let host = out("cuMemHostAlloc", &[size as u64, 2])?;
        let device = out("cuMemHostGetDevicePointer_v2", &[host, 0])?;
        let pinned = Pinned { host, device, size };
        pinned.clear();
        Ok(pinned)
    }

    fn at(&self, word: usize) -> *mut u64 {
        assert!(8 * word < self.size);
        std::ptr::with_exposed_provenance_mut((self.host as usize) + 8 * word)
    }

    pub fn clear(&self) {
        (0..self.size / 8).for_each(|word| self.write(word, 0));
    }

    pub fn read(&self, word: usize) -> u64 {
        // SAFETY: the driver allocated the memory, which is never freed, and the word is in it.
        unsafe { self.at(word).read_volatile() }
    }

    pub fn write(&self, word: usize, value: u64) {
        // SAFETY: as above.
        unsafe { self.at(word).write_volatile(value) }
    }
}

/// The clock of the GPU beside `CLOCK_MONOTONIC`.
pub struct Clock<'a> {
    gpu: &'a Gpu,
    stream: u64,
    words: Pinned,
}

impl Clock<'_> {
    pub fn new(gpu: &Gpu) -> Answer<Clock<'_>> {
        Ok(Clock {
            gpu,
            stream: gpu.stream(NON_BLOCKING)?,
            words: Pinned::new(4096)?,
        })
    }

    /// What to add to a time of the GPU, and the shortest round trip. The error is at most half of it.
    pub fn offset(&self) -> Answer<(i64, u64)> {
        let try_once = || {
            let measured = self.measure();
            ok("cuStreamSynchronize", &[self.stream])?;
            measured
        };
        // The kernel ends by itself where the CPU is taken away for long.
        try_once().or_else(|_| try_once()).or_else(|_| try_once())
    }

    fn measure(&self) -> Answer<(i64, u64)> {
        const ROUNDS: u64 = 30;
        self.words.clear();
        let device = self.words.device;
        let arguments = [device, device + 64, ROUNDS, 400_000_000];
        self.gpu.launch("echo", self.stream, &arguments)?;
        let mut best: Option<(i64, u64)> = None;
        for round in 1..=ROUNDS {
            let begun = monotonic_ns();
            self.words.write(0, round);
            let reply = 8 + round as usize;
            spin_until(Duration::from_millis(500), || self.words.read(reply) != 0)?;
            let ended = monotonic_ns();
            let offset = ((begun + ended) / 2) as i64 - self.words.read(reply) as i64;
            if best.is_none_or(|(_, trip)| ended - begun < trip) {
                best = Some((offset, ended - begun));
            }
        }
        best.ok_or_else(|| Problem::Failed("no round".into()))
    }
}

/// Looks until a condition holds.
pub fn spin_until(limit: Duration, mut holds: impl FnMut() -> bool) -> Answer<()> {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > limit {
            return failed(format!("not within {limit:?}"));
        }
        std::hint::spin_loop();
    }
    Ok(())
}
