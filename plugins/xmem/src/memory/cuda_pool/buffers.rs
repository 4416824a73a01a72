//! What a pool of slots in CUDA memory has beside the fields of its parent: its configuration, and buffers
//! of it.

use std::sync::Arc;

use gst_video::VideoInfo;
use xmem_core::Publisher;
use xmem_core::cuda::CudaError;
use xmem_media::VideoLayout;

use crate::caps::describe;
use crate::cuda::memory::{alloc, picture};
use crate::cuda::{Context, Stream};
use crate::log::CAT;
use crate::memory::cuda_slot::slot_memory;
use crate::memory::kind::CapsMemory;
use crate::memory::poolstate::{OnFailure, PoolState, SlotConfig};
use crate::metas;

/// What a pool has beside the fields of its parent.
pub(crate) struct Inner {
    state: PoolState<Arc<Config>>,
    context: Context,
}

/// The buffers that upstream wants.
pub(super) struct Config {
    min_buffers: u32,
    /// What the caps say.
    info: VideoInfo,
    /// How GStreamer lays out such pictures in CUDA memory.
    picture: VideoInfo,
    layout: VideoLayout,
    /// The stream on which upstream writes buffers.
    stream: Option<Stream>,
}

impl SlotConfig for Arc<Config> {
    fn size(&self) -> usize {
        self.picture.size()
    }

    fn min_buffers(&self) -> u32 {
        self.min_buffers
    }
}

impl Inner {
    pub(super) fn new(
        context: &Context,
        publisher: &Arc<Publisher>,
        on_failure: &OnFailure,
    ) -> Inner {
        let inner = Inner {
            state: PoolState::default(),
            context: context.clone(),
        };
        inner.state.open(publisher, on_failure);
        inner
    }

    /// While the sink flushes, upstream does not wait for a slot: it gets other memory.
    pub(crate) fn set_sink_flushing(&self, flushing: bool) {
        self.state.set_sink_flushing(flushing);
    }

    /// Makes a stream of the context.
    ///
    /// # Errors
    /// Those of [`Context::new_stream`].
    pub(super) fn new_stream(&self) -> Result<Stream, CudaError> {
        self.context.new_stream()
    }

    /// Returns the state of the pool.
    pub(super) fn state(&self) -> &PoolState<Arc<Config>> {
        &self.state
    }

    /// Returns the configuration of the buffers, `None` if there can be no buffers of it.
    pub(super) fn configure(&self, config: &mut gst::BufferPoolConfigRef) -> Option<Config> {
        let (caps, _, min_buffers, max_buffers) = config.params()?;
        let caps = caps?;
        let memory = CapsMemory::of(caps.features(0)?);
        let info = VideoInfo::from_caps(&caps).ok()?;
        if memory != Ok(CapsMemory::Cuda) || !describe(&info).is_sound() {
            gst::warning!(
                CAT,
                "No buffers for {caps}: they are no pictures in CUDA memory"
            );
            return None;
        }
        let picture = picture(&self.context, &info);
        let picture = picture
            .inspect_err(|error| gst::warning!(CAT, "No buffers for {caps}: {error}"))
            .ok()?;
        let layout = VideoLayout::from(&describe(&picture));
        if let Err(why) = metas::check_layout(&layout, &info, picture.size()) {
            gst::warning!(CAT, "No buffers for {caps}: {why}");
            return None;
        }
        let size = u32::try_from(picture.size()).ok()?;
        config.set_params(Some(&caps), size, min_buffers, max_buffers);
        gst::debug!(CAT, "Buffers of {size} bytes of CUDA memory for {caps}");
        Some(Config {
            min_buffers,
            info,
            picture,
            layout,
            stream: Stream::of_config(self.context.library(), config),
        })
    }

    pub(super) fn acquire(
        &self,
        params: Option<&gst::BufferPoolAcquireParams>,
    ) -> Result<gst::Buffer, gst::FlowError> {
        let buffer_of = |memory: gst::Memory| {
            let mut buffer = gst::Buffer::new();
            buffer.make_mut().append_memory(memory);
            buffer
        };
        let (mut buffer, config) = self.state.acquire(
            params,
            |frame, config| {
                let stream = config.stream.as_ref();
                slot_memory(&self.context, stream, &config.picture, frame).map(buffer_of)
            },
            |config| {
                let memory = alloc(&self.context, config.stream.as_ref(), &config.info);
                memory.map(buffer_of).map_err(|error| {
                    gst::error!(CAT, "No buffer: {error}");
                    gst::FlowError::Error
                })
            },
        )?;
        let format = config.info.format();
        metas::add_layout(&config.layout, buffer.make_mut(), format).map_err(|error| {
            gst::error!(CAT, "No video meta: {error}");
            gst::FlowError::Error
        })?;
        Ok(buffer)
    }
}
