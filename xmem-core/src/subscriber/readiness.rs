//! A descriptor that tells an event loop when there is something to receive.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::error::{Error, Result};
use crate::link::Link;
use crate::sys::clock::Deadline;
use crate::sys::futex::{self, WakeWord};
use crate::sys::poll::EventFd;

/// What was seen before a look that has found nothing: what comes later ends the sleep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Of the link's wake word.
    pub(super) signals: u32,
    /// Of the client's futex word.
    pub(super) wake: u32,
}

impl Look {
    pub(super) fn new(link: &Link) -> Look {
        Look {
            signals: link.wake_word.snapshot(),
            wake: link.page.words().wake_value(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Task {
    /// The descriptor is readable, or a receiving thread looks itself.
    Rest,
    /// Sleep until something was told or a lease came back, or there is a frame at this position.
    Sleep {
        look: Look,
        position: Option<u64>,
    },
    End,
}

/// Sleeps on a thread of its own in the place of the receiving thread, and makes the descriptor readable
/// when that ends.
#[derive(Debug)]
pub(super) struct Readiness {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    link: Arc<Link>,
    ready: EventFd,
    task: Mutex<Task>,
    /// Signalled with each new task.
    changed: WakeWord,
    /// Held while the thread uses the words that a client sleeps by: there is one sleeper at a time.
    sleeping: Mutex<()>,
}

impl Readiness {
    /// The descriptor is readable at first.
    pub(super) fn new(link: &Arc<Link>) -> Result<Readiness> {
        let shared = Arc::new(Shared {
            link: link.clone(),
            ready: EventFd::new()?,
            task: Mutex::new(Task::Rest),
            changed: WakeWord::default(),
            sleeping: Mutex::new(()),
        });
        shared.ready.notify();
        let thread = std::thread::Builder::new()
            .name("xmem-ready".into())
            .spawn({
                let shared = shared.clone();
                move || shared.run()
            })
            .map_err(Error::thread)?;
        Ok(Readiness {
            shared,
            thread: Some(thread),
        })
    }

    pub(super) fn fd(&self) -> Result<OwnedFd> {
        let fd = self.shared.ready.as_fd().try_clone_to_owned();
        fd.map_err(Error::socket("duplicating an eventfd"))
    }

    /// The receiving thread looks itself from here on. The descriptor is readable.
    pub(super) fn rest(&self) {
        let mut task = self.shared.task();
        if let Task::Sleep { .. } = *task {
            *task = Task::Rest;
            drop(task);
            self.shared.changed.signal();
            self.shared.ready.notify();
            // The thread is out of its sleep when this lock is free.
            drop(self.shared.sleeping());
        }
    }

    /// A look has found nothing: the descriptor is not readable until there is something. `position` is
    /// that of the frame that is missing, where a frame is.
    pub(super) fn sleep(&self, look: Look, position: Option<u64>) {
        self.shared.ready.clear();
        *self.shared.task() = Task::Sleep { look, position };
        self.shared.changed.signal();
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        *self.shared.task() = Task::End;
        self.shared.changed.signal();
        if let Some(thread) = self.thread.take()
            && self.shared.link.is_here()
        {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn task(&self) -> MutexGuard<'_, Task> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleeping(&self) -> MutexGuard<'_, ()> {
        self.sleeping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            // Before the look at the task: another one from here on ends the sleep.
            let changes = self.changed.snapshot();
            let sleeping = self.sleeping();
            // Copied, so that the lock is free while this thread sleeps.
            let task = *self.task();
            let (look, position) = match task {
                Task::End => return,
                Task::Sleep { look, position } => (look, position),
                Task::Rest => {
                    drop(sleeping);
                    let changed = self.changed.since(changes);
                    let _ = futex::wait_any(&[changed], Deadline::after(None));
                    continue;
                }
            };
            self.sleep(look, position, changes);
            drop(sleeping);
            let mut task = self.task();
            // What has ended the sleep may be another task.
            if let Task::Sleep { .. } = *task
                && self.changed.snapshot() == changes
            {
                *task = Task::Rest;
                self.ready.notify();
            }
        }
    }

    /// Sleeps until there is something, without a reason perhaps.
    fn sleep(&self, look: Look, position: Option<u64>, changes: u32) {
        let (page, channel_words) = (self.link.page.words(), self.link.metadata.words());
        let told = self.link.wake_word.since(look.signals);
        let changed = self.changed.since(changes);
        // Where the system refuses, the receiving thread finds out, too.
        let Some(position) = position else {
            let _ = futex::wait_any(&[told, changed], Deadline::after(None));
            return;
        };
        if channel_words.prepare_sleep(&page, position) {
            let published = futex::shared(page.wake, look.wake);
            let _ = futex::wait_any(&[published, told, changed], Deadline::after(None));
            page.finish_sleep();
        }
    }
}
