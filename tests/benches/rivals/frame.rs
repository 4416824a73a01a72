//! The frame that is sent: its format, and bytes that say what each of them must be.

/// Caps of the stream.
pub const CAPS: &str = "video/x-raw,format=RGB,width=640,height=480,framerate=60/1";

/// Bytes of a frame.
pub const SIZE: usize = 640 * 480 * 3;

/// What a frame says of itself, in its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Counted by its producer, from 0.
    pub number: u64,
    /// The producer's process.
    pub producer: u64,
}

/// The word at `at`, counted in words, of the frame's pixels.
fn word(header: Header, at: usize) -> u64 {
    (header.number << 20 ^ at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Header {
    /// Writes the whole frame.
    pub fn fill(self, frame: &mut [u8]) {
        let (words, rest) = frame.as_chunks_mut::<8>();
        for (at, bytes) in words.iter_mut().enumerate() {
            *bytes = word(self, at).to_ne_bytes();
        }
        rest.fill(0);
        words[0] = self.number.to_ne_bytes();
        words[1] = self.producer.to_ne_bytes();
    }

    /// What the frame says it is.
    pub fn read(frame: &[u8]) -> Option<Header> {
        let (words, _) = frame.as_chunks::<8>();
        Some(Header {
            number: u64::from_ne_bytes(*words.first()?),
            producer: u64::from_ne_bytes(*words.get(1)?),
        })
    }

    /// Whether every byte of the frame is what it must be.
    pub fn fits(self, frame: &[u8]) -> bool {
        let (words, _) = frame.as_chunks::<8>();
        frame.len() == SIZE
            && Header::read(frame) == Some(self)
            && words
                .iter()
                .enumerate()
                .skip(2)
                .all(|(at, bytes)| u64::from_ne_bytes(*bytes) == word(self, at))
    }
}
