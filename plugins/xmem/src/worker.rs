//! A thread for calls into other elements, which can block for any length of time.

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

/// The maximum number of items in the queue of the thread.
const MAX_WAITING: usize = 64;

/// A queue with a thread that starts with the first item. Dropping the worker disconnects the
/// receiver of the thread.
#[derive(Debug)]
pub(crate) struct Worker<T> {
    name: &'static str,
    sender: OnceLock<SyncSender<T>>,
}

/// Why an item is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The queue is full.
    Full,
    /// The thread has ended, or could not be created.
    NoThread,
}

impl<T: Send + 'static> Worker<T> {
    /// `name` is the name of the thread, at most 15 bytes.
    pub(crate) const fn new(name: &'static str) -> Worker<T> {
        Worker {
            name,
            sender: OnceLock::new(),
        }
    }

    /// Queues an item for the thread, without waiting. The first item starts the thread with the
    /// function that `thread` returns.
    ///
    /// # Errors
    /// If the item is lost.
    pub(crate) fn send<F>(&self, item: T, thread: impl FnOnce() -> F) -> Result<(), Lost>
    where
        F: FnOnce(Receiver<T>) + Send + 'static,
    {
        let sender = self.sender.get_or_init(|| {
            let (sender, receiver) = sync_channel(MAX_WAITING);
            let run = thread();
            let builder = thread::Builder::new().name(self.name.into());
            if let Err(error) = builder.spawn(move || run(receiver)) {
                gst::warning!(
                    crate::log::CAT,
                    "Cannot create thread {}: {error}",
                    self.name
                );
            }
            sender
        });
        sender.try_send(item).map_err(|error| match error {
            TrySendError::Full(_) => Lost::Full,
            TrySendError::Disconnected(_) => Lost::NoThread,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn a_worker_starts_one_thread_and_loses_what_it_has_no_room_for() {
        gst::init().unwrap();
        let worker = Worker::new("xmem-test");
        let (go, wait) = mpsc::channel::<()>();
        let (done, sum) = mpsc::channel();
        let mut starts = vec![move |items: Receiver<u32>| {
            wait.recv().unwrap();
            done.send(items.iter().sum::<u32>()).unwrap();
        }];
        for item in 0..MAX_WAITING as u32 {
            assert_eq!(worker.send(item, || starts.pop().unwrap()), Ok(()));
        }
        let lost = worker.send(1000, || starts.pop().unwrap());
        assert_eq!(lost, Err(Lost::Full));
        go.send(()).unwrap();
        drop(worker);
        let sum = sum.recv_timeout(Duration::from_secs(60));
        assert_eq!(sum, Ok((0..MAX_WAITING as u32).sum()));
    }
}
