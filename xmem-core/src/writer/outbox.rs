//! Frames that are written by work on a device: published, in their order, when that work is done. What is
//! said between them keeps its place.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Writer;
use super::outgoing::{Outgoing, Written};
use crate::cuda::completion::{self, Completions, Idle, Owner};
use crate::cuda::{Event, Work};
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
                if !written.is_void {
                    let published =
                        self.publish(written.index, &mut written.spill, &mut written.meta);
                    if published.is_err() {
                        self.count_unpublished();
                    }
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
    /// Publishes a slot when the work before it is done. Nothing waits for that, unless the driver has no
    /// event.
    ///
    /// # Errors
    /// Where the device has failed, the channel is closed, or there is no thread. The slot comes back; where
    /// it is not [done](Written::is_done), the work may still write it.
    pub(crate) fn publish_after(
        self: &Arc<Self>,
        work: &Work<'_>,
        mut written: Written,
    ) -> std::result::Result<(), (Error, Written)> {
        let recorded = self.check_open().and_then(|()| {
            let recorded = self.outbox.record(work).map(Some);
            // Without an event this thread has to wait.
            recorded.or_else(|error| work.wait().map(|()| None).map_err(|_| error))
        });
        let event = match recorded {
            Ok(event) => event,
            Err(error) => return Err((error, written)),
        };
        // As a rule the device has more to do. Where it is done, no other thread is needed.
        let is_done = || event.as_ref().map_or(Ok(true), Event::is_done);
        if self.outbox.is_idle() && matches!(is_done(), Ok(true)) {
            event.into_iter().for_each(|event| self.outbox.keep(event));
            written.is_done = true;
            if written.is_void {
                self.take_back(written);
                return Ok(());
            }
            return match self.publish(written.index, &mut written.spill, &mut written.meta) {
                Ok(_) => {
                    self.take_back(written);
                    Ok(())
                }
                Err(error) => Err((error, written)),
            };
        }
        let queued = completion::queue(self, event, Outgoing::Frame(written));
        queued.map_err(|refused| match refused.item {
            Outgoing::Frame(written) => (refused.reason, written),
            Outgoing::Event { .. } => unreachable!("a frame was queued"),
        })
    }

    /// Gives a slot back that was published, or is not, unless the producer still reads it.
    fn take_back(&self, mut written: Written) {
        if let Some(place) = written.spill.take() {
            self.return_spare(place);
        }
        let kept = written.kept.as_ref();
        if kept.is_none_or(|kept| kept.shared.leave()) {
            self.let_go(written.index);
        }
    }

    pub(super) fn check_open(&self) -> Result<()> {
        self.check_origin()?;
        if self.is_closed() {
            return Err(self.failure.error());
        }
        Ok(())
    }

    /// Waits until the frames before are published, for one that is written already.
    ///
    /// # Errors
    /// [`CudaError::OnCompletionThread`] on the thread that publishes them; where the channel is closed.
    pub(crate) fn await_outbox(&self) -> Result<()> {
        loop {
            match self.outbox.wait_idle(LAST_WORK) {
                Idle::Now => return Ok(()),
                Idle::TimedOut => self.check_open()?,
                Idle::Never => return Err(CudaError::OnCompletionThread.into()),
            }
        }
    }

    /// Queues what is said behind frames that wait for the device. False where it is said at once: there are
    /// none, or it overtakes frames.
    ///
    /// A flush makes these frames void. It comes after what was said between them, and does not wait for
    /// their work: a slot is taken back when its own work is done.
    pub(super) fn is_queued(self: &Arc<Self>, kind: EventKind, content: &[u8]) -> Result<bool> {
        if kind == EventKind::Urgent || self.outbox.is_idle() {
            return Ok(false);
        }
        if kind == EventKind::Flush {
            let is_frame = |item: &Outgoing| matches!(item, Outgoing::Frame(_));
            completion::replace(self, is_frame, |item| {
                if let Outgoing::Frame(written) = item
                    && !std::mem::replace(&mut written.is_void, true)
                {
                    self.count_unpublished();
                }
            })?;
        }
        let content = content.into();
        completion::queue(self, None, Outgoing::Event { kind, content })
            .map_err(|refused| refused.reason)?;
        Ok(true)
    }

    /// Lets go of the contexts of work that is done.
    pub(crate) fn forget_work(&self) {
        self.outbox.forget();
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

    fn count_unpublished(&self) {
        self.unpublished.fetch_add(1, Ordering::Relaxed);
    }
}
