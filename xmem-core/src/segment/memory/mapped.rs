//! Memory that is mapped from the start, and which pieces of it are prefaulted.

use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustix::fs::SealFlags;

use crate::error::Result;
use crate::sys::mapping::Mapping;
use crate::sys::memfd::{self, Maker};

/// Bytes that are prefaulted at once: a tenth of a millisecond's work.
const PIECE: usize = 1 << 20;

/// A mapping, and which pieces of it are prefaulted.
#[derive(Debug)]
pub(crate) struct Mapped {
    mapping: Mapping,
    /// The file has memory for all bytes.
    is_there: bool,
    /// A bit for each piece that is prefaulted.
    prepared: Box<[AtomicU64]>,
    /// How many pieces are not.
    left: AtomicUsize,
}

impl Mapped {
    /// Memory that this process has made, all of which is prefaulted.
    pub(super) fn own(mapping: Mapping) -> Mapped {
        Mapped {
            mapping,
            is_there: true,
            prepared: Box::default(),
            left: AtomicUsize::new(0),
        }
    }

    /// Maps a memfd of another process, read-only, after checking its size and seals. No piece is
    /// prefaulted.
    pub(super) fn open(
        fd: impl AsFd,
        len: usize,
        seals: SealFlags,
        maker: Maker,
    ) -> Result<Mapped> {
        let mapping = memfd::map_to_read(&fd, len, seals)?;
        let count = len.div_ceil(PIECE);
        Ok(Mapped {
            mapping,
            is_there: memfd::is_there(&fd, len, maker),
            prepared: (0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            left: AtomicUsize::new(count),
        })
    }

    pub(super) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Whether all pieces are prefaulted.
    pub(super) fn is_prepared(&self) -> bool {
        // Acquire, with the release below: the page tables are filled in by then.
        self.left.load(Ordering::Acquire) == 0
    }

    /// Prefaults the pieces that a range of the mapping lies in. Two threads may do the same piece.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`](crate::Error::ResourceExhausted) where there is no memory for
    /// them.
    pub(super) fn prepare(&self, range: Range<usize>) -> Result<()> {
        if self.is_prepared() || range.is_empty() {
            return Ok(());
        }
        self.prepare_range(range)
    }

    /// Prefaults the piece that begins at `offset`. Says where the next one begins; `None` where
    /// nothing is left to do.
    pub(super) fn prepare_piece(&self, offset: usize) -> Result<Option<usize>> {
        let end = self.mapping.len().min(offset + PIECE);
        if self.is_prepared() || offset == end {
            return Ok(None);
        }
        self.prepare_range(offset..end)?;
        Ok(Some(end))
    }

    #[cold]
    fn prepare_range(&self, range: Range<usize>) -> Result<()> {
        for number in range.start / PIECE..range.end.div_ceil(PIECE) {
            let (word, bit) = (&self.prepared[number / 64], 1 << (number % 64));
            if word.load(Ordering::Acquire) & bit != 0 {
                continue;
            }
            let start = number * PIECE;
            let piece = start..self.mapping.len().min(start + PIECE);
            memfd::prefault(&self.mapping, piece, self.is_there)?;
            if word.fetch_or(bit, Ordering::AcqRel) & bit == 0 {
                self.left.fetch_sub(1, Ordering::AcqRel);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::segment::{MemoryDescription, MemoryKind, PAGE, PayloadSegment, SegmentId, Storage};

    /// Bytes that a page fault may map beside those that are touched.
    const AROUND: usize = 64 << 10;

    /// Bytes of a range of a mapping that have page table entries.
    fn resident(mapping: &Mapping, range: Range<usize>) -> usize {
        let pagemap = File::open("/proc/self/pagemap").unwrap();
        let is_present = |offset: &usize| {
            let mut entry = [0; 8];
            let number = mapping.address(*offset) as usize / PAGE;
            pagemap
                .read_exact_at(&mut entry, number as u64 * 8)
                .unwrap();
            u64::from_ne_bytes(entry) >> 63 == 1
        };
        range.step_by(PAGE).filter(is_present).count() * PAGE
    }

    #[test]
    fn a_frame_prefaults_the_pieces_it_lies_in_and_no_others() {
        const COUNT: usize = 70;
        const LEN: usize = COUNT * PIECE;
        for maker in [Maker::OwnUser, Maker::Other] {
            let (made, _) =
                PayloadSegment::create(&Storage::Cpu, SegmentId(1), PIECE, COUNT).unwrap();
            let fd = made.fd().unwrap().try_clone_to_owned().unwrap();
            let description = MemoryDescription {
                kind: MemoryKind::Memfd,
                size: LEN as u64,
                device: None,
            };
            let open = PayloadSegment::open;
            let segment = open(SegmentId(1), description, Some(fd), maker, true).unwrap();
            let mapping = segment.mapping().unwrap();
            assert_eq!(resident(mapping, 0..LEN), 0);
            // The end of a piece, and the start of the next one, whose bit is in another word.
            segment.prepare(64 * PIECE - 1, 2).unwrap();
            assert_eq!(resident(mapping, 63 * PIECE..65 * PIECE), 2 * PIECE);
            assert!(resident(mapping, 0..LEN) <= 2 * PIECE + 2 * AROUND);
            segment.prepare(64 * PIECE - 1, 2).unwrap();
            segment.prepare(0, 0).unwrap();
            segment.prepare(LEN - 1, 1).unwrap();
            assert_eq!(resident(mapping, LEN - PIECE..LEN), PIECE);
            assert!(resident(mapping, 0..LEN) <= 3 * PIECE + 3 * AROUND);
            assert!(!segment.is_prepared());
            let mut offset = 0;
            while let Some(next) = segment.prepare_piece(offset).unwrap() {
                assert_eq!(next - offset, PIECE);
                offset = next;
            }
            assert!(segment.is_prepared());
            assert_eq!(resident(mapping, 0..LEN), LEN);
        }
    }
}
