//! Floor 4: prefaults what the producer tells of, piece by piece, on a thread that gives way to others.
//!
//! A frame does not wait for that: what it lies in is prefaulted when it is received, where it was not
//! before.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::Builder;

use crate::callback;
use crate::error::Result;
use crate::link::{End, Link};
use crate::segment::{MAX_SLOTS, PayloadSegment};
use crate::sys::sched;

/// Of the thread.
const STACK: usize = 64 * 1024;

/// Segments that are being prefaulted, in the order in which they were told.
#[derive(Clone, Default)]
pub(super) struct Preparing(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Weak: what goes meanwhile is not worth the work.
    waiting: VecDeque<Weak<PayloadSegment>>,
    has_thread: bool,
}

impl Preparing {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins with a segment, or puts it last. An error ends the connection.
    pub(super) fn add(&self, segment: &Arc<PayloadSegment>, link: &Arc<Link>) {
        if segment.is_prepared() {
            return;
        }
        let mut state = self.state();
        if state.waiting.len() >= MAX_SLOTS as usize {
            // There are no more that live.
            state.waiting.retain(|one| one.strong_count() > 0);
        }
        state.waiting.push_back(Arc::downgrade(segment));
        if state.has_thread {
            return;
        }
        let (preparing, link) = (self.clone(), Arc::downgrade(link));
        let thread = Builder::new().name("xmem-prefault".into());
        // Without a thread each frame has its own memory prefaulted.
        state.has_thread = thread
            .stack_size(STACK)
            .spawn(move || preparing.run(&link))
            .is_ok();
        if !state.has_thread {
            state.waiting.clear();
        }
    }

    /// Prefaults what waits, until nothing does.
    fn run(&self, link: &Weak<Link>) {
        sched::give_way();
        let work = || {
            while let Some(segment) = self.next() {
                prepare(&segment)?;
            }
            Ok(())
        };
        let end = match callback::call("the thread that prefaults", work) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => End::of(error),
            Err(reason) => End::Failed(reason),
        };
        if let Some(link) = link.upgrade() {
            link.finish(end);
        }
    }

    fn next(&self) -> Option<Weak<PayloadSegment>> {
        let mut state = self.state();
        let next = state.waiting.pop_front();
        // Under the lock, so that what is added next finds no thread.
        state.has_thread = next.is_some();
        next
    }
}

/// Prefaults a segment, as long as something else holds it.
fn prepare(segment: &Weak<PayloadSegment>) -> Result<()> {
    let mut offset = 0;
    while let Some(segment) = segment.upgrade() {
        let Some(next) = segment.prepare_piece(offset)? else {
            return Ok(());
        };
        offset = next;
    }
    Ok(())
}
