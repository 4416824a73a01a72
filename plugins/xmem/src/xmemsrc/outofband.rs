//! Events that overtake the producer's frames: flushes, and events that are not serialized.
//!
//! The streaming thread may be waiting for downstream when these arrive, so a separate thread
//! pushes them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gst::prelude::*;
use gst_base::BaseSrc;
use gst_base::prelude::*;
use xmem_core::{EventKind, StreamEvent};

use super::state_lock::with_state_lock;
use crate::events::{self, DecodedEvent};
use crate::log::CAT;
use crate::timestamps::Timekeeper;
use crate::values::{Names, Told};
use crate::worker::{Lost, Worker};

/// Pushes out-of-band events, on a thread that ends with the run of the source.
#[derive(Clone)]
pub(super) struct OutOfBand {
    run: Arc<Run>,
    worker: Arc<Worker<StreamEvent>>,
}

/// The state that the thread uses.
struct Run {
    element: glib::WeakRef<BaseSrc>,
    /// Nanoseconds that this process's `CLOCK_MONOTONIC` is ahead of the producer's.
    clock_offset: Box<dyn Fn() -> i64 + Send + Sync>,
    flush: Flush,
    is_over: AtomicBool,
}

/// The progress of flushes.
#[derive(Default)]
struct Flush(Mutex<Progress>);

#[derive(Default)]
struct Progress {
    /// The number of flushes that were received, and how many of them are done. Several flushes may
    /// be done as one.
    told: u64,
    done: u64,
    /// The sequence number of the last flush that was received.
    seqnum: Option<gst::Seqnum>,
    /// A flush was done since the streaming thread last asked.
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

    /// Returns the number of received flushes and the sequence number of the last one, if one is
    /// due.
    fn due(&self) -> Option<(u64, gst::Seqnum)> {
        let progress = self.progress();
        let seqnum = progress.seqnum.filter(|_| progress.told != progress.done)?;
        Some((progress.told, seqnum))
    }

    /// Notes that the first `told` flushes are done.
    fn finish(&self, told: u64) {
        let mut progress = self.progress();
        progress.done = told;
        progress.is_news = true;
    }

    /// Counts all flushes as done, because none can be done.
    fn give_up(&self) {
        let mut progress = self.progress();
        progress.done = progress.told;
    }
}

impl OutOfBand {
    pub(super) fn new(
        element: &BaseSrc,
        clock_offset: impl Fn() -> i64 + Send + Sync + 'static,
    ) -> OutOfBand {
        OutOfBand {
            run: Arc::new(Run {
                element: element.downgrade(),
                clock_offset: Box::new(clock_offset),
                flush: Flush::default(),
                is_over: AtomicBool::new(false),
            }),
            worker: Arc::new(Worker::new("xmem-outofband")),
        }
    }

    /// Ends the run: queued events are dropped.
    pub(super) fn end(&self) {
        // Relaxed: no other data depends on it.
        self.run.is_over.store(true, Ordering::Relaxed);
    }

    /// Takes an event of the producer. The thread of the connection calls this before it passes on
    /// what follows the event. Never waits.
    pub(super) fn tell(&self, event: StreamEvent) {
        let flush = &self.run.flush;
        // Counted here, so that it is known before the streaming thread receives what follows the
        // flush.
        if event.kind() == EventKind::Flush {
            let seqnum = match events::decode(told_by(&event), None, 0) {
                Ok(Some(DecodedEvent::Flush(seqnum))) => seqnum,
                _ => gst::Seqnum::next(),
            };
            flush.tell(seqnum);
        }
        let run = || {
            let run = self.run.clone();
            move |events| run.push_all(&events)
        };
        match self.worker.send(event, run) {
            Ok(()) => {}
            Err(Lost::Full) => gst::warning!(CAT, "Dropped an event: too many are queued"),
            Err(Lost::NoThread) => {
                gst::warning!(CAT, "Dropped an event: there is no thread to push it");
                flush.give_up();
            }
        }
    }

    /// Returns whether downstream is about to be flushed. Nothing is pushed before that.
    pub(super) fn is_flush_due(&self) -> bool {
        self.run.flush.is_due()
    }

    /// Returns whether downstream was flushed since the last call.
    pub(super) fn was_flushed(&self) -> bool {
        std::mem::take(&mut self.run.flush.progress().is_news)
    }
}

fn told_by(event: &StreamEvent) -> Told<'_> {
    Told::new(event.content(), Names::of_user(event.producer_uid()))
}

impl Run {
    fn push_all(&self, events: &Receiver<StreamEvent>) {
        let mut timekeeper = Timekeeper::default();
        for event in events {
            let Some(element) = self.element.upgrade() else {
                return;
            };
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            // A flush whose own event was lost is done with the next event.
            if self.flush.is_due() {
                self.flush_downstream(&element);
            }
            if event.kind() == EventKind::Flush {
                continue;
            }
            let offset = timekeeper.offset(&element);
            match events::decode(told_by(&event), offset, (self.clock_offset)()) {
                // The streaming thread pushes serialized events in their place in the stream.
                Ok(Some(DecodedEvent::Event(event))) if !event.is_serialized() => {
                    let _ = element.src_pad().push_event(event);
                }
                other => gst::debug!(CAT, obj = element, "Not pushed: {other:?}"),
            }
        }
    }

    /// Flushes downstream. The running time does not restart: it is this pipeline's own.
    fn flush_downstream(&self, element: &BaseSrc) {
        gst::debug!(CAT, obj = element, "Flushing");
        with_state_lock(element, || {
            // The source may have stopped and started again while this waited for the lock.
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let Some((told, seqnum)) = self.flush.due() else {
                return;
            };
            let start = gst::event::FlushStart::builder().seqnum(seqnum).build();
            element.send_event(start);
            // A flush that is received from now on is a new one.
            self.flush.finish(told);
            let stop = gst::event::FlushStop::builder(false).seqnum(seqnum);
            element.send_event(stop.build());
        });
    }
}
