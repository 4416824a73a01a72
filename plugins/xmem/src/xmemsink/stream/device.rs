//! Frames in the memory of a CUDA device: how they lie in slots, and where they come from.

use gst_video::VideoInfo;
use xmem_core::cuda::{CudaError, Device};
use xmem_core::{Error, Result};
use xmem_media::VideoLayout;
use xmem_media::video::RowCopy;

use crate::caps::describe;
use crate::cuda::memory::{Mapped, picture};
use crate::cuda::{Context, CudaMemory, Stream};
use crate::memory::kind::CapsMemory;
use crate::metas;

/// What frames in CUDA memory need beside their caps. Used by the streaming thread.
pub(in crate::xmemsink) struct Gpu {
    /// That of the last buffer, at first that of the element.
    context: Context,
    device: Device,
    /// The device cannot change: the application has chosen it, or a frame was published.
    is_settled: bool,
    info: VideoInfo,
    slot: Picture,
    /// How the last picture was copied.
    copies: Option<Copies>,
}

/// How a picture lies in a slot, which is as GStreamer lays it out in memory of its own.
struct Picture {
    info: xmem_media::video::VideoInfo,
    layout: VideoLayout,
    size: usize,
}

impl Picture {
    fn new(context: &Context, info: &VideoInfo) -> std::result::Result<Picture, CudaError> {
        let described = describe(&picture(context, info)?);
        let size = described.size as usize;
        Ok(Picture {
            layout: VideoLayout::from(&described),
            info: described,
            size,
        })
    }
}

/// Rows of one length, with one distance from each to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// The first byte of the first row in the buffer, and the bytes from one row to the next.
    pub(super) from: (usize, usize),
    /// The same in the slot.
    pub(super) to: (usize, usize),
    pub(super) width: usize,
    pub(super) rows: usize,
}

/// How pictures of a layout are copied.
struct Copies {
    of: (VideoLayout, usize),
    blocks: Vec<Block>,
}

/// A picture in the memory of a device.
pub(super) struct Source<'a> {
    buffer: &'a gst::BufferRef,
    first: CudaMemory<'a>,
    pub(super) layout: VideoLayout,
}

/// A memory of a buffer that is mapped for the device.
pub(super) struct Part<'a> {
    /// The first byte of the memory in the buffer.
    start: usize,
    mapped: Mapped<'a>,
    stream: Option<Stream>,
}

pub(super) fn bad(reason: impl Into<String>) -> Error {
    Error::BadMemory(reason.into())
}

impl Gpu {
    /// Asks GStreamer how pictures of these caps lie in CUDA memory.
    ///
    /// # Errors
    /// If it has no such picture, or the device has no memory for one.
    pub(in crate::xmemsink) fn new(
        context: Context,
        info: &VideoInfo,
        is_chosen: bool,
    ) -> std::result::Result<Gpu, CudaError> {
        Ok(Gpu {
            device: context.device()?.clone(),
            slot: Picture::new(&context, info)?,
            context,
            is_settled: is_chosen,
            info: info.clone(),
            copies: None,
        })
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// The bytes of a slot.
    pub(super) fn size(&self) -> usize {
        self.slot.size
    }

    /// Notes that a frame was published on the device.
    pub(super) fn settle(&mut self) {
        self.is_settled = true;
    }

    /// Returns the picture in a buffer. Follows the context of its memory. Returns whether the device
    /// is another one from now on.
    ///
    /// # Errors
    /// A sentence for the user: the buffer has no such picture.
    pub(super) fn examine<'a>(&mut self, buffer: &'a gst::BufferRef) -> Result<(Source<'a>, bool)> {
        let feature = CapsMemory::Cuda.feature();
        if buffer.n_memory() == 0 {
            return Err(bad(format!(
                "the caps say {feature}, but a buffer is empty"
            )));
        }
        let first = CudaMemory::of(buffer.peek_memory(0));
        let others = (1..buffer.n_memory()).map(|at| CudaMemory::of(buffer.peek_memory(at)));
        let others: Option<Vec<_>> = others.collect();
        let (Some(first), Some(others)) = (first, others) else {
            return Err(bad(format!(
                "the caps say {feature}, but a buffer is in other memory: put cudaupload before \
                 xmemsink"
            )));
        };
        let is_other = !first.is_of(&self.context) && self.follow(first.context())?;
        if others.iter().any(|other| !other.is_of(&self.context)) {
            return Err(bad("the memories of a buffer are of several CUDA contexts"));
        }
        let layout = match metas::said_layout(buffer) {
            Some(layout) => layout,
            // Strides of caps do not hold for such memory.
            None if buffer.n_memory() == 1 && buffer.peek_memory(0).offset() == 0 => {
                VideoLayout::from(&describe(&first.info()))
            }
            None => return Err(bad("nothing says how a picture lies in CUDA memory")),
        };
        let source = Source {
            buffer,
            first,
            layout,
        };
        Ok((source, is_other))
    }

    /// Uses the context of a memory from now on.
    fn follow(&mut self, context: Context) -> Result<bool> {
        let device = context.device()?.clone();
        let is_other = device != self.device;
        if is_other && self.is_settled {
            let (channel, found) = (&self.device, &device);
            let advice =
                "set cuda-device-id of xmemsink and of the elements before it to one device";
            return Err(bad(format!(
                "the frames of this channel are on the GPU \"{}\" ({}), but a buffer is on \"{}\" \
                 ({}): {advice}",
                channel.name(),
                channel.uuid(),
                found.name(),
                found.uuid()
            )));
        }
        if is_other {
            self.slot = Picture::new(&context, &self.info)?;
            self.copies = None;
            self.device = device;
        }
        self.context = context;
        Ok(is_other)
    }

    /// How the picture of a source lies in the slot that it is copied to.
    pub(super) fn copied_layout(&self, source: &Source<'_>) -> VideoLayout {
        VideoLayout {
            flags: source.layout.flags,
            ..self.slot.layout
        }
    }

    /// Returns whether clients can use the picture as it lies.
    pub(super) fn is_sound(&self, source: &Source<'_>) -> bool {
        metas::check_layout(&source.layout, &self.info, source.size()).is_ok()
    }

    /// Finds out what has to be copied of a source.
    ///
    /// # Errors
    /// A sentence for the user: the picture is not in the buffer.
    pub(super) fn prepare(&mut self, source: &Source<'_>) -> Result<()> {
        let of = (source.layout, source.size());
        if self.copies.as_ref().is_some_and(|copies| copies.of == of) {
            return Ok(());
        }
        let rows = source.layout.copies(&self.slot.info, of.1);
        let rows = rows.ok_or_else(|| {
            bad("the GstVideoMeta of a buffer in CUDA memory leads to no picture of its caps")
        })?;
        let blocks = blocks(&rows);
        self.copies = Some(Copies { of, blocks });
        Ok(())
    }

    /// What has to be copied of the source that was prepared last.
    pub(super) fn blocks(&self) -> &[Block] {
        self.copies.as_ref().map_or(&[], |copies| &copies.blocks)
    }
}

impl<'a> Source<'a> {
    /// The bytes of the buffer.
    pub(super) fn size(&self) -> usize {
        self.buffer.size()
    }

    /// Returns the memory, if it is the only one.
    pub(super) fn only(&self) -> Option<CudaMemory<'a>> {
        (self.buffer.n_memory() == 1).then_some(self.first)
    }

    /// Maps all memories for the device.
    ///
    /// # Errors
    /// [`Error::Cuda`].
    pub(super) fn map(&self) -> Result<Vec<Part<'a>>> {
        let mut start = 0;
        let memories = self.buffer.iter_memories();
        let parts = memories.filter_map(|memory| {
            let part = CudaMemory::of(memory)?.map().map(|mapped| Part {
                start,
                mapped,
                stream: CudaMemory::of(memory).and_then(|memory| memory.stream()),
            });
            start += memory.size();
            Some(part)
        });
        Ok(parts.collect::<std::result::Result<_, CudaError>>()?)
    }
}

impl Part<'_> {
    pub(super) fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }

    /// Returns the address of the first byte of a block, if all of it lies in this memory.
    pub(super) fn address(&self, block: &Block) -> Option<u64> {
        let offset = block.from.0.checked_sub(self.start)?;
        let last = block.from.1.checked_mul(block.rows.checked_sub(1)?)?;
        let end = offset.checked_add(last)?.checked_add(block.width)?;
        (end <= self.mapped.size()).then(|| self.mapped.address() + offset as u64)
    }
}

/// Joins rows to blocks.
fn blocks(rows: &[RowCopy]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for row in rows {
        let joined = blocks.last_mut().is_some_and(|block| block.join(row));
        if !joined {
            blocks.push(Block {
                from: (row.from, row.length),
                to: (row.to, row.length),
                width: row.length,
                rows: 1,
            });
        }
    }
    blocks
}

impl Block {
    /// Adds a row, if it continues the block.
    fn join(&mut self, row: &RowCopy) -> bool {
        let pitch = |(first, pitch): (usize, usize), at: usize| {
            let distance = at.checked_sub(first)?;
            match self.rows {
                1 => (distance >= self.width).then_some(distance),
                rows => (pitch.checked_mul(rows) == Some(distance)).then_some(pitch),
            }
        };
        let pitches = pitch(self.from, row.from).zip(pitch(self.to, row.to));
        match pitches.filter(|_| row.length == self.width) {
            Some((from, to)) => {
                (self.from.1, self.to.1) = (from, to);
                self.rows += 1;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_plane_are_one_block() {
        let row = |from, to, length| RowCopy { from, to, length };
        let rows = [
            row(0, 0, 10),
            row(16, 32, 10),
            row(32, 64, 10),
            // Another plane, of which the first row continues nothing.
            row(100, 96, 5),
            row(110, 128, 5),
            // From below to above.
            row(400, 300, 5),
            row(390, 310, 5),
        ];
        let block = |from, to, width, rows| Block {
            from,
            to,
            width,
            rows,
        };
        assert_eq!(
            blocks(&rows),
            [
                block((0, 16), (0, 32), 10, 3),
                block((100, 10), (96, 32), 5, 2),
                block((400, 5), (300, 5), 5, 1),
                block((390, 5), (310, 5), 5, 1),
            ]
        );
    }
}
