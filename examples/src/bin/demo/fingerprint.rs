//! A number that stands for a picture: it is another one as soon as one byte is.

use std::hash::{DefaultHasher, Hasher};

/// The fingerprint of a picture, in the making.
///
/// 64 bits, from every byte of every row. That two different pictures have the same one is as
/// likely as guessing the number.
#[derive(Debug, Default)]
pub struct Fingerprint(DefaultHasher);

impl Fingerprint {
    /// Takes in the next row.
    pub fn add(&mut self, row: &[u8]) {
        self.0.write(row);
    }

    /// The number.
    pub fn finish(self) -> u64 {
        self.0.finish()
    }
}
