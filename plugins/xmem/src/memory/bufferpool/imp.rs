use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use gst::subclass::prelude::*;
use gst_video::prelude::*;
use gst_video::{VideoAlignment, VideoFormat, VideoInfo};
use xmem_core::{Canceller, Error, FrameMut, Publisher};
use xmem_media::VideoLayout;

use super::super::slot::slot_buffer;
use crate::caps::describe;
use crate::log::CAT;
use crate::metas;

/// The alignment of system memory, in GStreamer's form: a mask of the address bits that are 0.
const ALIGNMENT: usize = 127;

/// Hands out slots as buffers. The pool keeps no free buffers: the slots of released buffers go
/// back to the publisher, which knows when a slot can be written again.
#[derive(Default)]
pub struct XmemBufferPool {
    state: Mutex<State>,
}

/// Called with the reason why there is no slot: upstream only learns that there is none.
pub(crate) type OnFailure = Arc<dyn Fn(&Error) + Send + Sync>;

#[derive(Default)]
struct State {
    publisher: Weak<Publisher>,
    on_failure: Option<OnFailure>,
    canceller: Canceller,
    flushing: Flushing,
    /// `None` if the pool cannot make buffers of the configuration that was set last.
    config: Option<Config>,
    /// The buffer that was released last. The pool drops it when upstream next acquires a buffer:
    /// the sink releases a frame just before it publishes the next one.
    released: Option<gst::Buffer>,
    /// The number of threads that are acquiring a buffer.
    acquiring: u32,
}

/// The reasons to flush: while one is set, no thread waits for a buffer.
#[derive(Default)]
struct Flushing {
    /// Upstream, which owns the pool, has set it to flushing.
    owner: bool,
    /// The sink flushes.
    sink: bool,
}

#[derive(Clone, Default)]
struct Config {
    size: usize,
    min_buffers: u32,
    /// The layout of the planes of raw video, including padding, and the format.
    video: Option<(VideoLayout, VideoFormat)>,
}

impl super::XmemBufferPool {
    /// Creates a pool of a publisher's slots.
    pub(crate) fn new(publisher: &Arc<Publisher>, on_failure: &OnFailure) -> Self {
        let pool: Self = glib::Object::builder().build();
        let mut state = pool.imp().lock();
        state.publisher = Arc::downgrade(publisher);
        state.on_failure = Some(on_failure.clone());
        drop(state);
        pool
    }

    /// While the sink flushes, upstream does not wait for a slot: it gets system memory.
    pub(crate) fn set_sink_flushing(&self, flushing: bool) {
        self.imp().flush(|state| state.sink = flushing);
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
        let config = self.lock().config.clone()?;
        Some((config.size, config.video?.0))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports why upstream gets no buffer. Must not be called under the lock, because it calls the
    /// application.
    fn failed(&self, what: &str, error: &Error) {
        gst::error!(CAT, imp = self, "{what}: {error}");
        let on_failure = self.lock().on_failure.clone();
        if let Some(on_failure) = on_failure {
            on_failure(error);
        }
    }

    fn flush(&self, change: impl FnOnce(&mut Flushing)) {
        let mut state = self.lock();
        change(&mut state.flushing);
        let flushing = state.flushing.owner || state.flushing.sink;
        if flushing {
            state.canceller.cancel();
        } else {
            state.canceller.reset();
        }
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
        self.lock().config = own.map(|(own, _)| own);
        is_granted.is_some_and(|is_granted| self.parent_set_config(config) && is_granted)
    }

    /// Makes the slots in advance, so that no frame has to wait for that.
    fn start(&self) -> bool {
        let (publisher, config) = {
            let state = self.lock();
            (state.publisher.upgrade(), state.config.clone())
        };
        let Some((publisher, config)) = publisher.zip(config) else {
            return false;
        };
        // One slot more than upstream holds: for the newest frame, which stays available to clients
        // that join.
        match publisher.configure(config.size, config.min_buffers.max(1) + 1) {
            Ok(()) => true,
            Err(error) => {
                self.failed("Cannot make the slots", &error);
                false
            }
        }
    }

    fn stop(&self) -> bool {
        let released = self.lock().released.take();
        drop(released);
        true
    }

    fn flush_start(&self) {
        self.flush(|flushing| flushing.owner = true);
    }

    fn flush_stop(&self) {
        self.flush(|flushing| flushing.owner = false);
    }

    fn acquire_buffer(
        &self,
        params: Option<&gst::BufferPoolAcquireParams>,
    ) -> Result<gst::Buffer, gst::FlowError> {
        let (publisher, canceller, config, released) = {
            let mut state = self.lock();
            let config = state.config.clone().ok_or(gst::FlowError::NotNegotiated)?;
            state.acquiring += 1;
            let publisher = state.publisher.upgrade();
            let released = state.released.take();
            (publisher, state.canceller.clone(), config, released)
        };
        // Dropping the buffer gives its slot back. Not under the lock, because it wakes waiting
        // threads.
        drop(released);
        let frame = acquire(publisher.clone(), &canceller, config.size, params);
        let buffer = frame.and_then(|frame| slot_buffer(frame, config.size));
        self.lock().acquiring -= 1;
        let is_for_now = |error: &Error| match error {
            // The sink flushes or has stopped. Upstream learns that when it pushes the buffer, as
            // with any sink. If the pool returned no buffer, a decoder would report an error.
            Error::Cancelled | Error::Stopped => true,
            // Clients hold all slots that there is memory for. The sink may have a free slot when
            // the frame is written; if not, it drops the frame.
            Error::ResourceExhausted { .. } => {
                let slot_size = publisher.as_ref().and_then(|one| one.slot_size());
                slot_size.is_some_and(|slot_size| slot_size >= config.size)
            }
            _ => false,
        };
        let buffer = match buffer {
            Ok(buffer) => Ok(buffer),
            Err(Error::Cancelled) if self.lock().flushing.owner => Err(gst::FlowError::Flushing),
            // GStreamer's return value for a pool that has no buffer now (DONTWAIT).
            Err(Error::Exhausted { .. }) => Err(gst::FlowError::Eos),
            Err(error) if is_for_now(&error) => {
                gst::debug!(
                    CAT,
                    imp = self,
                    "{error}: returning a buffer of system memory"
                );
                system_buffer(config.size)
            }
            Err(error) => {
                self.failed("No slot", &error);
                Err(gst::FlowError::Error)
            }
        };
        let mut buffer = buffer?;
        if let Some((layout, format)) = config.video {
            metas::add_layout(&layout, buffer.make_mut(), format).map_err(|error| {
                gst::error!(CAT, imp = self, "No video meta: {error}");
                gst::FlowError::Error
            })?;
        }
        Ok(buffer)
    }

    fn release_buffer(&self, buffer: gst::Buffer) {
        let dropped = {
            let mut state = self.lock();
            match state.acquiring {
                0 => state.released.replace(buffer),
                // A waiting thread may need the slot of this buffer: drop it now.
                _ => Some(buffer),
            }
        };
        drop(dropped);
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

/// Returns a slot to write. Waits for one, unless the parameters say DONTWAIT.
fn acquire(
    publisher: Option<Arc<Publisher>>,
    canceller: &Canceller,
    size: usize,
    params: Option<&gst::BufferPoolAcquireParams>,
) -> xmem_core::Result<FrameMut> {
    let dont_wait = params.is_some_and(|params| {
        let flags = params.flags();
        flags.contains(gst::BufferPoolAcquireFlags::DONTWAIT)
    });
    let timeout = dont_wait.then_some(Duration::ZERO);
    let publisher = publisher.ok_or(Error::Stopped)?;
    publisher.acquire_timeout(size, timeout, &canceller.begin()?)
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
