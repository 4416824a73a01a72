//! A number that stands for a picture: it is another one as soon as one byte is.

use std::hash::{DefaultHasher, Hash, Hasher};

const LANES: usize = 8;
const BLOCK: usize = LANES * size_of::<u64>();
/// Odd, so that multiplying by it loses nothing; otherwise as irregular as can be (2^64 / phi).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The fingerprint of a picture, in the making.
///
/// Several words side by side, so that it takes no longer than reading the picture does: the
/// clients share the cores, and one's work is the other's latency. Each step maps different words
/// to different ones, so a change of a single word never cancels out; other changes do by a chance
/// in 2^64.
#[derive(Debug, Default)]
pub struct Fingerprint([u64; LANES]);

impl Fingerprint {
    /// Takes in the next row.
    pub fn add(&mut self, row: &[u8]) {
        let (blocks, rest) = row.as_chunks::<BLOCK>();
        blocks.iter().for_each(|block| self.mix(block));
        if !rest.is_empty() {
            let mut block = [0; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            self.mix(&block);
        }
    }

    fn mix(&mut self, block: &[u8; BLOCK]) {
        let (words, _) = block.as_chunks();
        for (lane, word) in self.0.iter_mut().zip(words) {
            *lane = (*lane ^ u64::from_le_bytes(*word))
                .wrapping_mul(FACTOR)
                .rotate_left(29);
        }
    }

    /// The number.
    pub fn finish(self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(rows: &[u8]) -> u64 {
        let mut print = Fingerprint::default();
        rows.chunks(150).for_each(|row| print.add(row));
        print.finish()
    }

    #[test]
    fn every_bit_of_every_byte_counts() {
        let mut rows: Vec<u8> = (0..450u32).map(|number| (number * 7) as u8).collect();
        let original = fingerprint(&rows);
        for bit in 0..rows.len() * 8 {
            rows[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(fingerprint(&rows), original);
            rows[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(fingerprint(&rows), original);
    }

    #[test]
    fn the_order_counts() {
        let mut rows: Vec<u8> = (0..450u32).map(|number| (number * 7) as u8).collect();
        let original = fingerprint(&rows);
        rows.swap(0, 64);
        assert_ne!(fingerprint(&rows), original);
        rows.swap(0, 64);
        rows.rotate_left(150);
        assert_ne!(fingerprint(&rows), original);
    }
}
