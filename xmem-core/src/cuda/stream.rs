//! Work on a device: the streams that a caller puts it on, and the events that tell when it is done.
#![allow(unsafe_code)]

use std::any::Any;
use std::ffi::c_void;
use std::fmt;
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cudarc::driver::sys::{CUcontext, CUevent, CUstream};

use super::device::Device;
use super::driver::{Answer, EVENT_FLAGS};
use crate::error::CudaError;

type Result<T> = std::result::Result<T, CudaError>;

/// How long a thread looks for the end of work before it sleeps until then.
const SPIN: Duration = Duration::from_micros(50);

/// Work that a caller has put on a device: that of one stream, or all work of a context.
///
/// It names the work until the call that it is passed to. The event that this call makes needs the context
/// for longer, see [`owned_by`](Work::owned_by).
///
/// # Examples
///
/// ```
/// use xmem_core::cuda::{Device, Work};
///
/// # fn example() -> xmem_core::Result<()> {
/// let device = Device::get(0)?;
/// // The default stream of the primary context.
/// let work = Work::default_stream(&device);
/// # let _ = work;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Work<'a> {
    device: &'a Device,
    context: CUcontext,
    /// `None` for all streams of the context.
    stream: Option<CUstream>,
    owner: Option<&'a Owner>,
}

/// What keeps a context alive.
type Owner = Arc<dyn Any + Send + Sync>;

impl<'a> Work<'a> {
    /// The work on the default stream of the device's primary context, and on those that it waits for: all
    /// streams of that context that were not made with `CU_STREAM_NON_BLOCKING`.
    pub fn default_stream(device: &'a Device) -> Work<'a> {
        Work {
            device,
            context: device.primary(),
            stream: Some(null_mut()),
            owner: None,
        }
    }

    /// The work on a stream (`CUstream`, `cudaStream_t`) of the device's primary context.
    ///
    /// # Safety
    /// The stream is of that context, and is not destroyed while the value is used.
    pub unsafe fn on_stream(device: &'a Device, stream: *mut c_void) -> Work<'a> {
        Work {
            device,
            context: device.primary(),
            stream: Some(stream.cast()),
            owner: None,
        }
    }

    /// The work on a stream of another context (`CUcontext`).
    ///
    /// # Safety
    /// The context is one of the device, and the stream is of that context; neither is destroyed while the
    /// value is used. Nor is the context later, if it has no [owner](Work::owned_by), until the publisher or
    /// the subscriber and all its frames are gone: they keep events of it.
    pub unsafe fn in_context(
        device: &'a Device,
        context: *mut c_void,
        stream: *mut c_void,
    ) -> Work<'a> {
        Work {
            device,
            context: context.cast(),
            stream: Some(stream.cast()),
            owner: None,
        }
    }

    /// All work that was put on any stream of a context, for a caller that does not know the streams. A
    /// driver before CUDA 12.5 knows only those that the default stream waits for.
    ///
    /// # Safety
    /// The context is one of the device, and is not destroyed while the value is used. What
    /// [`in_context`](Work::in_context) says of later holds too.
    pub unsafe fn all_in_context(device: &'a Device, context: *mut c_void) -> Work<'a> {
        Work {
            device,
            context: context.cast(),
            stream: None,
            owner: None,
        }
    }

    /// Says what keeps the context alive. It is kept as long as events of the context are, for which the
    /// caller then need not keep the context. It may be dropped on any thread.
    #[must_use]
    pub fn owned_by(mut self, owner: &'a Arc<dyn Any + Send + Sync>) -> Work<'a> {
        self.owner = Some(owner);
        self
    }

    /// The device that the work is on.
    pub fn device(&self) -> &'a Device {
        self.device
    }

    /// An event that tells when the work that was put there until now is done. `spare` holds events that
    /// are used again.
    pub(crate) fn record(&self, spare: &mut Vec<Event>) -> Result<Event> {
        let at = spare.iter().position(|event| event.context == self.context);
        let event = match at {
            Some(at) => spare.swap_remove(at),
            None => {
                // Their contexts may be in use no more.
                spare.retain(|event| event.owner.is_none());
                Event::new(self)?
            }
        };
        let driver = self.device.driver();
        // SAFETY: the constructor's caller: the context is one of the device.
        let _current = unsafe { self.device.enter_context(self.context) }?;
        let recorded = match self.stream {
            // SAFETY: the stream is of the context, by the constructor's caller; so is the event.
            Some(stream) => unsafe { driver.record(event.event, stream) },
            // SAFETY: as above. The default stream waits for the blocking ones.
            None => unsafe {
                match driver.record_context(self.context, event.event) {
                    Some(recorded) => recorded,
                    None => driver.record(event.event, null_mut()),
                }
            },
        };
        recorded.map_err(failed("cuEventRecord"))?;
        Ok(event)
    }
}

impl Work<'_> {
    /// Waits until the work is done, where no event can be had for it.
    pub(crate) fn wait(&self) -> Result<()> {
        // SAFETY: the constructor's caller: the context is one of the device.
        let _current = unsafe { self.device.enter_context(self.context) }?;
        let driver = self.device.driver();
        if let Some(stream) = self.stream {
            // SAFETY: the stream is of the context, by the constructor's caller.
            unsafe { driver.wait_for_stream(stream) }.map_err(failed("cuStreamSynchronize"))
        } else {
            // SAFETY: it takes no argument.
            unsafe { driver.wait_for_context() }.map_err(failed("cuCtxSynchronize"))
        }
    }
}

impl fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work")
            .field("device", self.device)
            .field("context", &self.context)
            .field("stream", &self.stream)
            .finish()
    }
}

/// A point in the work of a context.
pub(crate) struct Event {
    event: CUevent,
    context: CUcontext,
    device: Device,
    /// Dropped after the event is destroyed.
    owner: Option<Owner>,
}

// SAFETY: events may be used on any thread.
unsafe impl Send for Event {}

impl Event {
    fn new(work: &Work<'_>) -> Result<Event> {
        let (device, context) = (work.device, work.context);
        // SAFETY: the context is one of the device, as `Work` says.
        let _current = unsafe { device.enter_context(context) }?;
        let mut event = null_mut();
        // SAFETY: it writes a handle, which the drop gives back.
        unsafe { device.driver().create_event(&mut event, EVENT_FLAGS) }
            .map_err(failed("cuEventCreate"))?;
        Ok(Event {
            event,
            context,
            device: device.clone(),
            owner: work.owner.cloned(),
        })
    }

    /// Whether the work before it is done.
    ///
    /// # Errors
    /// Where the device has failed: nothing of that context runs any more.
    pub(crate) fn is_done(&self) -> Result<bool> {
        // SAFETY: the event lives.
        match unsafe { self.device.driver().query(self.event) } {
            Ok(()) => Ok(true),
            Err(answer) if answer.is_not_ready() => Ok(false),
            Err(answer) => Err(answer.of("cuEventQuery")),
        }
    }

    /// Waits until the work before it is done: for a short time by looking, then asleep.
    ///
    /// # Errors
    /// As [`is_done`](Event::is_done).
    pub(crate) fn wait(&self) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < SPIN {
            if self.is_done()? {
                return Ok(());
            }
            std::hint::spin_loop();
        }
        // SAFETY: the event lives.
        let waited = unsafe { self.device.driver().wait(self.event) };
        waited.map_err(failed("cuEventSynchronize"))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if self.device.is_here() {
            // SAFETY: it was created once. The driver allows it before the work is done.
            let _ = unsafe { self.device.driver().destroy_event(self.event) };
        }
    }
}

fn failed(call: &'static str) -> impl FnOnce(Answer) -> CudaError {
    move |answer| answer.of(call)
}
