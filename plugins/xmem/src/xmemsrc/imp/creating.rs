//! Makes the buffers that the base class pushes.

use std::time::Duration;

use gst::prelude::*;
use gst::subclass::prelude::*;
use xmem_core::{Error, Frame};

use super::XmemSrc;
use crate::log::CAT;
use crate::memory::usage::usage;
use crate::xmemsrc::received::{NotPushed, Received};
use crate::xmemsrc::receiver::Receiver;

impl XmemSrc {
    /// Returns the next buffer. Events that precede it have been pushed.
    pub(super) fn next(&self, receiver: &mut Receiver) -> Result<gst::Buffer, gst::FlowError> {
        let (timeout, on_disconnect) = {
            let settings = self.settings();
            (settings.connection_timeout(), settings.on_disconnect)
        };
        let observe = |figures| self.state().figures = figures;
        let canceller = self.state().canceller.clone();
        let canceller = canceller.ok_or(gst::FlowError::Flushing)?;
        loop {
            // Begin before the next channel is read: a change of the channel after that cancels the
            // wait.
            let cancel = canceller.begin().map_err(|error| self.failed(error))?;
            let next_channel = self.state().next_channel.take();
            if let Some(channel) = next_channel {
                gst::info!(CAT, imp = self, "Switching to {channel:?}");
                receiver.switch_to(channel);
            }
            let obj = self.obj();
            let obj = obj.upcast_ref();
            if let Some(buffer) = receiver.take_due() {
                self.filter.keep_times(obj, &buffer);
                return Ok(buffer);
            }
            receiver.prepare();
            let limits = (timeout, on_disconnect);
            let received = receiver.receive(obj, &cancel, limits, observe);
            let figures = receiver.figures();
            let is_paused = {
                let mut state = self.state();
                state.figures = figures;
                state.is_paused
            };
            let received = received.and_then(|received| match received {
                Received::Frame(_) if is_paused => {
                    receiver.put_back(received);
                    cancel.pause(Duration::MAX).map(|()| Received::Nothing)
                }
                received => receiver.await_flush(received),
            });
            // A change of the channel, or the end of a pause.
            if matches!(received, Err(Error::Cancelled)) && cancel.is_interrupted() {
                continue;
            }
            let received = received.map_err(|error| self.failed(error))?;
            self.push_before(receiver, &received)?;
            match received {
                Received::Frame(frame) => {
                    if let Some(buffer) = self.take_frame(receiver, frame)? {
                        self.filter.keep_times(obj, &buffer);
                        return Ok(buffer);
                    }
                }
                Received::Nothing => {}
                Received::End => return Err(gst::FlowError::Eos),
            }
        }
    }

    /// Pushes the events that precede an item.
    fn push_before(
        &self,
        receiver: &mut Receiver,
        received: &Received,
    ) -> Result<(), gst::FlowError> {
        let obj = self.obj();
        let obj = obj.upcast_ref();
        let notice = |notice| self.take_notice(notice);
        let caps = receiver
            .push_events(obj, &self.filter, received, notice)
            .map_err(|error| {
                gst::warning!(CAT, imp = self, "Downstream refused the caps: {error}");
                gst::FlowError::NotNegotiated
            })?;
        if let Some(caps) = caps {
            gst::info!(CAT, imp = self, "Caps are {caps}");
            let fd_memory = self.settings().fd_memory;
            let usage = usage(obj, &caps);
            receiver.set_usage(fd_memory && usage.takes_descriptors, usage.is_forwarded);
        }
        Ok(())
    }

    /// Returns the buffer of a frame, `None` if the frame is not pushed.
    fn take_frame(
        &self,
        receiver: &mut Receiver,
        frame: Frame,
    ) -> Result<Option<gst::Buffer>, gst::FlowError> {
        // A live source is expected to miss frames in PAUSED.
        if frame.missed() > 0
            && !std::mem::take(&mut self.state().was_paused)
            && let Some(why) = receiver.first_missed(&frame)
        {
            self.warn_missed(frame.missed(), &why);
        }
        let buffer = receiver.take_frame(frame);
        self.state().figures = receiver.figures();
        if receiver.wants_key_unit() && self.request_key_unit(receiver.takes_all_headers()) {
            receiver.key_unit_requested();
        }
        if let Some(skipped) = receiver.overdue_key_frame() {
            self.warn_overdue(skipped);
        }
        match buffer.map_err(|error| self.failed(error))? {
            Ok(buffer) => return Ok(Some(buffer)),
            Err(NotPushed::Kept) => {}
            Err(NotPushed::Skipped) => {
                gst::debug!(CAT, imp = self, "Skipped a frame before a key frame");
            }
            Err(NotPushed::Early) => {
                gst::debug!(
                    CAT,
                    imp = self,
                    "Dropped a frame that was due before the start"
                );
            }
            Err(NotPushed::Unusable(unusable)) => {
                gst::debug!(CAT, imp = self, "Missed a frame: {unusable}");
                if receiver.is_first(&unusable) {
                    self.warn_unusable(&unusable);
                }
            }
        }
        Ok(None)
    }
}
