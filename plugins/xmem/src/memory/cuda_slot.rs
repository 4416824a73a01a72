//! Slots in the memory of a CUDA device: `GstCudaMemory` that upstream writes.
#![allow(unsafe_code)]

use std::sync::{Arc, LazyLock};

use glib::translate::IntoGlib;
use gst::ffi;
use gst_video::VideoInfo;
use xmem_core::{Error, FrameMut, Result, StorageType};

use super::slot::SlotCell;
use crate::cuda::memory::Access;
use crate::cuda::{Context, CudaMemory, Stream, memory};
use crate::log::CAT;

/// A slot that a memory is made of. The drop gives a slot back that was not published, when the device has
/// done all work that was put on it until then: elements free memory before work on it is done.
struct Slot {
    cell: SlotCell,
    context: Context,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(frame) = self.cell.take() else {
            return;
        };
        let discarded = self.context.all_work().map_err(Error::from);
        let discarded = discarded.and_then(|work| {
            frame
                .discard_after(&work)
                .map_err(|unpublished| unpublished.reason)
        });
        if let Err(error) = discarded {
            gst::debug!(CAT, "A slot is given back: {error}");
        }
    }
}

/// The quark under which a memory has its slot. No other code uses it.
fn slot_quark() -> glib::ffi::GQuark {
    static QUARK: LazyLock<glib::Quark> = LazyLock::new(|| glib::Quark::from_str("xmem-cuda-slot"));
    QUARK.into_glib()
}

/// Returns CUDA memory in which upstream writes a slot, since GStreamer 1.24. `picture` says how the planes
/// lie in it.
///
/// # Errors
/// [`Error::WrongStorage`] if the slot is in other memory; [`Error::Cuda`].
pub(super) fn slot_memory(
    context: &Context,
    stream: Option<&Stream>,
    picture: &VideoInfo,
    frame: FrameMut,
) -> Result<gst::Memory> {
    let address = frame.device_address();
    let address = address.ok_or(Error::WrongStorage(StorageType::Cpu))?;
    if picture.size() > frame.capacity() {
        let size = picture.size();
        return Err(Error::InvalidShape(format!(
            "{size} bytes in a smaller slot"
        )));
    }
    let slot = Arc::new(Slot {
        cell: SlotCell::new(frame),
        context: context.clone(),
    });
    let at = Arc::as_ptr(&slot);
    // SAFETY: all contexts of the device can use the bytes, which are those of the slot. The owner keeps
    // the slot until the memory is freed, and gives it back after the work of the context.
    let memory = unsafe { memory::wrap(context, stream, picture, address, Access::Write, slot) }?;
    // SAFETY: the memory is new, and no other code has it. It owns what the pointer leads to.
    unsafe {
        ffi::gst_mini_object_set_qdata(
            memory.as_mut_ptr().cast(),
            slot_quark(),
            at.cast_mut().cast(),
            None,
        );
    }
    Ok(memory)
}

/// Returns the slot that a CUDA memory was made of by [`slot_memory`].
pub(super) fn slot_of(memory: CudaMemory<'_>) -> Option<&SlotCell> {
    // SAFETY: the memory is borrowed, and owns what `slot_memory` has put there. No other code uses the
    // quark.
    let slot = unsafe {
        let memory = memory.memory().as_mut_ptr();
        let slot = ffi::gst_mini_object_get_qdata(memory.cast(), slot_quark());
        slot.cast::<Slot>().as_ref()
    };
    slot.map(|slot| &slot.cell)
}

/// Prepares the memory of a buffer that upstream has released for being freed. GStreamer would wait for the
/// device before that; but the slot is given back when its work is done.
pub(super) fn release(buffer: &gst::BufferRef) {
    for memory in buffer.iter_memories() {
        let Some(cuda) = CudaMemory::of(memory) else {
            continue;
        };
        // While there is no other owner, no other code gets the memory.
        if cuda.has_one_owner() && slot_of(cuda).is_some() {
            cuda.set_done();
        }
    }
}

/// Keeps memory while work on the device writes it. The drop says that this is over.
pub(crate) struct Written(gst::Memory);

impl Written {
    /// Upstream has written the memory, and only reads it from now on.
    pub(crate) fn new(memory: gst::Memory) -> Written {
        if let Some(cuda) = CudaMemory::of(&memory) {
            cuda.set_read_only();
        }
        Written(memory)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if let Some(cuda) = CudaMemory::of(&self.0) {
            cuda.set_done();
        }
    }
}
