//! What the pools of slots share: buffers that were released, threads that wait for a slot, and what happens
//! if there is none.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use xmem_core::{Canceller, Error, FrameMut, Publisher};

use crate::log::CAT;

/// Called with the reason why there is no slot: upstream only learns that there is none.
pub(crate) type OnFailure = Arc<dyn Fn(&Error) + Send + Sync>;

/// The state of a pool whose buffers have the configuration `C`. The pool keeps no free buffers: the slots
/// of released buffers go back to the publisher, which knows when a slot can be written again.
pub(super) struct PoolState<C> {
    state: Mutex<State<C>>,
}

struct State<C> {
    publisher: Weak<Publisher>,
    on_failure: Option<OnFailure>,
    canceller: Canceller,
    flushing: Flushing,
    /// `None` if the pool cannot make buffers of the configuration that was set last.
    config: Option<C>,
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

impl<C> Default for PoolState<C> {
    fn default() -> Self {
        PoolState {
            state: Mutex::new(State {
                publisher: Weak::default(),
                on_failure: None,
                canceller: Canceller::default(),
                flushing: Flushing::default(),
                config: None,
                released: None,
                acquiring: 0,
            }),
        }
    }
}

/// What a configuration says of the slots that buffers need.
pub(super) trait SlotConfig: Clone {
    /// The bytes of a slot.
    fn size(&self) -> usize;
    /// The number of buffers that upstream holds at least.
    fn min_buffers(&self) -> u32;
}

impl<C: SlotConfig> PoolState<C> {
    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets whose slots the pool has.
    pub(super) fn open(&self, publisher: &Arc<Publisher>, on_failure: &OnFailure) {
        let mut state = self.lock();
        state.publisher = Arc::downgrade(publisher);
        state.on_failure = Some(on_failure.clone());
    }

    /// Returns the configuration that was set last, if there can be buffers of it.
    #[cfg(test)]
    pub(super) fn config(&self) -> Option<C> {
        self.lock().config.clone()
    }

    pub(super) fn set_config(&self, config: Option<C>) {
        // Dropped without the lock.
        let before = std::mem::replace(&mut self.lock().config, config);
        drop(before);
    }

    /// Reports why upstream gets no buffer. Must not be called under the lock, because it calls the
    /// application.
    fn failed(&self, what: &str, error: &Error) {
        gst::error!(CAT, "{what}: {error}");
        let on_failure = self.lock().on_failure.clone();
        if let Some(on_failure) = on_failure {
            on_failure(error);
        }
    }

    /// While the sink flushes, upstream does not wait for a slot: it gets other memory.
    pub(super) fn set_sink_flushing(&self, flushing: bool) {
        self.flush(|state| state.sink = flushing);
    }

    /// Upstream has set its pool to flushing, or has ended that.
    pub(super) fn set_owner_flushing(&self, flushing: bool) {
        self.flush(|state| state.owner = flushing);
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

    /// Makes the slots in advance, so that no frame has to wait for that.
    pub(super) fn start(&self) -> bool {
        let (publisher, config) = {
            let state = self.lock();
            (state.publisher.upgrade(), state.config.clone())
        };
        let Some((publisher, config)) = publisher.zip(config) else {
            return false;
        };
        // One slot more than upstream holds: for the newest frame, which stays available to clients
        // that join.
        match publisher.configure(config.size(), config.min_buffers().max(1) + 1) {
            Ok(()) => true,
            Err(error) => {
                self.failed("Cannot make the slots", &error);
                false
            }
        }
    }

    /// Drops the buffer that was released last.
    pub(super) fn stop(&self) {
        let released = self.lock().released.take();
        drop(released);
    }

    /// Returns a buffer that `make` makes of a slot. `other` makes one of other memory, for upstream to
    /// write where there is no slot now.
    pub(super) fn acquire(
        &self,
        params: Option<&gst::BufferPoolAcquireParams>,
        make: impl FnOnce(FrameMut, &C) -> xmem_core::Result<gst::Buffer>,
        other: impl FnOnce(&C) -> Result<gst::Buffer, gst::FlowError>,
    ) -> Result<(gst::Buffer, C), gst::FlowError> {
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
        let size = config.size();
        let frame = acquire(publisher.clone(), &canceller, size, params);
        let buffer = frame.and_then(|frame| make(frame, &config));
        self.lock().acquiring -= 1;
        let is_for_now = |error: &Error| match error {
            // The sink flushes or has stopped. Upstream learns that when it pushes the buffer, as
            // with any sink. If the pool returned no buffer, a decoder would report an error.
            Error::Cancelled | Error::Stopped => true,
            // Another stream goes to the sink now, whose frames are in memory of another kind: behind a
            // funnel, for example.
            Error::WrongStorage(_) => true,
            // Clients hold all slots that there is memory for. The sink may have a free slot when
            // the frame is written; if not, it drops the frame.
            Error::ResourceExhausted { .. } => {
                let slot_size = publisher.as_ref().and_then(|one| one.slot_size());
                slot_size.is_some_and(|slot_size| slot_size >= size)
            }
            _ => false,
        };
        let buffer = match buffer {
            Ok(buffer) => buffer,
            Err(Error::Cancelled) if self.lock().flushing.owner => {
                return Err(gst::FlowError::Flushing);
            }
            // GStreamer's return value for a pool that has no buffer now (DONTWAIT).
            Err(Error::Exhausted { .. }) => return Err(gst::FlowError::Eos),
            Err(error) if is_for_now(&error) => {
                gst::debug!(CAT, "{error}: returning a buffer of other memory");
                other(&config)?
            }
            Err(error) => {
                self.failed("No slot", &error);
                return Err(gst::FlowError::Error);
            }
        };
        Ok((buffer, config))
    }

    /// Takes a buffer back.
    pub(super) fn release(&self, buffer: gst::Buffer) {
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
