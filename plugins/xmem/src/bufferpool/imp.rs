use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use gst::glib;
use gst::subclass::prelude::*;
use gst_video::prelude::*;
use gst_video::{VideoAlignment, VideoFrameFlags, VideoInfo, VideoMeta};
use xmem_core::{Canceller, Error, FrameMut, Publisher};

use crate::CAT;
use crate::allocator::slot_buffer;

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
    config: Config,
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
    video: Option<Video>,
}

#[derive(Clone)]
struct Video {
    /// Where the planes are, padding included; width and height are the picture's.
    info: VideoInfo,
    alignment: Option<VideoAlignment>,
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

    /// Ends upstream's waits for a slot, for as long as the sink flushes.
    pub(crate) fn set_sink_flushing(&self, flushing: bool) {
        self.imp().flush(|state| state.sink = flushing);
    }
}

impl XmemBufferPool {
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

    fn set_config(&self, config: &mut gst::BufferPoolConfigRef) -> bool {
        let Some((Some(caps), size, min_buffers, max_buffers)) = config.params() else {
            gst::warning!(CAT, imp = self, "A configuration without caps");
            return false;
        };
        let mut own = Config {
            size: size as usize,
            min_buffers,
            video: None,
        };
        let wants_meta = config.has_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META.as_ref());
        if let Some(mut info) = VideoInfo::from_caps(&caps).ok().filter(|_| wants_meta) {
            let alignment = config
                .has_option(gst_video::BUFFER_POOL_OPTION_VIDEO_ALIGNMENT.as_ref())
                .then(|| config.video_alignment())
                .flatten();
            let alignment = match alignment {
                None => None,
                Some(mut alignment) => {
                    if let Err(error) = info.align(&mut alignment) {
                        gst::warning!(CAT, imp = self, "Can't align {caps}: {error}");
                        return false;
                    }
                    config.set_video_alignment(&alignment);
                    Some(alignment)
                }
            };
            own.size = own.size.max(info.size());
            own.video = Some(Video { info, alignment });
        }
        let Ok(size) = u32::try_from(own.size) else {
            return false;
        };
        config.set_params(Some(&caps), size, min_buffers, max_buffers);
        gst::debug!(CAT, imp = self, "Buffers of {size} bytes for {caps}");
        self.lock().config = own;
        self.parent_set_config(config)
    }

    /// Makes the slots, so that no frame has to.
    fn start(&self) -> bool {
        let (publisher, config) = {
            let state = self.lock();
            (state.publisher.upgrade(), state.config.clone())
        };
        let Some(publisher) = publisher else {
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
            state.acquiring += 1;
            let publisher = state.publisher.upgrade();
            let released = state.released.take();
            (
                publisher,
                state.canceller.clone(),
                state.config.clone(),
                released,
            )
        };
        // The end of its memory gives the slot back; not under the lock, for it wakes who waits.
        drop(released);
        let frame = acquire(publisher, &canceller, config.size, params);
        self.lock().acquiring -= 1;
        let frame = frame.map_err(|error| match error {
            // The sink has stopped: upstream will stop too, or ask for another pool.
            Error::Cancelled | Error::Stopped => gst::FlowError::Flushing,
            // GStreamer's word for a pool that has nothing now.
            Error::Exhausted { .. } => gst::FlowError::Eos,
            error => {
                self.failed("No slot", &error);
                gst::FlowError::Error
            }
        })?;
        let mut buffer = slot_buffer(frame, config.size);
        if let Some(video) = &config.video {
            add_video_meta(buffer.make_mut(), video).map_err(|error| {
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
    publisher.acquire_cancellable(size, patience, &canceller.begin()?)
}

fn add_video_meta(buffer: &mut gst::BufferRef, video: &Video) -> Result<(), glib::BoolError> {
    let info = &video.info;
    let mut meta = VideoMeta::add_full(
        buffer,
        VideoFrameFlags::empty(),
        info.format(),
        info.width(),
        info.height(),
        info.offset(),
        info.stride(),
    )?;
    match &video.alignment {
        Some(alignment) => meta.set_alignment(alignment),
        None => Ok(()),
    }
}
