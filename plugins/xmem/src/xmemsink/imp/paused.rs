//! Publishes the prerolled frame in PAUSED, so that clients receive it at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gst::prelude::*;
use gst::subclass::prelude::*;
use xmem_core::{Cancellation, Error, Result};

use super::{Run, XmemSink};
use crate::log::CAT;
use crate::timestamps::TimesInPause;
use crate::xmemsink::preroll;
use crate::xmemsink::still::Number;
use crate::xmemsink::stream::Stream;

/// How long to wait for a pipeline that is on its way to PLAYING before the prerolled frame is
/// shown in PAUSED. Usually the frame is rendered earlier, with its time in PLAYING.
const STARTING: Duration = Duration::from_millis(500);

impl XmemSink {
    /// Returns whether the sink renders in PAUSED, as it does after a step.
    pub(super) fn is_paused(&self) -> bool {
        // Relaxed: a change of state that affects the streaming thread takes a lock later.
        let is_paused = self.was_paused.load(Ordering::Relaxed) && preroll::is_paused(&*self.obj());
        if !is_paused {
            // The base class may have completed a change to PLAYING without a transition.
            self.was_paused.store(false, Ordering::Relaxed);
        }
        is_paused
    }

    /// Publishes a buffer that the base class prerolls. If that has to wait, another thread does
    /// it, because the base class has to complete a change of state.
    ///
    /// # Errors
    /// If the buffer cannot be published, now or later.
    pub(super) fn show(&self, Run { stream, settings }: &Run, buffer: &gst::Buffer) -> Result<()> {
        stream.ask_extent(self.obj().upcast_ref());
        let times = || TimesInPause::new(&*self.obj(), buffer);
        let Some(number) = stream.still.set(buffer, times) else {
            return Ok(());
        };
        if preroll::is_going_to_play(&*self.obj()) {
            self.show_later(stream, number, STARTING);
            return Ok(());
        }
        if settings.waits() {
            self.show_later(stream, number, Duration::ZERO);
            return Ok(());
        }
        let cancellation = stream.still.canceller.begin()?;
        self.publish_still(stream, number, &cancellation)
    }

    /// Marks a buffer as owed after a pause has interrupted its rendering. It is shown when the
    /// sink is in PAUSED, because the base class does not preroll it there.
    pub(super) fn set_owed(&self, stream: &Stream, buffer: &gst::Buffer) {
        if preroll::is_to_pause(&*self.obj()) {
            let times = || TimesInPause::new(&*self.obj(), buffer);
            stream.still.set(buffer, times);
        }
    }

    /// Shows the owed buffer, if any. For example, the sink was on its way to PLAYING and was
    /// paused again before it reached it.
    pub(super) fn show_owed(&self, stream: &Arc<Stream>) {
        if let Some(number) = stream.still.owed() {
            self.show_later(stream, number, Duration::ZERO);
        }
    }

    fn show_later(&self, stream: &Arc<Stream>, number: Number, time: Duration) {
        let (still, stream) = (stream.still.clone(), Arc::downgrade(stream));
        self.obj().call_async(move |sink| {
            if !still.is_owed_after(number, time) || !preroll::is_to_pause(sink) {
                return;
            }
            let shown = still.run_while_owed(number, || {
                let stream = stream.upgrade().ok_or(Error::Stopped)?;
                sink.imp().wait_and_show(&stream, number)
            });
            if let Err(error) = shown {
                // The frame is rendered in PLAYING, which reports the error then.
                gst::debug!(CAT, obj = sink, "Cannot show a frame in PAUSED: {error}");
            }
        });
    }

    fn wait_and_show(&self, stream: &Stream, number: Number) -> Result<()> {
        // Begin first, then check: what ends the wait either comes after `begin()`, or has already
        // replaced the buffer.
        let cancellation = stream.still.canceller.begin()?;
        if !stream.still.is_owed_after(number, Duration::ZERO) {
            return Err(Error::Cancelled);
        }
        if self.settings().wait_for_connection {
            stream.wait_for_client(&cancellation)?;
        }
        self.publish_still(stream, number, &cancellation)
    }

    fn publish_still(
        &self,
        stream: &Stream,
        number: Number,
        cancellation: &Cancellation<'_>,
    ) -> Result<()> {
        stream.still.publish(number, |buffer, times| {
            stream.publish_still(self.obj().upcast_ref(), buffer, times, cancellation)
        })
    }
}
