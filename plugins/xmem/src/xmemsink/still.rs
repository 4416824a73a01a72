//! Tracks the frame that the sink shows in PAUSED: which buffer it is, and whether it was
//! published.
//!
//! The base class prerolls a buffer in PAUSED, and renders the same buffer in PLAYING. After a step
//! it renders a buffer in PAUSED, prerolls it, and renders it again. In all cases the buffer must
//! be published once.

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
    /// Whether there is a buffer. Written with `state` locked.
    is_there: AtomicBool,
    /// Ends the waits of threads that publish the buffer later.
    pub(super) canceller: Canceller,
}

#[derive(Default)]
struct State {
    /// Holding a reference ensures that no other buffer gets the same address.
    buffer: Option<gst::Buffer>,
    /// Set while the buffer may have to be published.
    times: Option<TimesInPause>,
    progress: Progress,
    /// Identifies the current buffer: incremented with each.
    number: Number,
    /// The number of threads that must finish before the buffer can be replaced.
    threads: u32,
}

/// Identifies one buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Number(u64);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Progress {
    /// The buffer still has to be published.
    Owed,
    /// A thread publishes the buffer.
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

    /// Sets the buffer that the sink shows from now on. Returns its number if it is not published
    /// yet.
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

    /// Sets the buffer that the sink shows from now on, and that is published already.
    pub(super) fn set_published(&self, buffer: &gst::Buffer) {
        self.replace(Some(buffer.clone()), None);
    }

    /// Forgets the buffer. When this returns, no thread publishes it.
    pub(super) fn clear(&self) {
        if self.is_there.load(Ordering::Relaxed) {
            self.replace(None, None);
        }
    }

    fn is(&self, buffer: &gst::Buffer) -> bool {
        self.state().is(buffer)
    }

    /// Returns the number of the buffer if it is not published yet.
    pub(super) fn owed(&self) -> Option<Number> {
        let state = self.state();
        state.is_owed(state.number).then_some(state.number)
    }

    /// Returns whether a buffer that is about to be rendered was published already. If not, only
    /// its rendering publishes it from now on. With `keeps`, a buffer that was published stays the
    /// shown one.
    pub(super) fn is_published(&self, buffer: &gst::Buffer, keeps: bool) -> bool {
        // Relaxed: the streaming thread sets it; other threads set it only while the streaming
        // thread waits.
        if !self.is_there.load(Ordering::Relaxed) {
            return false;
        }
        let state = self.await_publishing(self.state());
        if keeps && state.is(buffer) && state.progress == Progress::Published {
            return true;
        }
        drop(state);
        // Another thread may have published it in the meantime.
        let (before, progress) = self.replace(None, None);
        let is_it = before.is_some_and(|before| before.as_ptr() == buffer.as_ptr());
        is_it && progress == Progress::Published
    }

    /// Calls `run` while no thread publishes the buffer. First ends the wait of a thread that does.
    /// Called by the streaming thread, and by other threads while there is none.
    pub(super) fn while_unpublished<T>(&self, run: impl FnOnce() -> T) -> T {
        // Relaxed: the streaming thread sets it.
        if !self.is_there.load(Ordering::Relaxed) {
            return run();
        }
        let _state = self.await_publishing(self.state());
        run()
    }

    /// Publishes the buffer with this number with `publish`, if it is still owed.
    ///
    /// # Errors
    /// The errors of `publish`. The buffer is still owed then.
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
        /// Sets the progress on drop, also if `publish` panics, because other threads wait for it.
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
        // Drop the buffer before other threads are notified: they may wait for its memory.
        drop(buffer);
        published
    }

    /// Calls `show`, which may wait, if the buffer with this number is owed. The buffer is not
    /// replaced while `show` runs: a thread that replaces it ends the wait first, then waits for
    /// `show` to return.
    ///
    /// # Errors
    /// The errors of `show`.
    pub(super) fn run_while_owed(
        &self,
        number: Number,
        show: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        {
            let mut state = self.state();
            if !state.is_owed(number) {
                return Ok(());
            }
            state.threads += 1;
        }
        /// Leaves on drop, also if `show` panics.
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

    /// Waits for `time`, or until the buffer with this number is no longer owed. Returns whether it
    /// is still owed.
    pub(super) fn is_owed_after(&self, number: Number, time: Duration) -> bool {
        let state = self.state();
        let waited = self
            .changed
            .wait_timeout_while(state, time, |state| state.is_owed(number));
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_owed(number)
    }

    /// Replaces the buffer. With `times` the new buffer is owed. Returns the previous buffer and
    /// its progress.
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
        // Interrupt after the number has changed: a thread that begins now sees the new number, and
        // a wait that has begun before ends.
        self.canceller.interrupt();
        while state.threads > 0 {
            state = self.wait(state);
        }
        drop(state);
        // The caller drops the buffer without the lock, because that can run code of its pool.
        (before, progress)
    }

    /// Waits until no thread publishes the buffer, and ends that thread's wait.
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
        // The base class prerolls it again, after a step.
        assert_eq!(set(&still, &buffer), None);
        assert!(still.is_published(&buffer, true));
        assert!(still.is_published(&buffer, false));
        assert!(!still.is_published(&buffer, false));
    }

    #[test]
    fn a_buffer_that_could_not_be_published_is_rendered() {
        let (still, buffer) = (Still::default(), buffer());
        let number = set(&still, &buffer).unwrap();
        let failed = still.publish(number, |_, _| Err(Error::Cancelled));
        assert!(matches!(failed, Err(Error::Cancelled)));
        assert_eq!(still.owed(), Some(number));
        assert!(!still.is_published(&buffer, false));
        // From then on only the rendering publishes it.
        still.publish(number, |_, _| unreachable!()).unwrap();
        assert!(!still.is_owed_after(number, Duration::from_secs(3600)));
    }

    #[test]
    fn the_streaming_thread_ends_the_wait_of_the_thread_that_publishes_it() {
        let (still, buffer, held) = (Still::default(), buffer(), Mutex::new(()));
        let number = set(&still, &buffer).unwrap();
        let (sender, receiver) = channel();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let cancellation = still.canceller.begin()?;
                still.publish(number, |_, _| {
                    let _held = held.lock().unwrap();
                    sender.send(()).unwrap();
                    cancellation.pause(Duration::from_secs(3600))
                })
            });
            receiver.recv().unwrap();
            still.while_unpublished(|| assert!(held.try_lock().is_ok()));
            assert!(matches!(thread.join().unwrap(), Err(Error::Cancelled)));
        });
        assert_eq!(still.owed(), Some(number));
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
    fn clear_releases_the_buffer() {
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
