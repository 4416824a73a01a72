//! The frame that the sink shows in PAUSED: which buffer that is, and whether it was published.
//!
//! The base class prerolls a buffer in PAUSED, and renders the same buffer in PLAYING. After a step it
//! renders a buffer in PAUSED, prerolls it and renders it again. Each buffer is one frame.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use xmem_core::{Canceller, Result};

use crate::timestamps::TimesInPause;

/// Used by the streaming thread, and by threads that publish the frame later.
#[derive(Default)]
pub(super) struct Still {
    state: Mutex<State>,
    changed: Condvar,
    /// There is such a buffer. Written with the state locked.
    is_there: AtomicBool,
    /// Ends the waits of those that publish it later.
    pub(super) canceller: Canceller,
}

#[derive(Default)]
struct State {
    /// A reference is kept, so that no other buffer gets the same address.
    buffer: Option<gst::Buffer>,
    /// There as long as it may have to be published.
    times: Option<TimesInPause>,
    progress: Progress,
    /// Counts the buffers.
    number: Number,
    /// Threads that have to end before another buffer is shown.
    threads: u32,
}

/// One such buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Number(u64);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Progress {
    Owed,
    /// A thread publishes it.
    Publishing,
    #[default]
    Published,
}

impl Still {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.changed.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// The sink shows this buffer from now on. Tells its number where it is not published yet.
    pub(super) fn set(
        &self,
        buffer: &gst::Buffer,
        times: impl FnOnce() -> TimesInPause,
    ) -> Option<Number> {
        if !self.is(buffer) {
            self.replace(Some(buffer.clone()), Some(times()));
        }
        self.owed()
    }

    /// The sink shows this buffer from now on, and has published it.
    pub(super) fn set_published(&self, buffer: &gst::Buffer) {
        self.replace(Some(buffer.clone()), None);
    }

    /// The sink shows no such buffer any more. When this returns, no thread publishes one.
    pub(super) fn clear(&self) {
        if self.is_there.load(Ordering::Relaxed) {
            self.replace(None, None);
        }
    }

    fn is(&self, buffer: &gst::Buffer) -> bool {
        self.state().is(buffer)
    }

    /// The number of the buffer where it is not published yet.
    pub(super) fn owed(&self) -> Option<Number> {
        let state = self.state();
        state.is_owed(state.number).then_some(state.number)
    }

    /// Whether a buffer that is about to be rendered was published already. If not, nothing but its
    /// rendering publishes it from now on. With `keeps` the sink goes on to show it.
    pub(super) fn is_published(&self, buffer: &gst::Buffer, keeps: bool) -> bool {
        // Relaxed: the streaming thread has set it, and others only when that waits.
        if !self.is_there.load(Ordering::Relaxed) {
            return false;
        }
        let state = self.await_publishing(self.state());
        if keeps && state.is(buffer) && state.progress == Progress::Published {
            return true;
        }
        drop(state);
        // Another thread may have published it in between.
        let (before, progress) = self.replace(None, None);
        let is_it = before.is_some_and(|before| before.as_ptr() == buffer.as_ptr());
        is_it && progress == Progress::Published
    }

    /// Publishes the buffer with this number, if it is still owed, as `publish` does that.
    ///
    /// # Errors
    /// Those of `publish`: the buffer is still owed then.
    pub(super) fn publish(
        &self,
        number: Number,
        publish: impl FnOnce(&gst::Buffer, TimesInPause) -> Result<()>,
    ) -> Result<()> {
        let buffer = {
            let mut state = self.state();
            if !state.is_owed(number) {
                return Ok(());
            }
            state.progress = Progress::Publishing;
            state.buffer.clone().zip(state.times)
        };
        /// Also where `publish` panics: others wait for it.
        struct Finish<'a>(&'a Still, Progress);
        impl Drop for Finish<'_> {
            fn drop(&mut self) {
                self.0.state().progress = self.1;
                self.0.changed.notify_all();
            }
        }
        let mut finish = Finish(self, Progress::Owed);
        let published = buffer
            .as_ref()
            .map_or(Ok(()), |(buffer, times)| publish(buffer, *times));
        if published.is_ok() {
            finish.1 = Progress::Published;
        }
        // Before others are told that it is done: they may wait for the memory.
        drop(buffer);
        published
    }

    /// Does what `show` does, which may wait, if the buffer with this number is owed. As long as it does
    /// that, no other buffer takes its place: what the sink does next ends the wait, and waits for it.
    ///
    /// # Errors
    /// Those of `show`.
    pub(super) fn hold_up(&self, number: Number, show: impl FnOnce() -> Result<()>) -> Result<()> {
        {
            let mut state = self.state();
            if !state.is_owed(number) {
                return Ok(());
            }
            state.threads += 1;
        }
        /// Also where `show` panics.
        struct Leave<'a>(&'a Still);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.state().threads -= 1;
                self.0.changed.notify_all();
            }
        }
        let _leave = Leave(self);
        show()
    }

    /// Waits so long. Says whether the buffer with this number is still owed then; at once where it is
    /// not.
    pub(super) fn is_owed_after(&self, number: Number, time: Duration) -> bool {
        let state = self.state();
        let waited = self
            .changed
            .wait_timeout_while(state, time, |state| state.is_owed(number));
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_owed(number)
    }

    /// With times it is owed. Gives back the one before, and how far that had come.
    fn replace(
        &self,
        buffer: Option<gst::Buffer>,
        times: Option<TimesInPause>,
    ) -> (Option<gst::Buffer>, Progress) {
        let mut state = self.await_publishing(self.state());
        self.is_there.store(buffer.is_some(), Ordering::Relaxed);
        let before = std::mem::replace(&mut state.buffer, buffer);
        let progress = match times {
            Some(_) => Progress::Owed,
            None => Progress::Published,
        };
        let progress = std::mem::replace(&mut state.progress, progress);
        state.times = times;
        state.number.0 += 1;
        self.changed.notify_all();
        // After the number has changed: what begins now sees that, and what has begun ends.
        self.canceller.interrupt();
        while state.threads > 0 {
            state = self.wait(state);
        }
        drop(state);
        // To be dropped without the lock: the memory goes back to where it came from.
        (before, progress)
    }

    /// Waits until no thread publishes the buffer, which does not wait any more then.
    fn await_publishing<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while state.progress == Progress::Publishing {
            self.canceller.interrupt();
            state = self.wait(state);
        }
        state
    }
}

impl State {
    fn is(&self, buffer: &gst::Buffer) -> bool {
        let ours = self.buffer.as_ref();
        ours.is_some_and(|ours| ours.as_ptr() == buffer.as_ptr())
    }

    fn is_owed(&self, number: Number) -> bool {
        self.buffer.is_some() && self.number == number && self.progress == Progress::Owed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use gst::prelude::*;
    use xmem_core::Error;

    use super::*;

    fn buffer() -> gst::Buffer {
        gst::init().unwrap();
        gst::Buffer::new()
    }

    fn set(still: &Still, buffer: &gst::Buffer) -> Option<Number> {
        let sink = gst::ElementFactory::make("fakesink").build().unwrap();
        let sink = sink.downcast::<gst_base::BaseSink>().unwrap();
        still.set(buffer, || TimesInPause::new(&sink, buffer))
    }

    #[test]
    fn a_buffer_that_was_prerolled_is_published_once() {
        let (still, buffer) = (Still::default(), buffer());
        let number = set(&still, &buffer).unwrap();
        let mut count = 0;
        for _ in 0..2 {
            still
                .publish(number, |published, _| {
                    assert_eq!(published.as_ptr(), buffer.as_ptr());
                    count += 1;
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(count, 1);
        // It is prerolled once more, after a step.
        assert_eq!(set(&still, &buffer), None);
        assert!(still.is_published(&buffer, true));
        assert!(still.is_published(&buffer, false));
        assert!(!still.is_published(&buffer, false));
    }

    #[test]
    fn what_could_not_be_published_is_rendered() {
        let (still, buffer) = (Still::default(), buffer());
        let number = set(&still, &buffer).unwrap();
        let failed = still.publish(number, |_, _| Err(Error::Cancelled));
        assert!(matches!(failed, Err(Error::Cancelled)));
        assert_eq!(still.owed(), Some(number));
        assert!(!still.is_published(&buffer, false));
        // It is the rendering's from then on.
        still.publish(number, |_, _| unreachable!()).unwrap();
        assert!(!still.is_owed_after(number, Duration::from_secs(3600)));
    }

    #[test]
    fn another_buffer_is_another_frame() {
        let (still, first, second) = (Still::default(), buffer(), buffer());
        let number = set(&still, &first).unwrap();
        still.publish(number, |_, _| Ok(())).unwrap();
        assert!(!still.is_published(&second, false));
        still.set_published(&second);
        assert!(still.is_published(&second, true));
        still.clear();
        assert!(!still.is_published(&second, true));
        assert_eq!(still.owed(), None);
    }

    #[test]
    fn its_memory_is_let_go_when_the_sink_shows_it_no_more() {
        let (still, mut buffer) = (Still::default(), buffer());
        set(&still, &buffer);
        assert!(buffer.get_mut().is_none());
        still.clear();
        assert!(buffer.get_mut().is_some());
    }

    #[test]
    fn a_flush_ends_the_wait_of_the_thread_that_publishes_it() {
        let (still, buffer) = (Still::default(), buffer());
        let number = set(&still, &buffer).unwrap();
        let (sender, receiver) = channel();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let cancellation = still.canceller.begin()?;
                still.publish(number, |_, _| {
                    sender.send(()).unwrap();
                    cancellation.pause(Duration::from_secs(3600))
                })
            });
            receiver.recv().unwrap();
            still.clear();
            assert!(matches!(thread.join().unwrap(), Err(Error::Cancelled)));
        });
        assert_eq!(still.owed(), None);
    }
}
