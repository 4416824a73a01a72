//! The actions of a peer, read from the bytes of a fuzzer.

/// Takes numbers from the front of a byte slice. After its end all numbers are 0.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        byte
    }

    /// A number below `count`, which is at most 256.
    pub(super) fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count.max(1)
    }

    /// The next `count` bytes, fewer at the end.
    pub(super) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// A number. One byte selects whether it is small, close to 2^64 or to 2^32, slightly below a
    /// power of two, or arbitrary.
    pub(super) fn number(&mut self) -> u64 {
        match self.byte() {
            0xfc => u64::MAX - u64::from(self.byte()),
            0xfd => u64::from(u32::MAX - u32::from(self.byte())),
            0xfe => {
                let power = 1u64 << (self.byte() % 64);
                power.wrapping_sub(u64::from(self.byte() % 4))
            }
            0xff => {
                let mut word = [0; 8];
                let bytes = self.bytes(8);
                word[..bytes.len()].copy_from_slice(bytes);
                u64::from_le_bytes(word)
            }
            small => u64::from(small),
        }
    }
}
