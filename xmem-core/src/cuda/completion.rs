//! What is done when the work of a device is: a queue, and a thread that waits for each event in turn.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Event, Work};
use crate::error::{CudaError, Error, Result};

/// Events that are kept to be recorded again.
const SPARE: usize = 64;

/// A queue of things to do, each after an event or at once, in their order.
pub(crate) struct Completions<T> {
    state: Mutex<State<T>>,
    /// Something was queued, is done, or the queue was closed.
    changed: Condvar,
}

struct State<T> {
    queue: VecDeque<Queued<T>>,
    /// The thread completes an item that it has taken out of the queue.
    is_completing: bool,
    has_thread: bool,
    is_closed: bool,
    spare: Vec<Event>,
}

/// What could not be queued.
pub(crate) struct Refused<T> {
    pub(crate) reason: Error,
    pub(crate) after: Option<Event>,
    pub(crate) item: T,
}

struct Queued<T> {
    after: Option<Event>,
    item: T,
}

/// What has such a queue, and completes the items.
pub(crate) trait Owner: Send + Sync + 'static {
    type Item: Send + 'static;

    fn completions(&self) -> &Completions<Self::Item>;

    /// Completes an item, on a thread of this process, in the order in which the items were queued.
    /// `work` says whether the device has done the work before it.
    fn complete(&self, item: Self::Item, work: std::result::Result<(), CudaError>);
}

impl<T> Default for Completions<T> {
    fn default() -> Completions<T> {
        Completions {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                is_completing: false,
                has_thread: false,
                is_closed: false,
                spare: Vec::new(),
            }),
            changed: Condvar::new(),
        }
    }
}

impl<T: Send + 'static> Completions<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.lock().is_idle()
    }

    /// How many items wait.
    pub(crate) fn len(&self) -> usize {
        let state = self.lock();
        state.queue.len() + usize::from(state.is_completing)
    }

    /// An event after this work.
    pub(crate) fn record(&self, work: &Work<'_>) -> Result<Event> {
        let mut spare = std::mem::take(&mut self.lock().spare);
        let event = work.record(&mut spare);
        self.lock().spare.append(&mut spare);
        event.map_err(Error::Cuda)
    }

    /// Keeps an event to be recorded again.
    pub(crate) fn keep(&self, event: Event) {
        let mut state = self.lock();
        if state.spare.len() < SPARE {
            state.spare.push(event);
        }
    }

    /// Changes each item that waits, after the one that is being completed.
    pub(crate) fn change(&self, mut change: impl FnMut(&mut T)) {
        let mut state = self.lock();
        while state.is_completing {
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        for queued in &mut state.queue {
            change(&mut queued.item);
        }
    }

    /// Waits until nothing waits in the queue, at most so long. Says whether that has come.
    pub(crate) fn wait_idle(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut state = self.lock();
        while !state.is_idle() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// The thread ends when nothing waits any more.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }
}

impl<T> State<T> {
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.is_completing
    }
}

/// Queues an item of an owner's. It is completed when the work before `after` is done and those before it are
/// completed.
///
/// # Errors
/// [`Error::ResourceExhausted`] where there is no thread to be had. Event and item come back.
pub(crate) fn queue<O: Owner>(
    owner: &Arc<O>,
    after: Option<Event>,
    item: O::Item,
) -> std::result::Result<(), Refused<O::Item>> {
    let completions = owner.completions();
    let mut state = completions.lock();
    if !state.has_thread {
        let thread = std::thread::Builder::new().name("xmem-cuda".into());
        let other = owner.clone();
        if let Err(error) = thread.spawn(move || run(&*other)) {
            drop(state);
            return Err(Refused {
                reason: Error::thread(error),
                after,
                item,
            });
        }
        state.has_thread = true;
    }
    state.queue.push_back(Queued { after, item });
    drop(state);
    completions.changed.notify_all();
    Ok(())
}

fn run<O: Owner>(owner: &O) {
    let completions = owner.completions();
    let mut state = completions.lock();
    loop {
        let Some(first) = state.queue.front_mut() else {
            if state.is_closed {
                state.has_thread = false;
                return;
            }
            let waited = completions.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        // It stays in the queue until then, to be changed.
        let after = first.after.take();
        let mut work = Ok(());
        if let Some(event) = after {
            drop(state);
            work = event.wait();
            if work.is_ok() {
                completions.keep(event);
            }
            state = completions.lock();
        }
        let Some(Queued { item, .. }) = state.queue.pop_front() else {
            continue;
        };
        state.is_completing = true;
        drop(state);
        owner.complete(item, work);
        state = completions.lock();
        state.is_completing = false;
        completions.changed.notify_all();
    }
}

impl<T> std::fmt::Debug for Completions<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Completions").finish_non_exhaustive()
    }
}
