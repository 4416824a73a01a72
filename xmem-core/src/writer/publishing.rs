//! Publishing what was written, and waking the clients that sleep.

use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::Writer;
use crate::clients::ClientId;
use crate::error::{Refusal, Result};
use crate::lease::{ClientWords, SlotIndex};
use crate::meta::{BufferMeta, FLAG_EXTRA_SPILLED, FLAGS_RESERVED, FLAGS_ROLE};
use crate::pool::{Place, Pool};
use crate::segment::{LeasePage, PayloadSegment};
use crate::sys::clock::{self, Deadline};
use crate::sys::futex;

/// Longest wait until clients are told of new memory. The control thread never waits for one of them.
const TELLING: Duration = Duration::from_millis(50);

impl Writer {
    /// Publishes a slot whose payload and extra are written. Returns the frame's position.
    pub(crate) fn publish(
        &self,
        index: SlotIndex,
        spill: &mut Option<Place>,
        meta: &mut BufferMeta,
    ) -> Result<u64> {
        self.check_origin()?;
        meta.flags &= !FLAGS_RESERVED | FLAGS_ROLE;
        if spill.is_some() {
            meta.flags |= FLAG_EXTRA_SPILLED;
        }
        meta.timestamp = clock::unix_milliseconds();
        if meta.producer[0] == 0 {
            meta.set_producer(&self.name);
        }
        let mut may_wait = true;
        let (position, is_other_need, sleepers) = loop {
            let published = self.with_pool(|pool| {
                if may_wait && pool.is_untold(index, spill.as_ref()) {
                    return Ok(None);
                }
                if pool.closed {
                    return Err(self.failure.error());
                }
                pool.check_memory(index)?;
                let mut sleepers = std::mem::take(&mut pool.sleepers);
                let (position, is_other_need) =
                    pool.publish(index, spill.take(), meta, &mut sleepers);
                if sleepers.is_empty() {
                    pool.sleepers = std::mem::take(&mut sleepers);
                }
                Ok(Some((position, is_other_need, sleepers)))
            })?;
            if let Some(published) = published {
                break published;
            }
            self.await_telling(index, spill.as_ref());
            may_wait = false;
        };
        if !sleepers.is_empty() {
            self.wake(sleepers);
        }
        if is_other_need {
            // The control thread makes the slots.
            self.event_fd.notify();
        }
        Ok(position)
    }

    /// Waits until the control thread has told clients of the memory that a frame is in: where this
    /// process is killed before, the frame is lost. It is told of new memory as soon as that is made, so
    /// as a rule that is over when the frame is written.
    #[cold]
    fn await_telling(&self, index: SlotIndex, spill: Option<&Place>) {
        let deadline = Deadline::after(Some(TELLING));
        loop {
            let signal = self.wake_word.since(self.wake_word.snapshot());
            if self.with_pool(|pool| pool.closed || !pool.is_untold(index, spill)) {
                return;
            }
            if futex::wait_any(&[signal], deadline).is_err() {
                self.with_pool(Pool::give_up_telling);
                return;
            }
        }
    }

    /// The control thread has told clients of these segments.
    pub(crate) fn note_told(&self, segments: &[Arc<PayloadSegment>]) {
        let had_untold = self.with_pool(|pool| {
            let had_untold = pool.has_untold();
            pool.note_told(segments);
            had_untold
        });
        if had_untold {
            self.wake_word.signal();
        }
    }

    /// Wakes clients, each by a word that it shares with this process alone, two in a call.
    fn wake(&self, mut sleepers: Vec<(ClientId, Arc<LeasePage>)>) {
        const MISUSED: &str = "it uses the word that it is woken by for another kind of futex";
        let mut misused = Vec::new();
        for some in sleepers.chunks(2) {
            if let [(_, one), (_, other)] = some
                && wake_both(&one.words(), &other.words()).is_ok()
            {
                continue;
            }
            // The last one; or the kernel has refused to wake one of two, and may have woken neither.
            for (id, page) in some {
                let page = page.words();
                page.end_sleep();
                if futex::wake_one(page.wake).is_err() {
                    misused.push((*id, Refusal::violation(MISUSED)));
                }
            }
        }
        sleepers.clear();
        let is_misused = !misused.is_empty();
        self.with_pool(|pool| {
            pool.sleepers = sleepers;
            pool.unwanted.append(&mut misused);
        });
        if is_misused {
            // The control thread evicts them.
            self.event_fd.notify();
        }
    }

    pub(crate) fn let_go(&self, index: SlotIndex) {
        if self.check_origin().is_err() {
            return;
        }
        let is_awaited = self.with_pool(|pool| {
            pool.let_go(index);
            pool.waiting_writers > 0
        });
        if is_awaited {
            self.wake_word.signal();
        }
    }
}

/// Wakes two clients at once.
fn wake_both(one: &ClientWords<'_>, other: &ClientWords<'_>) -> std::result::Result<(), Errno> {
    one.end_sleep();
    let value = other.end_sleep();
    futex::wake_both(one.wake, (other.wake, value))
}
