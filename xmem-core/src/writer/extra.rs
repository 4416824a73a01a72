//! The extra bytes of a frame: beside its record, or in memory of their own.

use super::Writer;
use crate::error::{Error, Result};
use crate::lease::SlotIndex;
use crate::pool::Place;
use crate::segment::{INLINE_EXTRA, MAX_EXTRA, PAGE, PayloadSegment, Storage, write_location};

/// Bytes of memory for extra bytes that are made at once, where pieces are so small that several fit;
/// and the most, where there are many pieces.
const SPARES: usize = 64 << 10;
const MOST_SPARES: usize = 1 << 20;

impl Writer {
    /// Writes `extra` where clients will find it: beside the record, or in memory of its own,
    /// which goes with the frame.
    pub(crate) fn write_extra(&self, index: SlotIndex, extra: &[u8]) -> Result<Option<Place>> {
        self.check_origin()?;
        if extra.len() <= INLINE_EXTRA as usize {
            self.metadata.write_extra(index, extra);
            return Ok(None);
        }
        Error::check_length("extra data", extra.len(), MAX_EXTRA as usize)?;
        let spare = self.with_pool(|pool| pool.take_spare(extra.len()));
        let place = match spare {
            Some(place) => place,
            None => self.make_spare(extra.len())?,
        };
        place.segment.mapping()?.write(place.offset, extra);
        let location = write_location(place.segment.id, place.offset as u64);
        self.metadata.write_extra(index, &location);
        Ok(Some(place))
    }

    /// Makes memory for the extra bytes of a frame, and for more pieces of them: a frame that has some
    /// in the steady state finds a spare one. Where clients hold many frames there are many pieces, and
    /// the producer keeps a descriptor for each segment, not for each piece.
    fn make_spare(&self, len: usize) -> Result<Place> {
        let size = len.next_power_of_two().max(PAGE);
        let (id, pieces) = self.with_pool(|pool| (pool.next_segment_id(), pool.pieces(size)));
        let count = (SPARES / size).max(pieces / 4).min(MOST_SPARES / size);
        let made = match PayloadSegment::create(&Storage::Cpu, id, size, count.max(1)) {
            Err(Error::ResourceExhausted { .. }) if count > 1 => {
                PayloadSegment::create(&Storage::Cpu, id, size, 1)
            }
            other => other,
        };
        let (segment, size) = made?;
        let place = self.with_pool(|pool| pool.add_spares(&segment, size));
        self.event_fd.notify();
        Ok(place)
    }

    /// Gives back memory for extra bytes that no frame was published with.
    pub(crate) fn return_spare(&self, place: Place) {
        if self.check_origin().is_ok() {
            self.with_pool(|pool| pool.return_spare(place));
        }
    }
}
