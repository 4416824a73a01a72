use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gst::buffer::BufferMetaForeachAction::{Keep, Remove};
use gst::subclass::prelude::*;

use super::super::record;

/// The maximum number of buffers kept: as many as a source usually has leases.
const MAX_IDLE: usize = 16;

#[derive(Default)]
pub struct XmemFramePool {
    idle: Mutex<Vec<gst::Buffer>>,
}

impl XmemFramePool {
    fn idle(&self) -> MutexGuard<'_, Vec<gst::Buffer>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[glib::object_subclass]
impl ObjectSubclass for XmemFramePool {
    const NAME: &'static str = "GstXmemFramePool";
    type Type = super::XmemFramePool;
    type ParentType = gst::BufferPool;
}

impl ObjectImpl for XmemFramePool {}
impl GstObjectImpl for XmemFramePool {}

impl BufferPoolImpl for XmemFramePool {
    fn acquire_buffer(
        &self,
        _params: Option<&gst::BufferPoolAcquireParams>,
    ) -> Result<gst::Buffer, gst::FlowError> {
        let idle = self.idle().pop();
        Ok(idle.unwrap_or_default())
    }

    /// Does nothing: `release_buffer` resets the buffer.
    fn reset_buffer(&self, _buffer: &mut gst::BufferRef) {}

    /// Gives the frame back at once, and keeps the buffer with its record.
    fn release_buffer(&self, mut buffer: gst::Buffer) {
        let Some(content) = buffer.get_mut() else {
            return;
        };
        content.remove_all_memory();
        content.foreach_meta_mut(|meta| {
            ControlFlow::Continue(if record::is_record(&meta) {
                Keep
            } else {
                Remove
            })
        });
        content.unset_flags(gst::BufferFlags::all());
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE {
            idle.push(buffer);
        }
    }
}
