//! Frames that are written by work on a device: published, in their order, when that work is done. What is
//! said between them keeps its place.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Writer;
use super::outgoing::{Outgoing, Written};
use crate::cuda::Work;
use crate::cuda::completion::{self, Completions, Owner};
use crate::error::{CudaError, Error, Result};
use crate::event::EventKind;

/// How long a publisher that is closed waits for work on the device. Frames that are not written by then are
/// not published.
const LAST_WORK: Duration = Duration::from_secs(1);

impl Owner for Writer {
    type Item = Outgoing;

    fn completions(&self) -> &Completions<Outgoing> {
        &self.outbox
    }

    fn complete(&self, item: Outgoing, work: std::result::Result<(), CudaError>) {
        if let Err(error) = work {
            // The device does nothing more for this process.
            self.fail(format!("the device has failed: {error}"));
        }
        match item {
            Outgoing::Frame(mut written) => {
                let is_published = !written.is_void
                    && self
                        .publish(written.index, &mut written.spill, &mut written.meta)
                        .is_ok();
                if !is_published {
                    self.unpublished.fetch_add(1, Ordering::Relaxed);
                }
                self.take_back(written);
            }
            Outgoing::Event { kind, content } => {
                // Where there is no memory for it, the channel can't go on: its frames would be
                // misunderstood.
                if let Err(error) = self.say_now(kind, &content) {
                    self.fail(format!("saying something after a frame: {error}"));
                }
            }
        }
    }
}

impl Writer {
    /// Publishes a slot when the work before it is done. Nothing waits for that.
    ///
    /// # Errors
    /// Where the device has failed, the channel is closed, or there is no thread. The slot comes back.
    pub(crate) fn publish_after(
        self: &Arc<Self>,
        work: &Work<'_>,
        mut written: Written,
    ) -> std::result::Result<(), (Error, Written)> {
        let event = match self.check_open().and_then(|()| self.outbox.record(work)) {
            Ok(event) => event,
            Err(error) => return Err((error, written)),
        };
        // As a rule the device has more to do. Where it is done, no other thread is needed.
        if !written.is_void && self.outbox.is_idle() && matches!(event.is_done(), Ok(true)) {
            self.outbox.keep(event);
            return match self.publish(written.index, &mut written.spill, &mut written.meta) {
                Ok(_) => {
                    self.take_back(written);
                    Ok(())
                }
                Err(error) => Err((error, written)),
            };
        }
        let queued = completion::queue(self, Some(event), Outgoing::Frame(written));
        queued.map_err(|refused| match refused.item {
            Outgoing::Frame(written) => (refused.reason, written),
            Outgoing::Event { .. } => unreachable!("a frame was queued"),
        })
    }

    /// Gives a slot back that was published, or is not.
    fn take_back(&self, written: Written) {
        if let Some(place) = written.spill {
            self.return_spare(place);
        }
        self.let_go(written.index);
    }

    pub(super) fn check_open(&self) -> Result<()> {
        self.check_origin()?;
        if self.is_closed() {
            return Err(self.failure.error());
        }
        Ok(())
    }

    /// Waits until the frames before are published, for one that is written already.
    pub(crate) fn await_outbox(&self) -> Result<()> {
        while !self.outbox.wait_idle(LAST_WORK) {
            self.check_open()?;
        }
        Ok(())
    }

    /// Queues what is said behind frames that wait for the device. False where there are none: then it is
    /// said at once. After a flush these frames are void, and what was said between them is said before it.
    pub(super) fn is_queued(self: &Arc<Self>, kind: EventKind, content: &[u8]) -> Result<bool> {
        if self.outbox.is_idle() {
            return Ok(false);
        }
        if kind == EventKind::Flush {
            self.outbox.change(|item| {
                if let Outgoing::Frame(written) = item {
                    written.is_void = true;
                }
            });
        }
        let content = content.into();
        completion::queue(self, None, Outgoing::Event { kind, content })
            .map_err(|refused| refused.reason)?;
        Ok(true)
    }

    /// Publishes what is written within a short time, and gives up the rest.
    pub(super) fn close_outbox(&self) {
        self.outbox.wait_idle(LAST_WORK);
        self.outbox.close();
    }

    /// How many frames and events wait for the device.
    pub(crate) fn pending(&self) -> usize {
        self.outbox.len()
    }
}
