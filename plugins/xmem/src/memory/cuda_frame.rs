//! The memory of received frames that are in the memory of a CUDA device: `GstCudaMemory` with a
//! [`Frame`] attached.
#![allow(unsafe_code)]

use std::sync::{Arc, LazyLock};

use glib::translate::IntoGlib;
use gst::ffi;
use gst_video::VideoInfo;
use xmem_core::cuda::CudaError;
use xmem_core::{Error, Frame, Result};

use crate::cuda::memory::Access;
use crate::cuda::{Context, CudaMemory, Stream, memory};
use crate::log::CAT;

/// A frame that a memory is made of. The drop gives the lease back when the device has done all work
/// that was put on it until then: elements free memory before work that reads it is done, and may do
/// that work on any stream of the context.
struct Held {
    frame: Option<Frame>,
    context: Context,
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(frame) = self.frame.take() else {
            return;
        };
        let work = self.context.all_work().map_err(Error::from);
        if let Err(error) = work.and_then(|work| frame.release_after(&work)) {
            gst::debug!(CAT, "A lease ends with its connection: {error}");
        }
    }
}

/// The quark under which a memory has its frame. No other code uses it.
fn frame_quark() -> glib::ffi::GQuark {
    static QUARK: LazyLock<glib::Quark> =
        LazyLock::new(|| glib::Quark::from_str("xmem-cuda-frame"));
    QUARK.into_glib()
}

/// Wraps a received frame as CUDA memory that is read-only, since GStreamer 1.24. `picture` says how the
/// planes lie in it. The frame is given back when the memory is freed and the work on it is done.
///
/// # Errors
/// [`Error::WrongStorage`] if the frame is in other memory; [`Error::Cuda`].
pub(crate) fn wrap(
    context: &Context,
    stream: Option<&Stream>,
    picture: &VideoInfo,
    frame: Frame,
) -> Result<gst::Memory> {
    let storage = frame.meta().storage_type();
    let address = frame.device_address().ok_or(Error::WrongStorage(storage))?;
    if picture.size() as u64 > frame.meta().size() {
        let reason = "the picture is larger than its frame".into();
        return Err(CudaError::Unavailable { reason }.into());
    }
    let held = Arc::new(Held {
        frame: Some(frame),
        context: context.clone(),
    });
    let at = Arc::as_ptr(&held);
    // SAFETY: all contexts of the device can read the bytes, which are those of the frame. The owner
    // keeps the frame until the memory is freed, and gives it back after the work of the context.
    let memory = unsafe { memory::wrap(context, stream, picture, address, Access::Read, held) }?;
    // SAFETY: the memory is new, and no other code has it. It owns what the pointer leads to.
    unsafe {
        ffi::gst_mini_object_set_qdata(
            memory.as_mut_ptr().cast(),
            frame_quark(),
            at.cast_mut().cast(),
            None,
        );
    }
    Ok(memory)
}

/// Returns the frame that a CUDA memory was made of by [`wrap`].
pub(crate) fn frame_of(memory: CudaMemory<'_>) -> Option<&Frame> {
    // SAFETY: the memory is borrowed, and owns what `wrap` has put there. No other code uses the quark.
    let held = unsafe {
        let memory = memory.memory().as_mut_ptr();
        let held = ffi::gst_mini_object_get_qdata(memory.cast(), frame_quark());
        held.cast::<Held>().as_ref()
    };
    held?.frame.as_ref()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use gst_video::VideoFormat;
    use xmem_core::cuda::Device;
    use xmem_core::{Channel, Publisher, Storage, Subscriber};

    use super::*;
    use crate::cuda::memory::{alloc, map_writable};
    use crate::cuda::tests::{on_the_stand_in_with, until};
    use crate::cuda::{ElementContext, Rows, copy_rows};

    /// How long each work takes.
    const TIME: Duration = Duration::from_millis(500);

    #[test]
    fn a_lease_ends_after_work_on_any_stream() {
        let name = "a_lease_ends_after_work_on_any_stream";
        let settings = [("FAKECUDA_MODE", "delay:500000")];
        on_the_stand_in_with(module_path!(), name, &settings, |element| {
            let directory = tempfile::tempdir().unwrap();
            let channel = || Channel::path(directory.path().join("gpu.sock"));
            let device = Device::get(0).unwrap();
            let publisher = Publisher::builder(channel()).storage(Storage::Cuda(device));
            let publisher = publisher.open().unwrap();
            let mut subscriber = Subscriber::builder(channel()).connect().unwrap();
            let info = VideoInfo::builder(VideoFormat::Nv12, 64, 48)
                .build()
                .unwrap();
            let frame = publisher.acquire(info.size()).unwrap();
            frame.publish().unwrap();
            let frame = subscriber.receive(None).unwrap();
            let context = ElementContext::default().ensure(element, Some(0)).unwrap();
            let Ok(stream) = context.new_stream() else {
                assert!(wrap(&context, None, &info, frame).is_err());
                return;
            };
            let memory = wrap(&context, Some(&stream), &info, frame).unwrap();
            let held = || publisher.stats().clients[0].held;
            assert_eq!(held(), 1);
            assert_eq!(
                frame_of(CudaMemory::of(&memory).unwrap())
                    .unwrap()
                    .meta()
                    .size(),
                info.size() as u64
            );
            // Work on another stream, which reads the memory after it is freed.
            let other = context.new_stream().unwrap();
            let mut copy = alloc(&context, Some(&other), &info).unwrap();
            assert!(frame_of(CudaMemory::of(&copy).unwrap()).is_none());
            let rows = |address, pitch| Rows { address, pitch };
            let from = CudaMemory::of(&memory).unwrap().map().unwrap().address();
            let to = map_writable(copy.make_mut()).unwrap().address();
            let begun = Instant::now();
            // SAFETY: both have 48 rows of 64 bytes, and the copy is kept until the work is done.
            unsafe {
                copy_rows(
                    &context,
                    Some(&other),
                    rows(from, 64),
                    rows(to, 512),
                    64,
                    48,
                )
            }
            .unwrap();
            drop(memory);
            until("the lease ends", || held() == 0);
            assert!(begun.elapsed() >= TIME, "the lease ended before the work");
        });
    }
}
