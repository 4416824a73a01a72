//! What the producer says that overtakes its frames: flushes, and events that are not serialized.
//!
//! It comes while the streaming thread waits for downstream, perhaps, so a thread of its own passes it
//! on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use xmem_core::{EventKind, StreamEvent};

use super::state_lock::with_state_lock;
use crate::CAT;
use crate::events::{self, Said};
use crate::timestamps::Timekeeper;
use crate::values::{Names, Told};

/// Most events that wait to be passed on; what is more is lost.
const MAX_WAITING: usize = 64;

/// Passes on what is urgent. The thread is there from the first such event to the end of the run.
#[derive(Clone)]
pub(super) struct Urgent {
    element: glib::WeakRef<super::XmemSrc>,
    sender: Arc<OnceLock<SyncSender<StreamEvent>>>,
    flush: Arc<Flush>,
    is_over: Arc<AtomicBool>,
}

/// How far flushes have come.
#[derive(Default)]
struct Flush(Mutex<Progress>);

#[derive(Default)]
struct Progress {
    /// Flushes that were told, and of these those that are done: one may be done for several.
    told: u64,
    done: u64,
    /// The number of the last one that was told.
    seqnum: Option<gst::Seqnum>,
    /// One was done, and the streaming thread has not seen to it yet.
    is_news: bool,
}

impl Flush {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, seqnum: gst::Seqnum) {
        let mut progress = self.progress();
        progress.told += 1;
        progress.seqnum = Some(seqnum);
    }

    fn is_due(&self) -> bool {
        let progress = self.progress();
        progress.told != progress.done
    }

    /// The flushes that are due, to be done with the number of the last one.
    fn due(&self) -> Option<(u64, gst::Seqnum)> {
        let progress = self.progress();
        let seqnum = progress.seqnum.filter(|_| progress.told != progress.done)?;
        Some((progress.told, seqnum))
    }

    /// The first `told` are done.
    fn finish(&self, told: u64) {
        let mut progress = self.progress();
        progress.done = told;
        progress.is_news = true;
    }

    /// None is going to be done any more.
    fn give_up(&self) {
        let mut progress = self.progress();
        progress.done = progress.told;
    }
}

impl Urgent {
    pub(super) fn new(element: &super::XmemSrc) -> Urgent {
        Urgent {
            element: element.downgrade(),
            sender: Arc::default(),
            flush: Arc::default(),
            is_over: Arc::default(),
        }
    }

    /// The run ends: what waits is not for the next one.
    pub(super) fn end(&self) {
        // Relaxed: nothing else is read because of it.
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Takes in what the producer has told. Called by the connection's thread, before it tells of
    /// what comes after it; never waits.
    pub(super) fn tell(&self, event: StreamEvent) {
        // Before the streaming thread has what follows, which this thread gives it.
        if event.kind() == EventKind::Flush {
            let seqnum = match events::decode(told_by(&event), None, 0) {
                Ok(Some(Said::Flush(seqnum))) => seqnum,
                _ => gst::Seqnum::next(),
            };
            self.flush.tell(seqnum);
        }
        let sender = self.sender.get_or_init(|| {
            let (sender, receiver) = sync_channel(MAX_WAITING);
            let (element, flush) = (self.element.clone(), self.flush.clone());
            let is_over = self.is_over.clone();
            let thread = std::thread::Builder::new().name("xmem-urgent".into());
            if let Err(error) = thread.spawn(move || run(&element, &flush, &is_over, &receiver)) {
                gst::warning!(
                    CAT,
                    "What is urgent is lost, there is no thread for it: {error}"
                );
            }
            sender
        });
        match sender.try_send(event) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                gst::warning!(CAT, "An urgent event is lost: too many wait");
            }
            // Nobody is going to flush.
            Err(TrySendError::Disconnected(_)) => self.flush.give_up(),
        }
    }

    /// Whether a flush is due: then nothing is to be pushed before it is done.
    pub(super) fn is_flush_due(&self) -> bool {
        self.flush.is_due()
    }

    /// Whether there was a flush since this was last asked.
    pub(super) fn was_flushed(&self) -> bool {
        std::mem::take(&mut self.flush.progress().is_news)
    }
}

fn told_by(event: &StreamEvent) -> Told<'_> {
    Told::new(event.content(), Names::of_user(event.producer_uid()))
}

fn run(
    element: &glib::WeakRef<super::XmemSrc>,
    flush: &Flush,
    is_over: &AtomicBool,
    events: &Receiver<StreamEvent>,
) {
    let mut timekeeper = Timekeeper::default();
    for event in events {
        let Some(element) = element.upgrade() else {
            return;
        };
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        // A flush whose own event found no room is done with the next.
        if flush.is_due() {
            perform(&element, flush, is_over);
        }
        if event.kind() == EventKind::Flush {
            continue;
        }
        let offset = timekeeper.offset(&element);
        let ahead = element.imp().clock_offset();
        match events::decode(told_by(&event), offset, ahead) {
            // The others have a place in the stream, where the streaming thread pushes them.
            Ok(Some(Said::Event(event))) if !event.is_serialized() => {
                let _ = element.src_pad().push_event(event);
            }
            other => gst::debug!(CAT, obj = element, "Not passed on: {other:?}"),
        }
    }
}

/// Flushes downstream. In running time the stream goes on where it is: that is this pipeline's own.
fn perform(element: &super::XmemSrc, flush: &Flush, is_over: &AtomicBool) {
    gst::debug!(CAT, obj = element, "Flushing");
    with_state_lock(element, || {
        // It may have been stopped while this waited for the lock, and play again.
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let Some((told, seqnum)) = flush.due() else {
            return;
        };
        let start = gst::event::FlushStart::builder().seqnum(seqnum).build();
        element.send_event(start);
        // Once more after this one, should another come meanwhile.
        flush.finish(told);
        let stop = gst::event::FlushStop::builder(false).seqnum(seqnum);
        element.send_event(stop.build());
    });
}
