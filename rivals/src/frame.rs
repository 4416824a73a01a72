//! The frames of the bench: their format, and content that determines every byte.

/// The caps of the stream.
pub const CAPS: &str = "video/x-raw,format=RGB,width=640,height=480,framerate=60/1";

/// The size of a frame in bytes.
pub const SIZE: usize = 640 * 480 * 3;

/// The header in the first bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The number of the frame, counted by its producer from 0.
    pub number: u64,
    /// The process ID of the producer.
    pub producer: u64,
}

/// The word at index `at`, counted in words from the first pixel.
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

    /// Reads the header of a frame.
    pub fn read(frame: &[u8]) -> Option<Header> {
        let (words, _) = frame.as_chunks::<8>();
        Some(Header {
            number: u64::from_ne_bytes(*words.first()?),
            producer: u64::from_ne_bytes(*words.get(1)?),
        })
    }

    /// Whether every byte of the frame has the value that the header demands.
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
