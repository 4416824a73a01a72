//! What is done when the work of a device is: a queue, and a thread that waits for each event in turn.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use super::{Event, Work};
use crate::error::{CudaError, Error, Result};

#[cfg(test)]
mod tests;

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
    /// The queue's number.
    generation: u64,
    /// Queues that another has [replaced](replace), with their numbers. Each has a thread.
    replaced: Vec<(u64, VecDeque<Queued<T>>)>,
    /// The thread that completes an item which it has taken out of the queue.
    completing: Option<ThreadId>,
    has_thread: bool,
    is_closed: bool,
    spare: Vec<Event>,
}

/// What a wait for an empty queue has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// Nothing waits in the queue.
    Now,
    /// Something still waits after the time.
    TimedOut,
    /// Something waits for the thread that calls: it completes an item, and so does nothing else.
    Never,
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
    /// `work` says whether the device has done the work before it. This may run code of the application,
    /// which may queue more.
    fn complete(&self, item: Self::Item, work: std::result::Result<(), CudaError>);
}

impl<T> Default for Completions<T> {
    fn default() -> Completions<T> {
        Completions {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                generation: 0,
                replaced: Vec::new(),
                completing: None,
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
        let replaced: usize = state.replaced.iter().map(|(_, queue)| queue.len()).sum();
        state.queue.len() + replaced + usize::from(state.completing.is_some())
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
        if state.spare.len() < SPARE && !state.is_closed {
            state.spare.push(event);
        }
    }

    /// Waits for the work before an event. Called without the lock, because this may destroy the event, and
    /// a context with it.
    fn wait_for(&self, event: Event) -> std::result::Result<(), CudaError> {
        event.wait()?;
        self.keep(event);
        Ok(())
    }

    /// Destroys the events that are kept, and with them contexts that nothing else needs.
    pub(crate) fn forget(&self) {
        let spare = std::mem::take(&mut self.lock().spare);
        drop(spare);
    }

    /// Waits until nothing waits in the queue, at most so long.
    pub(crate) fn wait_idle(&self, time: Duration) -> Idle {
        let deadline = Instant::now() + time;
        let mut state = self.lock();
        while !state.is_idle() {
            if state.completing == Some(thread::current().id()) {
                return if state.queue.is_empty() {
                    Idle::Now
                } else {
                    Idle::Never
                };
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Idle::TimedOut;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Idle::Now
    }

    /// The thread ends when nothing waits any more.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
        self.forget();
    }
}

impl<T> State<T> {
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.completing.is_none()
    }

    /// The queue of this number.
    fn queue_of(&mut self, generation: u64) -> Option<&mut VecDeque<Queued<T>>> {
        if generation == self.generation {
            return Some(&mut self.queue);
        }
        let mut replaced = self.replaced.iter_mut();
        let found = replaced.find(|(number, _)| *number == generation);
        found.map(|(_, queue)| queue)
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
        if let Err(reason) = start(owner, state.generation) {
            drop(state);
            return Err(Refused {
                reason,
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

/// Takes items out of the queue, so that those which stay and those to come do not wait for them.
/// `is_given_up` chooses them, and has to choose all that were queued with an event; each is completed by the
/// thread that there was, when its work is done. Does nothing where no item is chosen.
///
/// # Errors
/// [`Error::ResourceExhausted`] where there is no other thread to be had. Then nothing has changed.
pub(crate) fn replace<O: Owner>(
    owner: &Arc<O>,
    is_given_up: impl Fn(&O::Item) -> bool,
    mut give_up: impl FnMut(&mut O::Item),
) -> Result<()> {
    let completions = owner.completions();
    let mut state = completions.lock();
    if !state.queue.iter().any(|queued| is_given_up(&queued.item)) {
        return Ok(());
    }
    let generation = state.generation;
    // It waits for the lock.
    start(owner, generation + 1)?;
    state.generation = generation + 1;
    let mut given_up = VecDeque::new();
    for mut queued in std::mem::take(&mut state.queue) {
        if is_given_up(&queued.item) {
            give_up(&mut queued.item);
            given_up.push_back(queued);
        } else {
            state.queue.push_back(queued);
        }
    }
    state.replaced.push((generation, given_up));
    Ok(())
}

/// Starts the thread of a queue.
fn start<O: Owner>(owner: &Arc<O>, generation: u64) -> Result<()> {
    let builder = thread::Builder::new().name("xmem-cuda".into());
    let owner = owner.clone();
    let started = builder.spawn(move || run(&*owner, generation));
    started.map(drop).map_err(Error::thread)
}

fn run<O: Owner>(owner: &O, generation: u64) {
    let completions = owner.completions();
    let wait = |state| {
        let waited = completions.changed.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    };
    let mut state = completions.lock();
    loop {
        let is_current = state.generation == generation;
        if is_current && state.completing.is_some() {
            // The thread of the queue before this one is about to end the item before ours.
            state = wait(state);
            continue;
        }
        let Some(first) = state.queue_of(generation).and_then(VecDeque::front_mut) else {
            if !is_current {
                state.replaced.retain(|(number, _)| *number != generation);
                return;
            }
            if state.is_closed {
                state.has_thread = false;
                return;
            }
            state = wait(state);
            continue;
        };
        // It stays in the queue until then: it may be given up.
        let after = first.after.take();
        let mut work = Ok(());
        if let Some(event) = after {
            drop(state);
            work = completions.wait_for(event);
            state = completions.lock();
        }
        let first = state.queue_of(generation).and_then(VecDeque::pop_front);
        let Some(Queued { item, .. }) = first else {
            continue;
        };
        let is_current = state.generation == generation;
        if is_current {
            state.completing = Some(thread::current().id());
        }
        drop(state);
        owner.complete(item, work);
        state = completions.lock();
        if is_current {
            state.completing = None;
        }
        completions.changed.notify_all();
    }
}

impl<T> std::fmt::Debug for Completions<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Completions").finish_non_exhaustive()
    }
}
