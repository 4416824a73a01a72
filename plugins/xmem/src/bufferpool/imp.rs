use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use gst::glib;
use gst::subclass::prelude::*;
use gst_video::prelude::*;
use gst_video::{VideoAlignment, VideoFormat, VideoFrameFlags, VideoInfo};
use xmem_core::{Canceller, Error, FrameMut, Publisher};

use crate::CAT;
use crate::allocator::slot_buffer;
use crate::caps::is_sound;
use crate::metas::Layout;

/// Of memory that is no slot: as GStreamer has it, the bits that are 0 in its address.
const ALIGNMENT: usize = 127;

/// Hands out slots as buffers. It keeps none itself: what upstream has dropped goes back to the
/// publisher, which knows when a slot can be written again.
#[derive(Default)]
pub struct XmemBufferPool {
    state: Mutex<State>,
}

/// Is told why there is no slot: upstream only learns that there is none.
pub(crate) type OnFailure = Arc<dyn Fn(&Error) + Send + Sync>;

#[derive(Default)]
struct State {
    publisher: Weak<Publisher>,
    on_failure: Option<OnFailure>,
    canceller: Canceller,
    flushing: Flushing,
    /// `None` where there can be no buffers as they were asked for.
    config: Option<Config>,
    /// Dropped by upstream and the sink, and by us when upstream next wants a buffer: the sink
    /// drops a frame in the moment before it publishes the next one.
    released: Option<gst::Buffer>,
    /// Threads that want a buffer now.
    acquiring: u32,
}

/// Who wants nobody to wait for a buffer.
#[derive(Default)]
struct Flushing {
    owner: bool,
    sink: bool,
}

#[derive(Clone, Default)]
struct Config {
    size: usize,
    min_buffers: u32,
    /// Where the planes of raw video lie, padding included, and its format.
    video: Option<(Layout, VideoFormat)>,
}

impl super::XmemBufferPool {
    /// A pool on a publisher's slots.
    pub(crate) fn new(publisher: &Arc<Publisher>, on_failure: &OnFailure) -> Self {
        let pool: Self = glib::Object::builder().build();
        let mut state = pool.imp().lock();
        state.publisher = Arc::downgrade(publisher);
        state.on_failure = Some(on_failure.clone());
        drop(state);
        pool
    }

    /// Ends upstream's waits for a slot, for as long as the sink flushes: it gets other memory.
    pub(crate) fn set_sink_flushing(&self, flushing: bool) {
        self.imp().flush(|state| state.sink = flushing);
    }
}

impl XmemBufferPool {
    /// What a configuration comes to, and whether it is all that was asked for; `None` where there can
    /// be no buffers.
    fn configure(&self, config: &mut gst::BufferPoolConfigRef) -> Option<(Config, bool)> {
        let Some((Some(caps), size, min_buffers, max_buffers)) = config.params() else {
            gst::warning!(CAT, imp = self, "A configuration without caps");
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
            if !is_sound(&info) {
                gst::warning!(CAT, imp = self, "No buffers for {caps}: they are too large");
                return None;
            }
            own.size = own.size.max(info.size());
            let mut layout = Layout::of_info(&info, VideoFrameFlags::empty());
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
            if let Err(why) = layout.check(&info, own.size) {
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

    /// The size of the buffers, and where the planes of raw video lie in them.
    #[cfg(test)]
    pub(super) fn layout(&self) -> Option<(usize, Layout)> {
        let config = self.lock().config.clone()?;
        Some((config.size, config.video?.0))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells why upstream gets nothing. Not under the lock: it tells the application.
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
        match flushing {
            true => state.canceller.cancel(),
            false => state.canceller.reset(),
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
        // GStreamer's names for them are static, but its bindings' are not `&'static [&str]`.
        &[
            "GstBufferPoolOptionVideoMeta",
            "GstBufferPoolOptionVideoAlignment",
        ]
    }

    /// Answers FALSE where upstream can't have all that it asks for, and then leaves in the configuration
    /// what it can have: it reads that back, and decides.
    fn set_config(&self, config: &mut gst::BufferPoolConfigRef) -> bool {
        let own = self.configure(config);
        let is_granted = own.as_ref().map(|(_, is_granted)| *is_granted);
        // What was left is in force already: GStreamer does not ask again where nothing changes.
        self.lock().config = own.map(|(own, _)| own);
        is_granted.is_some_and(|is_granted| self.parent_set_config(config) && is_granted)
    }

    /// Makes the slots, so that no frame has to.
    fn start(&self) -> bool {
        let (publisher, config) = {
            let state = self.lock();
            (state.publisher.upgrade(), state.config.clone())
        };
        let Some((publisher, config)) = publisher.zip(config) else {
            return false;
        };
        // One more than upstream holds: the newest frame, for clients to come.
        match publisher.configure(config.size, config.min_buffers.max(1) + 1) {
            Ok(()) => true,
            Err(error) => {
                self.failed("Can't make the slots", &error);
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
        // The end of its memory gives the slot back; not under the lock, for it wakes who waits.
        drop(released);
        let frame = acquire(publisher.clone(), &canceller, config.size, params);
        self.lock().acquiring -= 1;
        let is_for_now = |error: &Error| match error {
            // The sink flushes, or has stopped. Upstream learns that when it pushes the buffer, as from any
            // sink: a decoder reports an error where its pool has no buffer.
            Error::Cancelled | Error::Stopped => true,
            // Clients hold those that there is memory for. The sink may have one again by the time that
            // the frame is written, or drops it.
            Error::ResourceExhausted { .. } => {
                let slot_size = publisher.as_ref().map(|one| one.slot_size());
                slot_size.is_some_and(|slot_size| slot_size >= config.size)
            }
            _ => false,
        };
        let buffer = match frame {
            Ok(frame) => Ok(slot_buffer(frame, config.size)),
            Err(Error::Cancelled) if self.lock().flushing.owner => Err(gst::FlowError::Flushing),
            // GStreamer's word for a pool that has nothing now.
            Err(Error::Exhausted { .. }) => Err(gst::FlowError::Eos),
            Err(error) if is_for_now(&error) => {
                gst::debug!(CAT, imp = self, "{error}: a buffer of system memory");
                system_buffer(config.size)
            }
            Err(error) => {
                self.failed("No slot", &error);
                Err(gst::FlowError::Error)
            }
        };
        let mut buffer = buffer?;
        if let Some((layout, format)) = config.video {
            layout.add(buffer.make_mut(), format).map_err(|error| {
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
                // Whose turn may have come with just this slot.
                _ => Some(buffer),
            }
        };
        drop(dropped);
    }
}

/// A buffer that is no slot, aligned as any upstream wants it.
fn system_buffer(size: usize) -> Result<gst::Buffer, gst::FlowError> {
    let params = gst::AllocationParams::new(gst::MemoryFlags::empty(), ALIGNMENT, 0, 0);
    let allocator = gst::Allocator::find(None).ok_or(gst::FlowError::Error)?;
    let memory = allocator.alloc(size, Some(&params));
    let memory = memory.map_err(|_| gst::FlowError::Error)?;
    let mut buffer = gst::Buffer::new();
    buffer.make_mut().append_memory(memory);
    Ok(buffer)
}

/// A slot to write, as the parameters say: at once, or when there is one.
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
    let patience = dont_wait.then_some(Duration::ZERO);
    let publisher = publisher.ok_or(Error::Stopped)?;
    publisher.acquire_timeout(size, patience, &canceller.begin()?)
}

/// Where the planes lie with this alignment, as GStreamer makes it, and so many bytes or more. Not all that
/// GStreamer makes can be used: it pads as if there were rows of bytes where a format has tiles, or
/// pixels in groups.
///
/// # Errors
/// Why there can be no such buffers.
fn aligned(
    info: &VideoInfo,
    mut alignment: VideoAlignment,
    size: usize,
) -> Result<(Layout, usize, VideoAlignment), String> {
    let mut padded = info.clone();
    padded
        .align(&mut alignment)
        .map_err(|error| error.to_string())?;
    let layout = Layout::of_info(&padded, VideoFrameFlags::empty()).aligned(&alignment);
    let size = size.max(padded.size());
    layout.check(info, size).map_err(|why| why.to_string())?;
    Ok((layout, size, alignment))
}

/// Takes the option of an alignment out of a configuration.
fn without_alignment(config: &mut gst::BufferPoolConfigRef) {
    let left = config
        .options()
        .filter(|option| *option != gst_video::BUFFER_POOL_OPTION_VIDEO_ALIGNMENT.as_str());
    let left = gst::Array::new(left.collect::<Vec<_>>());
    config.set("options", left);
}
