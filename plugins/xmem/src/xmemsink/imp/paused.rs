//! What clients see of a sink in PAUSED: the frame that is prerolled, at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gst::prelude::*;
use gst::subclass::prelude::*;
use xmem_core::{Cancellation, Error, Result};

use super::{LastFrame, XmemSink};
use crate::CAT;
use crate::timestamps::{Times, TimesInPause};
use crate::xmemsink::preroll;
use crate::xmemsink::still::Number;
use crate::xmemsink::stream::Stream;

/// How long a pipeline that is going to play may take until its first frame is shown in PAUSED. Usually
/// that frame is rendered before, with the time that it has in PLAYING.
const STARTING: Duration = Duration::from_millis(500);

impl XmemSink {
    /// Whether the sink renders in PAUSED, which it does after a step.
    pub(super) fn is_paused(&self) -> bool {
        // Relaxed: what a change of state does with the streaming thread comes after, under a lock.
        let is_paused = self.was_paused.load(Ordering::Relaxed) && preroll::is_paused(&*self.obj());
        if !is_paused {
            // The base class has completed a change to PLAYING, perhaps, without a transition.
            self.was_paused.store(false, Ordering::Relaxed);
        }
        is_paused
    }

    /// Publishes a buffer that the base class prerolls. Where that has to wait, a thread of its own does it:
    /// the base class has a change of state to complete.
    ///
    /// # Errors
    /// Where it can't be published, now or later.
    pub(super) fn show(&self, stream: &Arc<Stream>, buffer: &gst::Buffer) -> Result<()> {
        stream.ask_extent(self.obj().upcast_ref());
        let times = || TimesInPause::new(&*self.obj(), buffer);
        let Some(number) = stream.still.set(buffer, times) else {
            return Ok(());
        };
        if preroll::is_going_to_play(&*self.obj()) {
            self.show_later(stream, number, STARTING);
            return Ok(());
        }
        if self.settings().waits() {
            self.show_later(stream, number, Duration::ZERO);
            return Ok(());
        }
        let cancellation = stream.still.canceller.begin()?;
        self.publish_still(stream, number, &cancellation)
    }

    /// A pause has interrupted the rendering of a buffer: it is shown when the sink is in PAUSED, where the base
    /// class does not preroll it.
    pub(super) fn owe(&self, stream: &Stream, buffer: &gst::Buffer) {
        if preroll::is_to_pause(&*self.obj()) {
            let times = || TimesInPause::new(&*self.obj(), buffer);
            stream.still.set(buffer, times);
        }
    }

    /// Shows what is not shown yet: the sink was on its way to PLAYING, perhaps, and was paused before it
    /// got there.
    pub(super) fn show_rest(&self, stream: &Arc<Stream>) {
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
            let shown = still.hold_up(number, || {
                let stream = stream.upgrade().ok_or(Error::Stopped)?;
                sink.imp().wait_and_show(&stream, number)
            });
            if let Err(error) = shown {
                // It is rendered in PLAYING, and errors are told then.
                gst::debug!(CAT, obj = sink, "Not shown in PAUSED: {error}");
            }
        });
    }

    fn wait_and_show(&self, stream: &Stream, number: Number) -> Result<()> {
        // What ends the wait comes after that, or has ended what is owed before.
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
            stream.publish(buffer, self.show_at_once(stream, times), cancellation)
        })
    }

    /// The times of a frame that is shown in PAUSED. Says the segment again where a frame before it was
    /// shown at other moments.
    pub(super) fn show_at_once(&self, stream: &Stream, times: TimesInPause) -> Times {
        let (times, offset) = times.now();
        let before = std::mem::replace(&mut *self.last_frame(), LastFrame::InPause);
        if before != LastFrame::None {
            self.say_segment(stream, offset);
        }
        stream.say_still(true);
        times
    }
}
