//! The frames of the bench: their format, the header that the bench writes into them, and reading
//! them.

/// The caps of the stream.
pub const CAPS: &str = "video/x-raw,format=RGB,width=1920,height=1080,framerate=60/1";

/// The size of a frame in bytes.
pub const SIZE: usize = 1920 * 1080 * 3;

/// Nanoseconds from one frame to the next.
pub const INTERVAL_NS: u64 = 1_000_000_000 / 60;

/// The part of the run that a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Clients connect, pools fill up and caches warm up.
    Warmup = 0,
    /// Inside the window: the frame is measured.
    Measured = 1,
    /// After the window. The first of these frames closes it.
    Done = 2,
}

/// The first bytes of each frame, in native order.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// `CLOCK_MONOTONIC` in ns when the frame was ready to be sent.
    pub stamp_ns: u64,
    /// The part of the run.
    pub phase: Phase,
}

impl Header {
    const LENGTH: usize = 16;

    /// Writes the header. The stamp is taken last, when no other work remains.
    pub fn stamp(frame: &mut [u8], phase: Phase) {
        frame[8..Header::LENGTH].copy_from_slice(&(phase as u64).to_ne_bytes());
        frame[..8].copy_from_slice(&xmem_tests::roles::monotonic_ns().to_ne_bytes());
    }

    /// Reads the header; `None` if the bytes are not a frame of this bench.
    pub fn read(frame: &[u8]) -> Option<Header> {
        if frame.len() < SIZE {
            return None;
        }
        let word = |at: usize| frame[at..at + 8].try_into().map(u64::from_ne_bytes).ok();
        let phase = match word(8)? {
            0 => Phase::Warmup,
            1 => Phase::Measured,
            2 => Phase::Done,
            _ => return None,
        };
        Some(Header {
            stamp_ns: word(0)?,
            phase,
        })
    }
}

/// Reads every byte of a frame; returns the sum of its u64 words.
pub fn sum(frame: &[u8]) -> u64 {
    let (words, rest) = frame.as_chunks::<8>();
    let words = words.iter().fold(0u64, |sum, word| {
        sum.wrapping_add(u64::from_ne_bytes(*word))
    });
    rest.iter()
        .fold(words, |sum, byte| sum.wrapping_add(u64::from(*byte)))
}
