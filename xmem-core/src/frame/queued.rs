//! Slots that a device writes: passed on, and published or given back when its work is done.

use std::any::Any;
use std::sync::Arc;

use super::written::{FrameMut, Unpublished};
use crate::cuda::Work;
use crate::lease::SlotIndex;
use crate::pool::KeepAlive;
use crate::writer::Writer;
use crate::writer::outgoing::{Kept, SharedSlot, Written};

impl FrameMut {
    /// Publishes the whole payload when the device has done `work`, in which the frame is written. Nothing
    /// waits for that here: the slot goes to a thread, which publishes frames in the order in which they
    /// were passed to this. Events that are sent after this call come after the frame. Only where the driver
    /// has no event left does this call wait for the work.
    ///
    /// # Errors
    /// [`Error::Cuda`](crate::Error::Cuda) where the device has failed; otherwise as
    /// [`publish_range`](FrameMut::publish_range). The slot comes back with the error. The work may still write it: where the frame is dropped then, its
    /// slot is not used again. A caller that knows that the work is done publishes it.
    pub fn publish_after(self, work: &Work<'_>) -> std::result::Result<(), Unpublished> {
        self.hand_over(work, false, None)
    }

    /// As [`publish_after`](FrameMut::publish_after), for a caller whose work reads something, or that reads
    /// the slot for longer than the work takes. `keep_alive` is dropped when the work is done, on any
    /// thread; a buffer that the frame is copied from, for example. The slot is not used for another frame
    /// before the result is dropped.
    ///
    /// # Errors
    /// As [`publish_after`](FrameMut::publish_after). `keep_alive` is dropped.
    pub fn publish_after_with(
        self,
        work: &Work<'_>,
        keep_alive: impl Any + Send,
    ) -> std::result::Result<QueuedSlot, Unpublished> {
        let (writer, index) = (self.held.writer.clone(), self.held.index);
        let keep_alive = KeepAlive::new(keep_alive, writer.failure.clone());
        let shared = SharedSlot::default();
        let kept = Kept {
            keep_alive,
            shared: shared.clone(),
        };
        self.hand_over(work, false, Some(Box::new(kept)))?;
        Ok(QueuedSlot {
            writer,
            index,
            shared,
        })
    }

    /// Gives the slot back when the device has done `work`, which may still write it. No client sees it.
    ///
    /// # Errors
    /// As [`publish_after`](FrameMut::publish_after).
    pub fn discard_after(self, work: &Work<'_>) -> std::result::Result<(), Unpublished> {
        self.hand_over(work, true, None)
    }

    fn hand_over(
        mut self,
        work: &Work<'_>,
        is_void: bool,
        kept: Option<Box<Kept>>,
    ) -> std::result::Result<(), Unpublished> {
        let unpublished = |frame, reason| Unpublished {
            frame: Box::new(frame),
            reason,
        };
        // Until it has gone.
        self.held.may_be_written = true;
        if let Err(reason) = self.describe(0, self.len) {
            return Err(unpublished(self, reason));
        }
        let written = Written {
            index: self.held.index,
            spill: self.spill.take(),
            meta: Box::new(self.meta),
            is_void,
            is_done: false,
            kept,
        };
        match self.held.writer.publish_after(work, written) {
            Ok(()) => {
                self.held.has_gone = true;
                Ok(())
            }
            Err((reason, written)) => {
                self.spill = written.spill;
                self.held.may_be_written = !written.is_done;
                Err(unpublished(self, reason))
            }
        }
    }
}

/// A frame that is published when a device has written it, and that the producer still reads: as long as
/// this lives, the slot is not taken back for another frame.
pub struct QueuedSlot {
    writer: Arc<Writer>,
    index: SlotIndex,
    shared: SharedSlot,
}

impl Drop for QueuedSlot {
    fn drop(&mut self) {
        if self.shared.leave() {
            self.writer.let_go(self.index);
        }
    }
}

impl std::fmt::Debug for QueuedSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueuedSlot")
            .field("slot", &self.index.0)
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<QueuedSlot>();
};
