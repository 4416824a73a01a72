//! Where a thread can't sleep on the words of several clients (see `sys/futex.rs`): a thread a
//! client sleeps on that client's `progress`, and relays a change to the writer's wake word.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use crate::clients::ClientId;
use crate::segment::LeasePage;
use crate::sys::clock::Deadline;
use crate::sys::futex::{self, WakeWord};

/// How long the writer sleeps where there is no thread to be had for a watcher.
const NO_THREAD: Duration = Duration::from_millis(10);
/// Stack of a watcher.
const STACK: usize = 64 * 1024;

/// The clients that a thread watches.
#[derive(Debug, Default)]
pub(super) struct Watchers(Mutex<HashMap<ClientId, Watched>>);

/// A client that a thread watches.
#[derive(Debug)]
struct Watched {
    page: Arc<LeasePage>,
    over: Arc<AtomicBool>,
}

impl Drop for Watched {
    /// Ends the thread: at once, or where the client has moved it to another word, with its sleep.
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        let progress = self.page.words().progress;
        progress.fetch_add(1, Ordering::Release);
        // The answer makes no difference: see above.
        let _ = futex::wake_one(progress);
    }
}

impl Watchers {
    fn watched(&self) -> MutexGuard<'_, HashMap<ClientId, Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the progress of these clients signalled. Returns how long the writer may sleep before
    /// it looks for itself.
    pub(super) fn watch(
        &self,
        clients: &[(ClientId, Arc<LeasePage>)],
        wake_word: &Arc<WakeWord>,
    ) -> Deadline {
        let mut watched = self.watched();
        for (id, page) in clients {
            if watched.contains_key(id) {
                continue;
            }
            let over = Arc::new(AtomicBool::new(false));
            let watcher = Watched {
                page: page.clone(),
                over: over.clone(),
            };
            // What comes from here on is a change, whenever the thread starts.
            let seen = page.words().progress.load(Ordering::Acquire);
            let (page, wake_word) = (page.clone(), wake_word.clone());
            let thread = Builder::new().name("xmem-progress".into());
            let relay = move || relay(&page, seen, &over, &wake_word);
            if thread.stack_size(STACK).spawn(relay).is_err() {
                return Deadline::after(Some(NO_THREAD));
            }
            watched.insert(*id, watcher);
        }
        Deadline::after(None)
    }

    /// The client is gone.
    pub(super) fn forget(&self, id: ClientId) {
        self.watched().remove(&id);
    }
}

/// Signals the wake word at each change of `progress`, until it is over.
fn relay(page: &LeasePage, mut seen: u32, over: &AtomicBool, wake_word: &WakeWord) {
    let progress = page.words().progress;
    while !over.load(Ordering::Acquire) {
        // It ends after a while in any case.
        let _ = futex::wait_any(&[futex::shared(progress, seen)], Deadline::after(None));
        let now = progress.load(Ordering::Acquire);
        if now != seen {
            seen = now;
            wake_word.signal();
        }
    }
}
