//! Frames in the memory of CUDA devices: the context in which downstream uses them, and the memory of
//! their buffers.
#![allow(unsafe_code)]

use std::sync::Arc;

use glib::WeakRef;
use gst::prelude::*;
use gst_base::prelude::*;
use gst_video::VideoInfo;
use xmem_core::cuda::{CudaError, Device};
use xmem_core::{Error, Frame, Result};
use xmem_media::VideoLayout;

use crate::caps::describe;
use crate::cuda::memory::{alloc, map_writable};
use crate::cuda::{Context, CudaMemory, ElementContext, Rows, Stream, copy_rows};
use crate::memory::cuda_frame::wrap;
use crate::metas::{Unfit, check_layout};

mod picture;

use picture::Picture;

/// The caps of raw video in CUDA memory.
const CAPS: &str = "video/x-raw(memory:CUDAMemory)";

/// The number of memories that are kept for the copies of later frames.
const MAX_SPARE: usize = 16;

/// Returns whether the elements downstream take frames in CUDA memory, as far as their caps say. Those
/// that take any caps do. Nothing of CUDA is loaded for that.
pub(super) fn is_taken(source: &gst_base::BaseSrc) -> bool {
    let caps: gst::Caps = CAPS.parse().expect("the caps are valid");
    !source.src_pad().peer_query_caps(Some(&caps)).is_empty()
}

/// Makes the memory of frames in CUDA memory. It loads the library and the driver with the first one.
pub(super) struct CudaFrames {
    source: WeakRef<gst::Element>,
    contexts: Arc<ElementContext>,
    /// The only device whose frames are taken.
    only: Option<u32>,
    place: Option<Place>,
}

/// Where frames are, and how they lie there.
struct Place {
    device: Device,
    context: Context,
    /// On which elements read the frames. Since GStreamer 1.24.
    stream: Option<Stream>,
    picture: Option<Picture>,
    /// Memories of copies of such pictures, some of which downstream still has. Only before GStreamer
    /// 1.24.
    spare: Vec<gst::Memory>,
}

/// The memory of a frame.
pub(super) struct Placed {
    pub(super) memory: gst::Memory,
    /// How the picture lies in it.
    pub(super) layout: VideoLayout,
    /// It is a copy, which the device makes.
    pub(super) is_copy: bool,
}

impl CudaFrames {
    pub(super) fn new(
        source: &gst::Element,
        contexts: Arc<ElementContext>,
        only: Option<u32>,
    ) -> CudaFrames {
        CudaFrames {
            source: source.downgrade(),
            contexts,
            only,
            place: None,
        }
    }

    /// Returns the memory of a frame, which is a picture as `info` of its caps says. `said` is what the
    /// producer says of its layout, which is another process. The memory is a copy if that is
    /// `wanted`, or if GStreamer cannot use the frame as it lies.
    ///
    /// # Errors
    /// CUDA cannot be used, or the frame is on a device that the user does not want. The inner error: the
    /// picture does not fit the frame.
    pub(super) fn memory(
        &mut self,
        frame: Frame,
        info: &VideoInfo,
        said: Option<VideoLayout>,
        is_copy_wanted: bool,
    ) -> Result<std::result::Result<Placed, Unfit>> {
        let device = frame.device().cloned();
        let device = device.ok_or(Error::WrongStorage(frame.meta().storage_type()))?;
        if self
            .place
            .as_ref()
            .is_none_or(|place| place.device != device)
        {
            self.place = None;
            self.place = Some(self.enter(device)?);
        }
        let place = self.place.as_mut().expect("it was set above");
        let size = frame.meta().size() as usize;
        if place
            .picture
            .as_ref()
            .is_none_or(|picture| !picture.is_of(info, &said, size))
        {
            let layout = said.unwrap_or_else(|| VideoLayout::from(&describe(info)));
            if let Err(why) = check_layout(&layout, info, size) {
                return Ok(Err(why.into()));
            }
            match Picture::new(info, said, layout, size) {
                Some(picture) => place.show(picture),
                None => return Ok(Err(Unfit::Value("GStreamer has no such picture"))),
            }
        }
        place.fill(frame, is_copy_wanted).map(Ok)
    }

    /// Finds the context for the frames of a device.
    fn enter(&self, device: Device) -> Result<Place> {
        let ordinal = device.ordinal();
        if let Some(only) = self.only.filter(|only| *only != ordinal) {
            return Err(Error::BadMemory(format!(
                "The frames are on CUDA device {ordinal} ({}, {}), and cuda-device-id is {only}: set it \
                 to {ordinal}, or to -1 for any device",
                device.name(),
                device.uuid()
            )));
        }
        let source = self.source.upgrade().ok_or(Error::Cancelled)?;
        let context = self.contexts.ensure(&source, Some(ordinal))?;
        // Kept by the value, and by its clones.
        context.device()?;
        let stream = if context.library().has_streams() {
            Some(context.new_stream()?)
        } else {
            None
        };
        Ok(Place {
            device,
            context,
            stream,
            picture: None,
            spare: Vec::new(),
        })
    }
}

impl Place {
    /// Sets the picture of the frames from now on.
    fn show(&mut self, picture: Picture) {
        self.picture = Some(picture);
        self.spare.clear();
    }

    fn fill(&mut self, frame: Frame, is_copy_wanted: bool) -> Result<Placed> {
        let picture = self.picture.as_ref().expect("the caller has set it");
        if self.stream.is_some() && picture.can_be_wrapped() && !is_copy_wanted {
            return Ok(Placed {
                memory: wrap(&self.context, self.stream.as_ref(), picture.info(), frame)?,
                layout: *picture.layout(),
                is_copy: false,
            });
        }
        let copied = self.copy(&frame);
        // If the device has failed, this error says so, and that of GStreamer does not.
        frame.release_after(&self.context.work_on(self.stream.as_ref())?)?;
        let (memory, layout) = copied?;
        Ok(Placed {
            memory,
            layout,
            is_copy: true,
        })
    }

    /// Puts a copy of the picture on the stream.
    ///
    /// Without streams it is the default stream. That is in order with all others of GStreamer 1.22, which
    /// makes them with `CU_STREAM_DEFAULT`: the copy waits for elements that still read the memory, and
    /// elements that read the copy wait for it. So nothing waits here.
    fn copy(&mut self, frame: &Frame) -> Result<(gst::Memory, VideoLayout)> {
        let picture = self.picture.as_ref().expect("the caller has set it");
        let storage = frame.meta().storage_type();
        let address = frame.device_address().ok_or(Error::WrongStorage(storage))?;
        let is_unused = |memory: &gst::Memory| {
            CudaMemory::of(memory).is_some_and(|memory| memory.has_one_owner())
        };
        let spare = self.spare.iter().position(is_unused);
        let spare = spare.map(|at| self.spare.swap_remove(at));
        // Downstream may have cut it.
        let spare = spare.filter(|spare| spare.offset() == 0 && spare.size() == spare.maxsize());
        let mut memory = match spare {
            Some(memory) => memory,
            None => alloc(&self.context, self.stream.as_ref(), picture.info())?,
        };
        let to = CudaMemory::of(&memory).map(|memory| memory.info());
        let to = to.ok_or_else(|| unavailable("GStreamer has allocated other memory"))?;
        let context = &self.context;
        {
            let mapped = map_writable(memory.make_mut())?;
            for copy in picture.copies(&to, mapped.size()) {
                let copy = copy.ok_or_else(|| unavailable("GStreamer allocated too little"))?;
                let rows = |address: u64, (offset, pitch): (usize, usize)| Rows {
                    address: address + offset as u64,
                    pitch,
                };
                let from = rows(address, copy.from);
                let to = rows(mapped.address(), copy.to);
                let stream = self.stream.as_ref();
                // SAFETY: the rows lie inside of the frame, which is kept until the copy is done, and inside
                // of the memory, which frees its bytes after the work on its stream. No other code has it.
                unsafe { copy_rows(context, stream, from, to, copy.width, copy.rows) }?;
            }
        }
        if self.stream.is_none() && self.spare.len() < MAX_SPARE {
            self.spare.push(memory.clone());
        }
        let layout = VideoLayout {
            flags: picture.layout().flags,
            ..VideoLayout::from(&describe(&to))
        };
        Ok((memory, layout))
    }
}

fn unavailable(reason: &str) -> Error {
    let reason = reason.into();
    CudaError::Unavailable { reason }.into()
}
