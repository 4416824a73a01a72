//! What the producer says that overtakes its frames: flushes, and events that are not serialized.
//!
//! It comes while the streaming thread waits for downstream, perhaps, so a thread of its own passes it
//! on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use xmem_core::{EventKind, StreamEvent};

use super::state_lock::with_state_lock;
use crate::CAT;
use crate::events::{self, Said};
use crate::timestamps::Timekeeper;

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

/// How far a flush has come.
#[derive(Default)]
struct Flush {
    /// Was told, and is not done yet.
    is_due: AtomicBool,
    /// Was done, and the streaming thread has not seen to it yet.
    is_done: AtomicBool,
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
        // Pairs with the look of the streaming thread, which has what follows from this thread.
        if event.kind() == EventKind::Flush {
            self.flush.is_due.store(true, Ordering::Release);
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
            Err(TrySendError::Disconnected(_)) => self.flush.is_due.store(false, Ordering::Release),
        }
    }

    /// Whether a flush is due: then nothing is to be pushed before it is done.
    pub(super) fn is_flush_due(&self) -> bool {
        self.flush.is_due.load(Ordering::Acquire)
    }

    /// Whether there was a flush since this was last asked.
    pub(super) fn was_flushed(&self) -> bool {
        self.flush.is_done.swap(false, Ordering::AcqRel)
    }
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
        if flush.is_due.load(Ordering::Acquire) {
            perform(&element, flush, is_over);
        }
        if event.kind() == EventKind::Flush {
            continue;
        }
        let offset = timekeeper.offset(&element);
        match events::decode(event.content(), offset, element.imp().clock_offset()) {
            Ok(Some(Said::Event(event))) => {
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
        element.send_event(gst::event::FlushStart::new());
        // Once more after this one, should another come meanwhile.
        flush.is_due.store(false, Ordering::Release);
        flush.is_done.store(true, Ordering::Release);
        element.send_event(gst::event::FlushStop::new(false));
    });
}
