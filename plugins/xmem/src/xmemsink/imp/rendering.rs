//! Publishes the buffers that the base class renders.

use std::sync::atomic::Ordering;

use gst::subclass::prelude::*;
use gst_base::prelude::*;
use xmem_core::Error;

use super::{Run, XmemSink};
use crate::errors;
use crate::log::CAT;
use crate::timestamps::TimesInPause;
use crate::xmemsink::preroll;
use crate::xmemsink::stream::{NotPublished, Stream};

impl XmemSink {
    /// Publishes a buffer, as `render()` does: after a pause that has interrupted it, too.
    pub(super) fn publish_rendered(
        &self,
        buffer: &gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        loop {
            // The application may have changed a property during a pause.
            let run = self.run().ok_or(gst::FlowError::Flushing)?;
            let stream = &run.stream;
            match self.publish(&run, buffer) {
                Ok(()) => {
                    self.compare_size(&run);
                    return Ok(gst::FlowSuccess::Ok);
                }
                Err(NotPublished::Failed(Error::Cancelled)) => {
                    gst::debug!(CAT, imp = self, "Interrupted");
                    self.set_owed(stream, buffer);
                    // A flush ends the wait here. After a pause, the frame is published when the
                    // sink plays again.
                    let wanted = || stream.canceller.is_cancelled();
                    preroll::wait_to_go_on(&*self.obj(), buffer, wanted)?;
                }
                Err(NotPublished::Failed(error)) => return self.go_on_after(stream, &error),
                Err(NotPublished::Misfit(reason)) => return Err(self.refuse(&reason)),
            }
        }
    }

    /// Waits for a client if wait-for-connection is set, then publishes.
    fn publish(
        &self,
        Run { stream, settings }: &Run,
        buffer: &gst::Buffer,
    ) -> Result<(), NotPublished> {
        let obj = self.obj();
        let is_paused = self.is_paused();
        if stream.still.is_published(buffer, is_paused) {
            return Ok(());
        }
        // Begin while the PREROLL_LOCK is held. What ends this wait changes the state under that
        // lock, or later, so it cannot be missed.
        let cancellation = stream.canceller.begin()?;
        let in_pause = is_paused.then(|| TimesInPause::new(&*obj, buffer));
        let mut locked = stream.streaming();
        let checked = locked.streaming.current.check(buffer);
        checked.map_err(NotPublished::Misfit)?;
        let times = stream.times(&mut locked, obj.upcast_ref(), buffer, in_pause);
        preroll::without_lock(&*obj, move || {
            // Unlocked before the PREROLL_LOCK is taken again.
            let mut locked = locked;
            if settings.wait_for_connection {
                stream.wait_for_client(&cancellation)?;
            }
            stream.publish(&mut locked, buffer, times, &cancellation)
        })?;
        if is_paused {
            // A step has ended: the base class prerolls this buffer and then renders it again.
            stream.still.set_published(buffer);
        }
        Ok(())
    }

    /// Posts an error for a buffer that does not match its caps.
    pub(super) fn refuse(&self, reason: &str) -> gst::FlowError {
        gst::element_imp_error!(self, gst::StreamError::Format, ("{reason}"));
        gst::FlowError::Error
    }

    /// Decides whether the stream goes on after a frame that was not published. Not for an
    /// interruption.
    pub(super) fn go_on_after(
        &self,
        stream: &Stream,
        error: &Error,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        match error {
            Error::Stopped => Err(gst::FlowError::Flushing),
            // Drop this frame: the next frame may be smaller, or there may be more memory by then.
            Error::Exhausted { .. } | Error::ResourceExhausted { .. } if !stream.is_stuck() => {
                if stream.counters.drop_for(error) {
                    gst::element_imp_warning!(
                        self,
                        gst::ResourceError::NoSpaceLeft,
                        ("Dropped a frame: {}", errors::text(error)),
                        ["{error:?}"]
                    );
                }
                Ok(gst::FlowSuccess::Ok)
            }
            error => {
                self.post_error_message(errors::message(error, gst::ResourceError::Write));
                Err(gst::FlowError::Error)
            }
        }
    }

    /// Warns if there is more memory than shm-size, which does not limit it.
    fn compare_size(&self, Run { stream, settings }: &Run) {
        let is_due = &self.size_is_due;
        if !is_due.load(Ordering::Relaxed) || !is_due.swap(false, Ordering::Relaxed) {
            return;
        }
        let bytes = stream.publisher.stats().bytes;
        if let Some(note) = settings.habits.size_note(bytes) {
            note.post(&*self.obj());
        }
    }
}
