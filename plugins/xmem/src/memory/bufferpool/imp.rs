use std::sync::Arc;

use gst::subclass::prelude::*;
use gst_video::prelude::*;
use gst_video::{VideoAlignment, VideoFormat, VideoInfo};
use xmem_core::Publisher;
use xmem_media::VideoLayout;

use super::super::poolstate::{OnFailure, PoolState, SlotConfig};
use super::super::slot::slot_buffer;
use crate::caps::describe;
use crate::log::CAT;
use crate::metas;

/// The alignment of system memory, in GStreamer's form: a mask of the address bits that are 0.
const ALIGNMENT: usize = 127;

/// Hands out slots as buffers.
#[derive(Default)]
pub struct XmemBufferPool {
    state: PoolState<Config>,
}

#[derive(Clone, Default)]
struct Config {
    size: usize,
    min_buffers: u32,
    /// The layout of the planes of raw video, including padding, and the format.
    video: Option<(VideoLayout, VideoFormat)>,
}

impl SlotConfig for Config {
    fn size(&self) -> usize {
        self.size
    }

    fn min_buffers(&self) -> u32 {
        self.min_buffers
    }
}

impl super::XmemBufferPool {
    /// Creates a pool of a publisher's slots.
    pub(crate) fn new(publisher: &Arc<Publisher>, on_failure: &OnFailure) -> Self {
        let pool: Self = glib::Object::builder().build();
        pool.imp().state.open(publisher, on_failure);
        pool
    }

    /// While the sink flushes, upstream does not wait for a slot: it gets system memory.
    pub(crate) fn set_sink_flushing(&self, flushing: bool) {
        self.imp().state.set_sink_flushing(flushing);
    }
}

impl XmemBufferPool {
    /// Returns the configuration of the buffers, and whether it grants all that was asked for;
    /// `None` if there can be no buffers of it. Changes `config` to what is granted.
    fn configure(&self, config: &mut gst::BufferPoolConfigRef) -> Option<(Config, bool)> {
        let Some((Some(caps), size, min_buffers, max_buffers)) = config.params() else {
            gst::warning!(CAT, imp = self, "The configuration has no caps");
            return None;
        };
        let mut own = Config {
            size: size as usize,
            min_buffers,
            video: None,
        };
        let mut is_granted = true;
        let has = |option: &glib::GStr| config.has_option(option);
        let wants_meta = has(gst_video::BUFFER_POOL_OPTION_VIDEO_META);
        let wants_alignment = has(gst_video::BUFFER_POOL_OPTION_VIDEO_ALIGNMENT);
        if let Some(info) = VideoInfo::from_caps(&caps).ok().filter(|_| wants_meta) {
            let described = describe(&info);
            if !described.is_sound() {
                gst::warning!(CAT, imp = self, "No buffers for {caps}: they are too large");
                return None;
            }
            own.size = own.size.max(info.size());
            let mut layout = VideoLayout::from(&described);
            if let Some(alignment) = config.video_alignment().filter(|_| wants_alignment) {
                match aligned(&info, alignment, own.size) {
                    Ok((padded, size, alignment)) => {
                        config.set_video_alignment(&alignment);
                        (layout, own.size) = (padded, size);
                    }
                    Err(why) => {
                        gst::info!(CAT, imp = self, "No alignment for {caps}: {why}");
                        without_alignment(config);
                        is_granted = false;
                    }
                }
            }
            if let Err(why) = metas::check_layout(&layout, &info, own.size) {
                gst::warning!(CAT, imp = self, "No buffers for {caps}: {why}");
                return None;
            }
            own.video = Some((layout, info.format()));
        }
        let size = u32::try_from(own.size).ok()?;
        config.set_params(Some(&caps), size, min_buffers, max_buffers);
        gst::debug!(CAT, imp = self, "Buffers of {size} bytes for {caps}");
        Some((own, is_granted))
    }

    /// Returns the size of the buffers, and the layout of the planes of raw video in them.
    #[cfg(test)]
    pub(super) fn layout(&self) -> Option<(usize, VideoLayout)> {
        let config = self.state.config()?;
        Some((config.size, config.video?.0))
    }
}

#[glib::object_subclass]
impl ObjectSubclass for XmemBufferPool {
    const NAME: &'static str = "GstXmemBufferPool";
    type Type = super::XmemBufferPool;
    type ParentType = gst::BufferPool;
}

impl ObjectImpl for XmemBufferPool {}
impl GstObjectImpl for XmemBufferPool {}

impl BufferPoolImpl for XmemBufferPool {
    fn options() -> &'static [&'static str] {
        // GStreamer's constants for these names are not `&'static [&str]` in the bindings.
        &[
            "GstBufferPoolOptionVideoMeta",
            "GstBufferPoolOptionVideoAlignment",
        ]
    }

    /// Returns FALSE if upstream cannot have all that it asks for. The configuration then holds
    /// what upstream can have: upstream reads it back and decides.
    fn set_config(&self, config: &mut gst::BufferPoolConfigRef) -> bool {
        let own = self.configure(config);
        let is_granted = own.as_ref().map(|(_, is_granted)| *is_granted);
        // What `configure` left in `config` is in force from here on: GStreamer does not call this
        // again if upstream sets the configuration that the pool already has.
        self.state.set_config(own.map(|(own, _)| own));
        is_granted.is_some_and(|is_granted| self.parent_set_config(config) && is_granted)
    }

    fn start(&self) -> bool {
        self.state.start()
    }

    fn stop(&self) -> bool {
        self.state.stop();
        true
    }

    fn flush_start(&self) {
        self.state.set_owner_flushing(true);
    }

    fn flush_stop(&self) {
        self.state.set_owner_flushing(false);
    }

    fn acquire_buffer(
        &self,
        params: Option<&gst::BufferPoolAcquireParams>,
    ) -> Result<gst::Buffer, gst::FlowError> {
        let (mut buffer, config) = self.state.acquire(
            params,
            |frame, config| slot_buffer(frame, config.size),
            |config| system_buffer(config.size),
        )?;
        if let Some((layout, format)) = config.video {
            metas::add_layout(&layout, buffer.make_mut(), format).map_err(|error| {
                gst::error!(CAT, imp = self, "No video meta: {error}");
                gst::FlowError::Error
            })?;
        }
        Ok(buffer)
    }

    fn release_buffer(&self, buffer: gst::Buffer) {
        self.state.release(buffer);
    }
}

/// Returns a buffer of system memory, aligned for any upstream element.
fn system_buffer(size: usize) -> Result<gst::Buffer, gst::FlowError> {
    let params = gst::AllocationParams::new(gst::MemoryFlags::empty(), ALIGNMENT, 0, 0);
    let allocator = gst::Allocator::find(None).ok_or(gst::FlowError::Error)?;
    let memory = allocator.alloc(size, Some(&params));
    let memory = memory.map_err(|_| gst::FlowError::Error)?;
    let mut buffer = gst::Buffer::new();
    buffer.make_mut().append_memory(memory);
    Ok(buffer)
}

/// Returns the layout of the planes with this alignment, as GStreamer computes it, the size (at
/// least `size` bytes), and the alignment that GStreamer made of it. Some of these layouts cannot
/// be used: GStreamer pads as if every format had rows of bytes, but some have tiles, or pixels in
/// groups.
///
/// # Errors
/// The reason why there can be no buffers of this alignment.
fn aligned(
    info: &VideoInfo,
    mut alignment: VideoAlignment,
    size: usize,
) -> Result<(VideoLayout, usize, VideoAlignment), String> {
    let mut padded = info.clone();
    padded
        .align(&mut alignment)
        .map_err(|error| error.to_string())?;
    let layout = metas::aligned(VideoLayout::from(&describe(&padded)), &alignment);
    let size = size.max(padded.size());
    metas::check_layout(&layout, info, size).map_err(|why| why.to_string())?;
    Ok((layout, size, alignment))
}

/// Removes the option of an alignment from a configuration.
fn without_alignment(config: &mut gst::BufferPoolConfigRef) {
    let left = config
        .options()
        .filter(|option| *option != gst_video::BUFFER_POOL_OPTION_VIDEO_ALIGNMENT.as_str());
    let left = gst::Array::new(left.collect::<Vec<_>>());
    config.set("options", left);
}
